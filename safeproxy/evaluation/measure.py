"""From what was observed to all figures of one run."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from safeproxy.evaluation.categories import CategoryResult, category_result
from safeproxy.evaluation.entities import EntityResult, NotJudged, entity_results, not_judged
from safeproxy.evaluation.mapping import Group, asked_for, groups
from safeproxy.evaluation.observing import Observed
from safeproxy.evaluation.reading import DataError


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured: the groups of ``--map``, the names of ``--entity``, and the seed of the bootstrap."""

    maps: tuple[Group, ...] = ()
    only: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """All figures of one run. ``differing`` are the lines whose pieces gave another result than the whole text."""

    texts: int
    words: int
    entities: tuple[EntityResult, ...]
    categories: tuple[CategoryResult, ...]
    not_judged: tuple[NotJudged, ...]
    notes: tuple[str, ...]
    differing: tuple[int, ...]


def measure(texts: Sequence[Observed], in_force: Collection[str], question: Question) -> Results:
    """The figures of these texts. ``in_force`` are the entities that the rules can find.

    Raises DataError when there is nothing to measure, or when the question names what neither texts nor rules have.
    """
    if not texts:
        raise DataError("there is no text to measure; expected at least one record")
    spanned = [text for text in texts if text.spans is not None]
    labels = {span.label for text in spanned for span in text.spans or ()}
    categories = {category for text in texts for category in text.labels}
    by_model = {category for text in texts for category in text.scores}
    found = by_model | set(in_force)
    _refuse_unknown(question, labels | categories | found)
    span_groups = groups(labels, question.maps, question.only)
    category_groups = groups(categories, question.maps, question.only)
    if not spanned and not category_groups:
        raise DataError("no text has spans, and none has a label of a category that is asked for: nothing to measure")
    if spanned:
        span_groups += asked_for(question.only, question.maps, (*span_groups, *category_groups))
    return Results(
        texts=len(texts),
        words=sum(text.words for text in texts),
        entities=entity_results(spanned, span_groups, question.seed),
        categories=tuple(category_result(texts, group, by_model, in_force, question.seed) for group in category_groups),
        not_judged=() if question.only else not_judged(spanned, span_groups),
        notes=_notes(question.maps, (*span_groups, *category_groups), labels | categories, found),
        differing=tuple(text.line for text in texts if text.differs),
    )


def _refuse_unknown(question: Question, known: set[str]) -> None:
    mapped = {name for group in question.maps for name in (group.name, *group.labels, *group.entities)}
    for name in question.only:
        if name not in known | mapped:
            near = difflib.get_close_matches(name, sorted(known | mapped), n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "`safeproxy rules list` shows what rules find"
            raise DataError(f"--entity {name!r}: neither the texts nor the rules have it; {hint}")


def _notes(
    maps: Sequence[Group], measured: Sequence[Group], labels: Collection[str], found: Collection[str]
) -> tuple[str, ...]:
    """What meets no counterpart, so that a figure of 0 is not taken for a verdict."""
    folded = {name.casefold() for name in found}
    lost = sorted(group.name for group in measured if not any(map(group.finds, found)))
    no_label = sorted({name for group in maps for name in group.labels} - set(labels))
    no_entity = sorted({name for group in maps for name in group.entities if name.casefold() not in folded})
    notes = {
        "labels that nothing in force can find; --map LABEL=ENTITY compares them with another entity": lost,
        "labels of --map that no text has": no_label,
        "entities of --map that nothing in force finds": no_entity,
    }
    return tuple(f"{what}: {', '.join(names)}" for what, names in notes.items() if names)
