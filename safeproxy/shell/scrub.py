"""Keeps out of the audit trail what a client wrote into a path or a model name and a rule would find."""

from __future__ import annotations

from functools import lru_cache

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError
from safeproxy.ledger.record import MAX_PATH
from safeproxy.pipeline import Policy

#: Stands for the rest of a text that a rule would have halted at, or that no detector could read.
WITHHELD = "[withheld]"


class Scrubber:
    """Filters short strings with the rules for answers; those seen lately are remembered.

    Rules that ask a model are left out: these strings are no prose, and nothing may wait here.
    """

    def __init__(self, policy: Policy) -> None:
        self._rules = policy.rules.with_rules(rule for rule in policy.rules.rules if not rule.detector)
        self._hash_key = policy.hash_key
        self._remembered = lru_cache(maxsize=256)(self._filter)

    def __call__(self, text: str) -> str:
        """``text`` as it may be recorded."""
        return self._remembered(text[: MAX_PATH + 1])

    def _filter(self, text: str) -> str:
        stream = StreamFilter(self._rules, hash_key=self._hash_key)
        try:
            kept = stream.feed(text) + stream.finish()
        except DetectorError:
            return WITHHELD
        return kept + WITHHELD if stream.halted else kept
