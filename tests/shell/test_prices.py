"""The price list's file, and what requests cost by it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from safeproxy.errors import ConfigError
from safeproxy.ledger.record import Cost
from safeproxy.ledger.usage import Tokens
from safeproxy.observers.log import operational_logger
from safeproxy.pipeline import Report
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.prices import Prices, read_prices
from safeproxy.wire.dialect import Reading
from tests.observers.test_base import Notes
from tests.shell.test_exchange import exchange

EXAMPLE = Path(__file__).parents[2] / "deploy" / "prices.example.yaml"


def usd(amount: float) -> Cost:
    """So many dollars."""
    return Cost(amount=amount, currency="USD")


def test_the_example_can_be_used() -> None:
    """And says what its comments say."""
    prices = read_prices(EXAMPLE)
    million = Tokens(input=1_000_000, output=1_000_000)
    amounts = [prices.cost(million, [model]) for model in ("example-large-9", "example-large-mini", "x-free", "x")]
    assert amounts == [usd(30.0), usd(3.0), usd(0.0), None]
    assert prices.cost(million, ["example-large"], "example-reseller") == usd(33.0)
    cached = dataclasses.replace(million, cached=500_000, written=500_000)
    assert prices.cost(cached, ["example-large"]) == usd(26.75)


def test_the_readmes_example_can_be_used(tmp_path: Path) -> None:
    """It is the same list, shortened."""
    readme = (EXAMPLE.parents[1] / "README.md").read_text(encoding="utf-8")
    file = tmp_path / "prices.yaml"
    file.write_text(readme[readme.index("currency: ") :].partition("```")[0], encoding="utf-8")
    assert read_prices(file).cost(Tokens(input=1_000_000), ["example-large"]) == usd(10.0)


GOOD = "currency: USD\nmodels:\n  m*: {input: 2.5, output: 10}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: this is no mapping; expected one"),
        ("- m", "1:1: this is no mapping; expected one"),
        ("models: {}", "1:1: 'currency' is missing; expected it here"),
        ("currency: dollar\nmodels: {}", "1:11: 'currency': string should match pattern"),
        (GOOD + "model: {}", "4:1: unknown key 'model'; expected one of currency, models, upstreams"),
        ("currency: USD\nmodels:\n  m: {input: 1}", "3:6: 'output' in 'm' in 'models' is missing; expected it here"),
        (
            "currency: USD\nmodels:\n  m: {input: 1, output: -1}",
            "3:25: 'output' in 'm' in 'models': input should be greater than or equal to 0",
        ),
        (
            "currency: USD\nmodels:\n  m: {input: dear, output: 1}",
            "3:14: 'input' in 'm' in 'models': input should be a valid decimal",
        ),
        (
            "currency: USD\nmodels:\n  m: {input: 1, output: 1, cache: 1}",
            "3:28: unknown key 'cache' in 'm' in 'models'; expected one of input, output, cached, written",
        ),
        ("currency: USD\nmodels: [m]", "2:9: 'models' is no mapping; expected one"),
        (
            "currency: USD\nupstreams: {a: {m: {input: 1, output: 1}}}",
            "2:17: unknown key 'm' in 'a' in 'upstreams'; expected one of models",
        ),
        ("currency: [", "not YAML: "),
        ("currency: USD\ncurrency: EUR", "2:1: the key 'currency' is given twice"),
    ],
)
def test_a_broken_file_is_an_error_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    """File, line, column, what is wrong, what was expected."""
    file = tmp_path / "prices.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_prices(file)
    assert str(file) in str(caught.value)
    assert expected in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """In words of its own."""
    with pytest.raises(ConfigError, match="there is no such file; expected a price list"):
        read_prices(tmp_path / "none.yaml")


def asked(
    usage: dict[str, int] | None, *, method: str = "POST", model: str | None = "m-1", served: str | None = None
) -> Exchange:
    """A request whose answer reported this usage."""
    made = exchange(Notes())
    made.method, made.model = method, model
    made.report = Report()
    made.report.note(Reading(usage=usage, model=served))
    return made


USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}


@pytest.mark.parametrize(
    ("about", "amount"),
    [
        ({"usage": USAGE}, 0.0035),
        ({"usage": USAGE, "model": "alias", "served": "m-2"}, 0.0035),
        ({"usage": USAGE, "model": "m-1", "served": "x"}, 0.0035),
        ({"usage": USAGE, "model": "x"}, None),
        ({"usage": USAGE, "model": None}, None),
        ({"usage": None}, None),
        ({"usage": {"total_tokens": 5}}, None),
        ({"usage": USAGE, "method": "GET"}, None),
    ],
)
def test_a_request_costs_what_its_usage_does(tmp_path: Path, about: dict[str, Any], amount: float | None) -> None:
    """By the model served, else by the model asked; nothing is made up, and what is fetched again is not paid twice."""
    (tmp_path / "prices.yaml").write_text(GOOD, encoding="utf-8")
    prices = Prices(tmp_path / "prices.yaml", operational_logger(io.StringIO()))
    assert prices.cost(asked(**about)) == (None if amount is None else usd(amount))


def test_an_answer_that_never_came_costs_nothing(tmp_path: Path) -> None:
    """There is not even a report."""
    (tmp_path / "prices.yaml").write_text(GOOD, encoding="utf-8")
    assert Prices(tmp_path / "prices.yaml", operational_logger(io.StringIO())).cost(exchange(Notes())) is None


def test_a_file_that_breaks_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the old prices stay."""
    monkeypatch.setattr("safeproxy.shell.reloaded.LOOK_INTERVAL", 0.0)
    file, log = tmp_path / "prices.yaml", io.StringIO()
    file.write_text(GOOD, encoding="utf-8")
    prices = Prices(file, operational_logger(log))
    file.write_text("currency: [", encoding="utf-8")
    os.utime(file, (1, 1))
    assert prices.cost(asked(USAGE)) == usd(0.0035)
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["event"] == "prices"
    assert f"{file}:2:1: not YAML" in json.loads(line)["fault"]
