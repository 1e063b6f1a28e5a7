"""The price list, from the file that the setting ``prices`` names."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safeproxy.errors import ConfigError
from safeproxy.ledger.prices import Price, PriceList
from safeproxy.ledger.record import Cost
from safeproxy.ledger.usage import tokens_of
from safeproxy.rulesets.yaml_lines import Document, read_yaml
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.reloaded import Watch
from safeproxy.shell.sections import Name

Amount = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Prices(_Part):
    """Of a million tokens each."""

    input: Amount
    output: Amount
    cached: Amount | None = None
    written: Amount | None = None


class _Models(_Part):
    models: dict[str, _Prices]


class _File(_Part):
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    models: dict[str, _Prices] = {}
    upstreams: dict[Name, _Models] = {}


def read_prices(path: Path) -> PriceList:
    """The price list in a file. Raises ConfigError with file, line and what was expected."""
    document = read_yaml(path, "a price list", "a mapping with 'currency' and 'models'")
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise ConfigError("\n".join(_complaint(fault, document) for fault in faults)) from None
    upstreams = {name: _listed(one.models) for name, one in file.upstreams.items()}
    return PriceList(file.currency, _listed(file.models), upstreams)


def _listed(models: dict[str, _Prices]) -> dict[str, Price]:
    return {name: Price(**dict(prices)) for name, prices in models.items()}


def _complaint(fault: Any, document: Document) -> str:
    location = fault["loc"]
    name = " in ".join(repr(part) for part in reversed(location)) or "this"
    match fault["type"]:
        case "extra_forbidden":
            # Of an upstream a level deeper, where the prices are.
            level = len(location) - (location[0] == "upstreams")
            part = _File if len(location) == 1 else _Models if level == 2 else _Prices
            keys = ", ".join(part.model_fields)
            return f"{document.key_place(location)}: unknown key {name}; expected one of {keys}"
        case "missing":
            return f"{document.place(location[:-1])}: {name} is missing; expected it here"
        case "model_type" | "dict_type":
            return f"{document.place(location)}: {name} is no mapping; expected one"
    return f"{document.place(location)}: {name}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


class Prices:
    """What requests cost; the file is read again when it changes. Raises ConfigError if it cannot be used."""

    def __init__(self, path: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self._path = path
        self._log = log
        self._watch = Watch(path)
        self._list = read_prices(path)

    def cost(self, exchange: Exchange) -> Cost | None:
        """What a request cost, None if that is not known.

        What an answer that was cut off cost is what the API had said by then. An answer fetched again (GET) costs
        nothing.
        """
        report = exchange.report
        tokens = None if report is None else tokens_of(report.usage)
        if report is None or tokens is None or not _generates(exchange):
            return None
        models = [model for model in (report.model, exchange.model) if model]
        return self._current().cost(tokens, models, exchange.asked_upstream)

    def _current(self) -> PriceList:
        if self._watch.changed():
            try:
                self._list = read_prices(self._path)
            except ConfigError as error:
                self._log.error("prices", kept="the old ones", fault=str(error))
        return self._list


def _generates(exchange: Exchange) -> bool:
    """Whether the request asked for a new answer: one that is fetched again has been paid for."""
    return exchange.method == "POST" or exchange.status == 101
