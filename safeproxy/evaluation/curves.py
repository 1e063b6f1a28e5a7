"""A page with the curves: ROC and precision-recall of each category, and of each entity how a threshold changes it.

The page is one file that needs nothing from elsewhere and runs no script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from safeproxy.evaluation.categories import CategoryResult, Flagged
from safeproxy.evaluation.charts import Line, Point, chart
from safeproxy.evaluation.entities import EntityResult
from safeproxy.evaluation.intervals import Array, Figure
from safeproxy.evaluation.measure import Results

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6575; --grid: #e3e7ec; --paper: #ffffff;
  --first: #2563c9; --second: #c2570c; --third: #1d2430; --quiet: #9aa4b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #a3adbb; --grid: #2c333d; --paper: #14181e;
  --first: #6ea8ff; --second: #f59f5b; --third: #e8ebf0; --quiet: #6b7686; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 46rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 0; overflow-wrap: anywhere; }
p { margin: 0.2rem 0 0.6rem; color: var(--soft); }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); column-gap: 1.5rem; }
section.wide { grid-column: 1 / -1; } .legend { white-space: nowrap; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: 0.85rem; max-width: 21rem; }
svg { max-width: 100%; height: auto; }
.grid { stroke: var(--grid); fill: none; } .edge { stroke: var(--soft); fill: none; }
.tick, .axis { font-size: 11px; fill: var(--soft); } .axis { font-size: 12px; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
path.first { stroke: var(--first); } path.second { stroke: var(--second); }
path.third { stroke: var(--third); stroke-dasharray: 6 4; } path.quiet { stroke: var(--quiet); stroke-width: 1; }
.dot { opacity: 0; fill: var(--ink); } .dot:hover { opacity: 1; }
.mark { fill: var(--second); stroke: var(--paper); stroke-width: 2; }
.key { display: inline-block; width: 1.4em; height: 0; border-top: 2px solid; vertical-align: middle; }
.key.first { border-color: var(--first); } .key.second { border-color: var(--second); }
.key.third { border-color: var(--third); border-top-style: dashed; }
.key.spot { width: 9px; height: 9px; border: 0; border-radius: 50%; background: var(--second); }
"""

#: The lines of a chart over thresholds, with their colours.
_THRESHOLD_STYLES = {"precision": "first", "recall": "second", "F1": "third"}


def page(results: Results, title: str) -> str:
    """The page as HTML that is well-formed XML too."""
    drawn = [one for one in results.entities if len(one.curve.thresholds) > 1]
    flat = [one.group.name for one in results.entities if len(one.curve.thresholds) == 1]
    sections = [*map(_category_section, results.categories), *map(_entity_section, drawn)]
    head = (
        f"{results.texts:,} texts, {results.words:,} words; in brackets: 95 % confidence intervals. "
        "Where a curve is touched, it tells the threshold."
    )
    rest = f"No curve, since all findings have the same score: {', '.join(flat)}." if flat else ""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"/><title>{escape(title)}</title><style>{_STYLE}</style></head>',
            "<body>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{head}</p>",
            "<main>",
            *sections,
            "</main>",
            f"<p>{escape(rest)}</p>",
            "</body>",
            "</html>\n",
        ]
    )


def _category_section(result: CategoryResult) -> str:
    name = result.group.name
    head = f"{result.positive:,} of {result.texts:,} texts positive; scored by {result.scored_by}"
    if result.auroc.value is None:
        return _section(name, f"{head}; a curve needs scores, and both positive and negative texts", [])
    return _section(name, head, [_roc(result), _precision_recall(result)])


def _roc(result: CategoryResult) -> str:
    ranking, flagged = result.ranking, result.flagged
    names = ("negatives flagged", "positives flagged")
    curve = _points(ranking.false_positive_rate, ranking.recall, ranking.thresholds, names)
    chance = Line([Point(0, 0), Point(1, 1)], "quiet")
    caption = f"ROC: area {_told(result.auroc)}" + _spot_legend(flagged)
    return _figure(
        chart(
            f"ROC curve of {result.group.name}",
            "negative texts flagged",
            "positive texts flagged",
            [chance, Line([Point(0, 0), *curve], "first")],
            _spot(flagged, flagged.negative, flagged.positive),
        ),
        caption,
    )


def _precision_recall(result: CategoryResult) -> str:
    ranking, flagged = result.ranking, result.flagged
    curve = _points(ranking.recall, ranking.precision, ranking.thresholds, ("recall", "precision"))
    prevalence = result.positive / result.texts
    chance = Line([Point(0, prevalence), Point(1, prevalence)], "quiet")
    caption = f"Precision and recall: area {_told(result.average_precision)}" + _spot_legend(flagged)
    return _figure(
        chart(
            f"Precision-recall curve of {result.group.name}",
            "recall",
            "precision",
            [chance, Line([Point(0, curve[0].y), *curve], "first", steps=True)],
            _spot(flagged, flagged.positive, flagged.precision),
        ),
        caption,
    )


def _entity_section(result: EntityResult) -> str:
    curve = result.curve
    with np.errstate(invalid="ignore"):
        f1 = 2 * curve.precision * curve.recall / (curve.precision + curve.recall)
    heights = {"precision": curve.precision, "recall": curve.recall, "F1": f1}
    lines = [_threshold_line(curve.thresholds, heights[name], name, style) for name, style in _THRESHOLD_STYLES.items()]
    caption = "By overlap, if only findings with at least this score counted: " + ", ".join(
        f'<span class="key {style}"></span> {name}' for name, style in _THRESHOLD_STYLES.items()
    )
    drawn = chart(f"Precision, recall and F1 of {result.group.name} by threshold", "threshold of the score", "", lines)
    head = f"{result.gold:,} labelled, {result.found:,} found; F1 by overlap {_told(result.overlap.f1)}"
    return _section(result.group.name, head, [_figure(drawn, caption)])


def _threshold_line(thresholds: Array, heights: Array, name: str, style: str) -> Line:
    """What holds at the lowest threshold holds from 0 on."""
    points = [
        Point(float(x), float(y), f"threshold {x:.3g}: {name} {y:.3f}")
        for x, y in zip(thresholds, heights, strict=True)
        if not math.isnan(y)
    ]
    return Line([Point(0, points[0].y), *points] if points else [], style, steps=True)


def _points(xs: Array, ys: Array, thresholds: Array, names: tuple[str, str]) -> list[Point]:
    """The points of a curve that are numbers, each with its threshold."""
    return [
        Point(float(x), float(y), f"threshold {threshold:.3g}: {names[0]} {x:.3f}, {names[1]} {y:.3f}")
        for x, y, threshold in zip(xs, ys, thresholds, strict=True)
        if not (math.isnan(x) or math.isnan(y))
    ]


def _spot(flagged: Flagged, x: Figure, y: Figure) -> list[Point]:
    """Where the rules in force stand on a curve; nowhere if they flag nothing."""
    if not flagged.texts or x.value is None or y.value is None:
        return []
    return [Point(x.value, y.value, "the rules in force")]


def _spot_legend(flagged: Flagged) -> str:
    return ' <span class="legend"><span class="key spot"></span> the rules in force</span>' if flagged.texts else ""


def _told(figure: Figure) -> str:
    if figure.value is None:
        return "unknown"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _figure(drawn: str, caption: str) -> str:
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"


def _section(name: str, head: str, figures: Sequence[str]) -> str:
    charts = "\n".join(figures)
    wide = "" if len(figures) == 1 else ' class="wide"'
    return f'<section{wide}><h2>{escape(name)}</h2><p>{escape(head)}</p><div class="charts">{charts}</div></section>'
