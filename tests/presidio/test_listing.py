"""The list of what rules can name."""

from __future__ import annotations

import pytest

from safeproxy.presidio import __main__ as listing


def test_lists_every_recognizer(capsys: pytest.CaptureFixture[str]) -> None:
    """With its entity and its best scores, or with what to write instead."""
    assert listing.main() == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["CreditCardRecognizer"] == ["CreditCardRecognizer", "CREDIT_CARD", "en", "1", "1"]
    assert lines["PhoneRecognizer"] == ["PhoneRecognizer", "PHONE_NUMBER", "en", "0.4", "0.75"]
    assert lines["InPanRecognizer"][5:] == "the look-ahead sees 64 characters".split()  # noqa: SIM905
    assert lines["SpacyRecognizer"][1:4] == ["write", "`detector:", "ner`"]
