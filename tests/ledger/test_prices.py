"""What tokens cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from safeproxy.ledger.prices import Price, PriceList
from safeproxy.ledger.record import Cost
from safeproxy.ledger.usage import Tokens

PLAIN = Price(input=Decimal(2), output=Decimal(8))
CACHES = Price(input=Decimal(2), output=Decimal(8), cached=Decimal("0.5"), written=Decimal("2.5"))
TOKENS = Tokens(input=1000, output=100, cached=600, written=300, reasoning=50)


@pytest.mark.parametrize(
    ("price", "tokens", "amount"),
    [
        (PLAIN, TOKENS, "0.0028"),
        (CACHES, TOKENS, "0.00205"),
        (CACHES, Tokens(), "0"),
        (CACHES, Tokens(input=10, cached=40), "0.00002"),  # more read from the cache than there was: no refund
    ],
)
def test_each_kind_of_token_has_its_price(price: Price, tokens: Tokens, amount: str) -> None:
    """A million tokens cost what is said; what has no price of its own is input, and reasoning is output."""
    assert price.amount(tokens) == Decimal(amount)


def test_sums_are_exact() -> None:
    """A third of a cent is one, ten thousand times over."""
    price = Price(input=Decimal("0.15"), output=Decimal("0.6"))
    assert sum(price.amount(Tokens(input=1, output=1)) for _ in range(10_000)) == Decimal("0.0075")


PRICES = PriceList(
    currency="EUR",
    models={"big-mini*": PLAIN, "big*": CACHES, "*/odd.name": PLAIN},
    upstreams={"other": {"big-mini": Price(input=Decimal(1000), output=Decimal(0))}},
)


@pytest.mark.parametrize(
    ("models", "upstream", "amount"),
    [
        (["big-mini-2026"], None, 0.0028),
        (["big-2026"], None, 0.00205),
        (["unheard", "big"], None, 0.00205),
        (["big", "big-mini"], None, 0.00205),
        (["a/odd.name"], "elsewhere", 0.0028),
        (["big-mini"], "other", 1.0),
        (["big"], "other", 0.00205),
    ],
)
def test_the_first_name_that_fits_counts(models: list[str], upstream: str | None, amount: float) -> None:
    """Of the models the first that has a price; an upstream's own prices go before those of all."""
    assert PRICES.cost(TOKENS, models, upstream) == Cost(amount=amount, currency="EUR")


@pytest.mark.parametrize("models", [[], ["unheard"], ["small-big"], ["a/oddXname"], ["big-mini"[:2]]])
def test_a_model_without_a_price_has_no_cost(models: list[str]) -> None:
    """Names are compared as a whole, and nothing but * is special in them."""
    assert PRICES.cost(TOKENS, models) is None
