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

#: The detector of rules that name one of Presidio's recognizers, as their model.
PRESIDIO = "presidio"
#: Between a model's name and the digest that it must have.
PIN = "@sha256:"

Loader = Callable[[str], Model]


def _names(model: str) -> Model:
    """Token by token where that can be, else on whole sentences in worker processes."""
    from safeproxy.models import names
    from safeproxy.models.spacy_pipeline import NotIncrementalError

    try:
        return names.load(model)
    except NotIncrementalError:
        from safeproxy.plugins import spacy_windowed

        return spacy_windowed.load(model)


def _toxicity(model: str) -> Model:
    from safeproxy.models import toxicity

    return toxicity.load(model)


#: The detectors that come with safeproxy.
OWN: dict[str, Loader] = {"ner": _names, "toxicity": _toxicity}


def models_of(rules: Iterable[Rule]) -> dict[ModelKey, Model]:
    """The models that the rules need, each loaded once in the process. Raises RuleError, naming the rule."""
    rules = tuple(rules)
    models = _presidio(rule.model for rule in rules if rule.detector == PRESIDIO)
    for rule in rules:
        key = (rule.detector, rule.model)
        if rule.detector and key not in models:
            try:
                models[key] = load(*key)
            except RuleError as error:
                raise RuleError(f"rule {rule.id!r}: {error}") from None
    return models


def _presidio(references: Iterable[str]) -> dict[ModelKey, Model]:
    """One model for all of Presidio's recognizers: a text is read once for them."""
    names = tuple(sorted(set(references)))
    return dict.fromkeys(((PRESIDIO, name) for name in names), _recognizers(names)) if names else {}


@cache
def _recognizers(names: tuple[str, ...]) -> Model:
    from safeproxy import presidio

    return presidio.load_all(names)


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
