"""The figures as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from safeproxy.bench.report import number, table
from safeproxy.evaluation.categories import CategoryResult
from safeproxy.evaluation.entities import Agreement, EntityResult
from safeproxy.evaluation.intervals import CONFIDENCE, RESAMPLES, Figure
from safeproxy.evaluation.measure import Results
from safeproxy.evaluation.ranking import FALSE_POSITIVE_RATES

#: How many lines are named at most where pieces gave another result.
LINES_NAMED = 10

_WHAT = """\
strict: same start, end and entity. overlap: one character in common. FP: negative texts flagged.
In brackets: 95 % confidence intervals. Those of F1, AUROC, AUPRC and of recall at a share of FP are bootstrapped over
the texts (an interval of one point means that there is too little to tell, not certainty); the others are Wilson's,
which hold up where all or nothing is right, widened where the spans of one text are alike."""


def text(results: Results) -> str:
    """The report as Markdown tables."""
    parts = [f"{results.texts:,} texts, {results.words:,} words"]
    if results.entities:
        parts += [_strict_table(results.entities), _overlap_table(results.entities)]
    if results.categories:
        parts += [_ranking_table(results.categories), _flagged_table(results.categories)]
    if results.not_judged:
        lines = [(one.entity, str(one.found), _rate(one.per_1000_words)) for one in results.not_judged]
        parts.append(table(("found, not judged: no label answers to it", "found", "per 1,000 words"), lines))
    parts += [_WHAT, *(f"note: {note}" for note in results.notes)]
    return "\n\n".join(parts) + "\n"


def _strict_table(results: Iterable[EntityResult]) -> str:
    lines = [
        (one.group.name, str(one.gold), str(one.found), str(one.strict.found_right), *_agreement(one.strict))
        for one in results
    ]
    return table(("strict", "labelled", "found", "right", "precision", "recall", "F1"), lines)


def _overlap_table(results: Iterable[EntityResult]) -> str:
    lines = [
        (
            one.group.name,
            f"{one.overlap.gold_right} of {one.gold}",
            f"{one.overlap.found_right} of {one.found}",
            *_agreement(one.overlap),
            _rate(one.false_per_1000_words),
        )
        for one in results
    ]
    header = ("overlap", "labelled, found", "found, right", "precision", "recall", "F1", "false per 1,000 words")
    return table(header, lines)


def _agreement(agreement: Agreement) -> tuple[str, str, str]:
    return _share(agreement.precision), _share(agreement.recall), _share(agreement.f1)


def _ranking_table(results: Iterable[CategoryResult]) -> str:
    lines = [
        (
            one.group.name,
            one.scored_by,
            str(one.texts),
            str(one.positive),
            _share(one.auroc),
            _share(one.average_precision),
            *(_share(point.recall) for point in one.recall_at),
        )
        for one in results
    ]
    at = (f"recall at {100 * most:g} % FP" for most in FALSE_POSITIVE_RATES)
    return table(("category", "scored by", "texts", "positive", "AUROC", "AUPRC", *at), lines)


def _flagged_table(results: Iterable[CategoryResult]) -> str:
    lines = [
        (
            one.group.name,
            str(one.flagged.texts),
            *map(_share, (one.flagged.all, one.flagged.positive, one.flagged.negative, one.flagged.precision)),
        )
        for one in results
    ]
    return table(("flagged by the rules", "texts", "of all", "of positive", "of negative", "precision"), lines)


def _share(figure: Figure) -> str:
    """Such as ``0.910 [0.880, 0.930]``; a dash for nothing."""
    return _shown(figure, lambda value: f"{value:.4f}" if 0 < value < 0.0005 else f"{value:.3f}")


def _rate(figure: Figure) -> str:
    """Such as ``45.5 [7.55, 274]``; a dash for nothing."""
    return _shown(figure, number)


def _shown(figure: Figure, as_text: Callable[[float], str]) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{as_text(figure.value)} [{as_text(figure.low)}, {as_text(figure.high)}]"


def form(results: Results, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The figures for machines, after ``facts`` of the run. What has no value is null."""
    return {
        **facts,
        "texts": results.texts,
        "words": results.words,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "entities": [_named_form(one, without="curve") for one in results.entities],
        "categories": [_named_form(one, without="ranking") for one in results.categories],
        "not_judged": [asdict(one) for one in results.not_judged],
        "notes": results.notes,
    }


def _named_form(result: EntityResult | CategoryResult, without: str) -> dict[str, Any]:
    """The fields of a result, the group's first; the curve is left out."""
    group = result.group
    head = {"name": group.name, "labels": sorted(group.labels), "entities": sorted(group.entities)}
    return head | {key: value for key, value in asdict(result).items() if key not in ("group", without)}


def difference(results: Results) -> str:
    """How many texts gave another result in pieces, and on which lines the first of them stand."""
    lines = ", ".join(map(str, results.differing[:LINES_NAMED]))
    more = ", ..." if len(results.differing) > LINES_NAMED else ""
    return f"{len(results.differing):,} of {results.texts:,} texts give another result in pieces: lines {lines}{more}"
