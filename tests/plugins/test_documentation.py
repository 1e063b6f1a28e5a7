"""The package that the documentation of `safeproxy.plugins` shows works as it stands there."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from safeproxy import plugins
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet


def test_the_package_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loader gives a model whose rules find tickets, in worker processes."""
    assert plugins.__doc__ is not None
    block = plugins.__doc__.partition("this is a whole package::\n")[2].partition("\nA judge must")[0]
    (tmp_path / "acme_tickets.py").write_text(textwrap.dedent(block))
    monkeypatch.syspath_prepend(tmp_path)
    model = importlib.import_module("acme_tickets").load("TICKET-0100")
    try:
        rule = Rule(id="r", entity="TICKET", detector="tickets")
        stream = StreamFilter(RuleSet([rule], {("tickets", ""): model}))
        assert stream.feed("See TICKET-0042. See TICKET-4711. Bye") == "See TICKET-0042. See [TICKET]. "
    finally:
        model.close()
