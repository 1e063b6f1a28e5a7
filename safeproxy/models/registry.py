"""Which code loads the model of a rule's `detector`: safeproxy's own tiers, and plug-ins by entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points

from safeproxy.core.detector import Model
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import ModelKey
from safeproxy.errors import RuleError, SafeproxyError

#: The entry point group in which a package registers detectors: a name, and a callable from a model's name to a model.
GROUP = "safeproxy.detectors"

#: Between a model's name and the digest that it must have.
PIN = "@sha256:"

Loader = Callable[[str], Model]


def _names(model: str) -> Model:
    from safeproxy.models import names

    return names.load(model)


#: The detectors that come with safeproxy.
OWN: dict[str, Loader] = {"ner": _names}


def models_of(rules: Iterable[Rule]) -> dict[ModelKey, Model]:
    """The models that the rules need, each loaded once in the process. Raises RuleError, naming the rule."""
    models: dict[ModelKey, Model] = {}
    for rule in rules:
        key = (rule.detector, rule.model)
        if rule.detector and key not in models:
            try:
                models[key] = load(*key)
            except RuleError as error:
                raise RuleError(f"rule {rule.id!r}: {error}") from None
    return models


def detectors() -> tuple[str, ...]:
    """The names of all detectors that rules may use."""
    return tuple(sorted({*OWN, *(point.name for point in entry_points(group=GROUP))}))


@cache
def load(detector: str, model: str) -> Model:
    """The model, loaded once in the process; ``NAME@sha256:DIGEST`` asks for one with that digest. Raises RuleError."""
    name, _, pinned = model.partition(PIN)
    loaded = _loader(detector)(name)
    if pinned and loaded.digest != pinned.lower():
        raise RuleError(
            f"the model {name!r} is not the one that is asked for: its digest is {loaded.digest}, expected {pinned}"
        )
    return loaded


def _loader(detector: str) -> Loader:
    own = OWN.get(detector)
    if own is not None:
        return own
    for point in entry_points(group=GROUP):
        if point.name == detector:
            return _plugged_in(detector, point.load)
    raise RuleError(f"there is no detector {detector!r}; expected one of {', '.join(detectors())}")


def _plugged_in(detector: str, imported: Callable[[], Loader]) -> Loader:
    """A plug-in's loader, whose own errors become RuleError."""

    def load(model: str) -> Model:
        try:
            return imported()(model)
        except SafeproxyError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's code
            raise RuleError(f"the detector {detector!r} cannot be loaded: {type(error).__name__}: {error}") from None

    return load
