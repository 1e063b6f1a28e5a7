"""The figures as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from safeproxy.bench.report import number, table
from safeproxy.evaluation.categories import CategoryResult
from safeproxy.evaluation.entities import Agreement, EntityResult
from safeproxy.evaluation.intervals import CONFIDENCE, RESAMPLES, Figure
from safeproxy.evaluation.measure import Results

#: How many lines are named at most where pieces gave another result.
LINES_NAMED = 10

_WHAT = """\
In brackets: 95 % confidence intervals. Those of F1, AUROC, AUPRC and of recall at a share of false positives (FP) are
bootstrapped over the texts; the others are Wilson's, which hold up where all or nothing is right, widened where the
spans of one text are alike. strict: same start, end and entity. overlap: one character in common."""


def text(results: Results) -> str:
    """The report as Markdown tables."""
    parts = [f"{results.texts:,} texts, {results.words:,} words"]
    if results.entities:
        parts += [_strict_table(results.entities), _overlap_table(results.entities)]
    if results.categories:
        parts += [_ranking_table(results.categories), _flagged_table(results.categories)]
    if results.not_judged:
        lines = [(one.entity, str(one.found), _figure(one.per_1000_words)) for one in results.not_judged]
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
            _figure(one.false_per_1000_words),
        )
        for one in results
    ]
    header = ("overlap", "labelled, found", "found, right", "precision", "recall", "F1", "false per 1,000 words")
    return table(header, lines)


def _agreement(agreement: Agreement) -> tuple[str, str, str]:
    return _figure(agreement.precision), _figure(agreement.recall), _figure(agreement.f1)


def _ranking_table(results: Iterable[CategoryResult]) -> str:
    lines = [
        (
            one.group.name,
            one.scored_by,
            str(one.texts),
            str(one.positive),
            _figure(one.auroc),
            _figure(one.average_precision),
            *(_figure(point.recall) for point in one.recall_at),
        )
        for one in results
    ]
    header = ("category", "scored by", "texts", "positive", "AUROC", "AUPRC", "at 1 % FP", "at 2 % FP", "at 5 % FP")
    return table(header, lines)


def _flagged_table(results: Iterable[CategoryResult]) -> str:
    lines = [
        (
            one.group.name,
            str(one.flagged.texts),
            *map(_figure, (one.flagged.all, one.flagged.positive, one.flagged.negative, one.flagged.precision)),
        )
        for one in results
    ]
    return table(("flagged by the rules", "texts", "of all", "of positive", "of negative", "precision"), lines)


def _figure(figure: Figure) -> str:
    """Such as ``0.910 [0.880, 0.930]``; a dash for nothing."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{_plain(figure.value)} [{_plain(figure.low)}, {_plain(figure.high)}]"


def _plain(value: float) -> str:
    """Three decimals, one more where they would all be 0, or three digits from 10 on."""
    return number(value) if value >= 10 else f"{value:.4f}" if 0 < value < 0.0005 else f"{value:.3f}"


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
