"""The figures of categories, such as toxicity's: how scores rank the texts, and how many texts the rules flag."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safeproxy.evaluation.intervals import UNKNOWN, Figure, bootstrap, share
from safeproxy.evaluation.mapping import Group
from safeproxy.evaluation.observing import Observed
from safeproxy.evaluation.ranking import FALSE_POSITIVE_RATES, Ranker, Ranking, operating_point

#: From this degree on a label counts as positive: at least half of those who labelled the text said so.
POSITIVE_FROM = 0.5

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RecallPoint:
    """The recall at the lowest threshold that flags at most this share of the negative texts; None if none does."""

    false_positive_rate: float
    recall: Figure
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Flagged:
    """How many texts the rules found something in: the shares of all, of the positive and of the negative ones.

    ``precision`` is the share of positive ones among those flagged.
    """

    texts: int
    all: Figure
    positive: Figure
    negative: Figure
    precision: Figure


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """The figures of one category. ``scored_by`` is ``model``, ``rules`` or ``nothing``; then there is no ranking.

    ``texts`` are those whose label is known. A text's score is the model's, or the highest score among its findings.
    """

    group: Group
    scored_by: str
    texts: int
    positive: int
    auroc: Figure
    average_precision: Figure
    recall_at: tuple[RecallPoint, ...]
    flagged: Flagged
    ranking: Ranking


def category_result(
    texts: Sequence[Observed], group: Group, by_model: Collection[str], by_rules: Collection[str], seed: int
) -> CategoryResult:
    """The figures of one group over the texts where one of its labels is known, which must be one at least.

    ``by_model`` are the categories that models score, ``by_rules`` the entities that rules in force find.
    """
    known = [text for text in texts if group.labels & text.labels.keys()]
    positive = np.array([_degree(text, group) >= POSITIVE_FROM for text in known])
    flagged = np.array([any(group.finds(one.entity) for one in text.found) for text in known])
    scored_by = _scored_by(group, by_model, by_rules)
    score = _model_score if scored_by == "model" else _rule_score
    ranker = Ranker(np.array([score(text, group) for text in known]), positive)
    ranking = ranker.ranking(np.ones(len(known)))
    if scored_by == "nothing":
        figures = [UNKNOWN] * (2 + len(FALSE_POSITIVE_RATES))
    else:
        figures = bootstrap(ranker.summary, len(known), seed)
    auroc, average_precision, *recalls = figures
    return CategoryResult(
        group,
        scored_by,
        len(known),
        int(positive.sum()),
        auroc,
        average_precision,
        tuple(_point(ranking, most, recall) for most, recall in zip(FALSE_POSITIVE_RATES, recalls, strict=True)),
        _flagged(flagged, positive),
        ranking,
    )


def _scored_by(group: Group, by_model: Collection[str], by_rules: Collection[str]) -> str:
    if any(map(group.finds, by_model)):
        return "model"
    return "rules" if any(map(group.finds, by_rules)) else "nothing"


def _degree(text: Observed, group: Group) -> float:
    """The highest degree among the group's labels that are known."""
    return max(text.labels[label] for label in group.labels & text.labels.keys())


def _model_score(text: Observed, group: Group) -> float:
    return max((score for name, score in text.scores.items() if group.finds(name)), default=0.0)


def _rule_score(text: Observed, group: Group) -> float:
    """The highest score among the findings that answer to the group; 0 if there are none."""
    return max((one.score for one in text.found if group.finds(one.entity)), default=0.0)


def _point(ranking: Ranking, most: float, recall: Figure) -> RecallPoint:
    at = operating_point(ranking, most)
    return RecallPoint(most, recall, None if at is None else float(ranking.thresholds[at]))


def _flagged(flagged: Flags, positive: Flags) -> Flagged:
    everything = np.ones_like(flagged)
    return Flagged(
        int(flagged.sum()),
        _share_of(flagged, everything),
        _share_of(flagged, positive),
        _share_of(flagged, ~positive),
        _share_of(positive, flagged),
    )


def _share_of(hits: Flags, trials: Flags) -> Figure:
    return share((hits & trials).astype(np.float64), trials.astype(np.float64))
