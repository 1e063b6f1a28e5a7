"""The report as people and machines read it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from safeproxy.evaluation.intervals import UNKNOWN, Figure
from safeproxy.evaluation.mapping import parse_maps
from safeproxy.evaluation.measure import Question
from safeproxy.evaluation.report import _rate, _share, difference, form, text
from tests.evaluation.invented import Words, results

MAPS = parse_maps(["ADDRESS,PLACE=STREET,TOWN"])
GOLDEN = """\
6 texts, 25 words

| strict        | labelled | found | right |            precision |               recall |                   F1 |
|---------------|---------:|------:|------:|---------------------:|---------------------:|---------------------:|
| ADDRESS+PLACE |        4 |     3 |     2 | 0.667 [0.195, 0.943] | 0.500 [0.099, 0.901] | 0.571 [0.000, 1.000] |
| BADGE         |        2 |     3 |     2 | 0.667 [0.208, 0.939] | 1.000 [0.342, 1.000] | 0.800 [0.000, 1.000] |
| PERSON        |        1 |     0 |     0 |                    - | 0.000 [0.000, 0.793] | 0.000 [0.000, 0.885] |

| overlap       | labelled, found | found, right |            precision |               recall |                   F1 | false per 1,000 words |
|---------------|----------------:|-------------:|---------------------:|---------------------:|---------------------:|----------------------:|
| ADDRESS+PLACE |          3 of 4 |       3 of 3 | 1.000 [0.439, 1.000] | 0.750 [0.301, 0.954] | 0.857 [0.667, 1.000] |            0 [0, 175] |
| BADGE         |          2 of 2 |       2 of 3 | 0.667 [0.208, 0.939] | 1.000 [0.342, 1.000] | 0.800 [0.000, 1.000] |      45.5 [7.03, 294] |
| PERSON        |          0 of 1 |       0 of 0 |                    - | 0.000 [0.000, 0.793] | 0.000 [0.000, 0.885] |            0 [0, 175] |

| category | scored by | texts | positive |                AUROC |                AUPRC |     recall at 1 % FP |     recall at 2 % FP |     recall at 5 % FP |
|----------|----------:|------:|---------:|---------------------:|---------------------:|---------------------:|---------------------:|---------------------:|
| insult   |     model |     4 |        2 | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] |
| rude     |   nothing |     1 |        1 |                    - |                    - |                    - |                    - |                    - |

| flagged by the rules | texts |               of all |          of positive |          of negative |            precision |
|----------------------|------:|---------------------:|---------------------:|---------------------:|---------------------:|
| insult               |     1 | 0.250 [0.046, 0.699] | 0.500 [0.095, 0.905] | 0.000 [0.000, 0.658] | 1.000 [0.207, 1.000] |
| rude                 |     0 | 0.000 [0.000, 0.793] | 0.000 [0.000, 0.793] |                    - |                    - |

| found, not judged: no label answers to it | found |  per 1,000 words |
|-------------------------------------------|------:|-----------------:|
| INSULT                                    |     1 | 45.5 [7.55, 274] |

strict: same start, end and entity. overlap: one character in common. FP: negative texts flagged.
In brackets: 95 % confidence intervals. Those of F1, AUROC, AUPRC and of recall at a share of FP are bootstrapped over
the texts (an interval of one point means that there is too little to tell, not certainty); the others are Wilson's,
which hold up where all or nothing is right, widened where the spans of one text are alike.

note: labels that nothing in force can find; --map LABEL=ENTITY compares them with another entity: PERSON, rude
"""  # noqa: E501


def test_the_report_is_as_it_was() -> None:
    """Every table of a small file; if a figure changes here, say why."""
    assert text(results(Question(MAPS), [Words()])) == GOLDEN


def test_what_there_is_none_of_has_no_table() -> None:
    """One entity alone: two tables, no category, no note."""
    told = text(results(Question(only=("BADGE",))))
    assert told.count("\n|-") == 2
    assert "category" not in told
    assert "note:" not in told


def test_small_shares_do_not_look_like_none() -> None:
    """0.0002 has a fourth decimal; nothing at all is a dash."""
    assert _share(Figure(0.0, 0.0, 0.00019)) == "0.000 [0.000, 0.0002]"
    assert _rate(Figure(0.0, 0.0, 274.3)) == "0 [0, 274]"
    assert _share(UNKNOWN) == _rate(UNKNOWN) == "-"


def test_the_form_is_json() -> None:
    """With the facts of the run first, names as lists, null for what is unknown, and no curves."""
    made = form(results(Question(MAPS), [Words()]), {"digest": "d"})
    told = json.loads(json.dumps(made, allow_nan=False))
    assert list(told) == [
        "digest", "texts", "words", "confidence", "resamples", "entities", "categories", "not_judged", "notes"
    ]  # fmt: skip
    together, _, person = told["entities"]
    assert list(together) == [
        "name", "labels", "entities", "gold", "found", "strict", "overlap", "false_per_1000_words"
    ]  # fmt: skip
    assert (together["labels"], together["entities"]) == (["ADDRESS", "PLACE"], ["STREET", "TOWN"])
    assert person["strict"]["precision"] == {"value": None, "low": None, "high": None}
    insult = told["categories"][0]
    assert list(insult) == [
        "name", "labels", "entities", "scored_by", "texts", "positive", "auroc", "average_precision", "recall_at",
        "flagged",
    ]  # fmt: skip
    assert [point["false_positive_rate"] for point in insult["recall_at"]] == [0.01, 0.02, 0.05]
    assert insult["recall_at"][0]["threshold"] == 0.7
    assert told["not_judged"][0]["entity"] == "INSULT"


@pytest.mark.parametrize(
    ("lines", "told"), [((3,), "1 of 6 texts give another result in pieces: lines 3"), (tuple(range(1, 12)), "10, ...")]
)
def test_the_difference_names_lines(lines: tuple[int, ...], told: str) -> None:
    """The first ten."""
    assert difference(dataclasses.replace(results(), differing=lines)).endswith(told)
