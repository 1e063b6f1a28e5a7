"""The figures of the model card."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.rule import Rule
from safeproxy.training.toxicity_figures import (
    auroc,
    category_figures,
    flagged,
    function_figures,
    group_figures,
    library_documentation,
    microseconds_a_word,
    rules_in,
)
from tests.core.toy_toxicity import toy_model

MODEL = toy_model()
RULE = Rule(id="toxicity.toy", entity="TOXIC", detector="toxicity", threshold=0.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=20))
def test_auroc_is_the_share_of_pairs_in_order(pairs: list[tuple[bool, int]]) -> None:
    """The area is the share of pairs whose positive scores higher, equal scores counted half."""
    truth, scores = np.array([t for t, _ in pairs]), np.array([float(s) for _, s in pairs])
    found = auroc(truth, scores)
    if truth.all() or not truth.any():
        assert math.isnan(found)
        return
    order = [(p > n) + 0.5 * (p == n) for p in scores[truth] for n in scores[~truth]]
    assert found == pytest.approx(np.mean(order))


def test_figures_by_category_group_and_function() -> None:
    """Only categories with labels of both kinds get figures; groups are found by their terms."""
    records = [
        {"text": f"{word} women are {kind}", "source": f"set/{kind}", "labels": {"toxic": label, "threat": None}}
        for word in ("fool", "love")
        for kind, label in (("hate", 1.0), ("a", 0.0))
    ]
    assert set(category_figures(MODEL, records)) == {"toxicity"}
    assert category_figures(MODEL, records)["toxicity"]["positive"] == 2
    by_group = group_figures(
        MODEL, [record | {"labels": {"toxicity": record["labels"]["toxic"]}} for record in records], "toxicity"
    )
    assert set(by_group) == {"women"}
    assert set(function_figures(MODEL, records, "toxicity")) == {"a", "hate"}


def test_flagged_counts_findings() -> None:
    """Sentences, findings and the texts that have one."""
    counted = flagged(MODEL, [RULE], ["you fool. you fool.", ""])
    assert (counted["sentences"], counted["findings"], counted["share of texts"]) == (2, 2, 0.5)


def test_documentation_is_read() -> None:
    """There is documentation to read in any Python."""
    texts = list(zip(range(20), library_documentation(), strict=False))
    assert all(text.strip() for _, text in texts)


def test_cost_is_measured() -> None:
    """A cost is a positive number."""
    assert microseconds_a_word(MODEL, [RULE], "you fool " * 10) > 0


def test_the_shipped_rules_are_found() -> None:
    """The figures are about the rules that are shipped."""
    from safeproxy.rulesets import SHIPPED

    assert all(rule.detector == "toxicity" for rule in rules_in(SHIPPED / "models" / "toxicity.yaml"))
    assert Path(SHIPPED / "models" / "toxicity.yaml").exists()
