"""Fewer locales than in earnest, so that the lists of names are there within a second or two."""

from __future__ import annotations

import pytest

from safeproxy.training import names_gazetteer


@pytest.fixture(autouse=True)
def _few_locales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_gazetteer, "LATIN", ("en_US", "en_GB", "de_DE", "pl_PL"))
    monkeypatch.setattr(names_gazetteer, "OTHER_SCRIPTS", ("el_GR",))
