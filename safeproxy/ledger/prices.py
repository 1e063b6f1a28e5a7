"""What tokens cost, by the operator's price list. Pure; sums are exact until they become a record's amount."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from safeproxy.ledger.record import Cost
from safeproxy.ledger.usage import Tokens

#: Prices are for so many tokens.
PER = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Prices of a million tokens; None for what costs the same as any input."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    written: Decimal | None = None

    def amount(self, tokens: Tokens) -> Decimal:
        """What these tokens cost."""
        fresh = max(tokens.input - tokens.cached - tokens.written, 0)
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.written is None else self.written
        total = fresh * self.input + tokens.cached * cached + tokens.written * written + tokens.output * self.output
        return total / PER


@dataclass(frozen=True)
class PriceList:
    """Prices by model: the first name that fits counts, in which ``*`` stands for anything.

    Those of an upstream go before those of all.
    """

    currency: str
    models: Mapping[str, Price]
    upstreams: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)

    def cost(self, tokens: Tokens, models: Sequence[str], upstream: str | None = None) -> Cost | None:
        """What they cost with the first of ``models`` that has a price, None if none has."""
        lists = [self._patterns[name] for name in (upstream, None) if name in self._patterns]
        for prices in lists:
            for model in models:
                for pattern, price in prices:
                    if pattern.fullmatch(model):
                        return Cost(amount=float(price.amount(tokens)), currency=self.currency)
        return None

    @cached_property
    def _patterns(self) -> dict[str | None, list[tuple[re.Pattern[str], Price]]]:
        """By upstream, None for all."""
        lists: dict[str | None, Mapping[str, Price]] = {None: self.models}
        lists.update(self.upstreams)
        return {name: [(_pattern(model), price) for model, price in one.items()] for name, one in lists.items()}


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)
