"""Finds the recognizers that rules name: Presidio's own, those of its YAML files, and a user's own classes."""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safeproxy.errors import ConfigError, RuleError

#: Entities that Presidio takes from an NLP model, and the labels of spaCy's models that mean them.
NER_LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "PERSON": ("PERSON", "PER"),
        "LOCATION": ("LOC", "GPE", "LOCATION"),
        "NRP": ("NORP",),
        "DATE_TIME": ("DATE", "TIME"),
        "ORGANIZATION": ("ORG",),
    }
)
_LANGUAGE = re.compile(r"@([a-z]{2,3})$")
#: Recognizers that hand the findings of an NLP pipeline on.
_OF_PIPELINE = frozenset({"SpacyRecognizer", "StanzaRecognizer", "TransformersRecognizer"})


@cache
def presidio() -> Any:
    """The package presidio_analyzer, made fit for a stream: it opens no connection and logs nothing.

    Its log lines may quote the text, and tldextract would fetch a list of domains at the first e-mail address: the
    list that comes with it is used. Raises ConfigError where it is not installed.
    """
    try:
        import presidio_analyzer
        import tldextract.tldextract
    except ImportError as error:
        raise ConfigError(
            f"rules with `presidio:` need the package presidio-analyzer ({error}): pip install 'safeproxy[presidio]'"
        ) from None
    logging.getLogger("presidio-analyzer").disabled = True
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    return presidio_analyzer


def find(reference: str, base: Path = Path()) -> tuple[Any, ...]:
    """The recognizers that ``reference`` names, made with their default settings.

    It is the class name of a predefined recognizer, an entity (all predefined recognizers of it), the import path
    ``package.module:Class`` or a file of Presidio's own format and a name in it, ``file.yaml#name``, relative to
    ``base``. Presidio's code of a language may follow, as in ``CreditCardRecognizer@es``; otherwise it is the
    recognizer's own. Raises RuleError where there is no such recognizer, ConfigError where Presidio is not installed.
    """
    presidio()
    reference, language = split_language(reference)
    if "#" in reference:
        return _from_yaml(reference, language, base)
    if ":" in reference:
        return (_made(_imported(reference), reference, language),)
    classes = predefined()
    if reference in classes:
        return (_predefined(classes[reference], language),)
    return _of_entity(reference, language)


def split_language(reference: str) -> tuple[str, str]:
    """A reference without the language at its end, and the language, if there is one."""
    found = _LANGUAGE.search(reference)
    return (reference[: found.start()], found[1]) if found else (reference, "")


@cache
def predefined() -> Mapping[str, type[Any]]:
    """The predefined recognizers by their class names."""
    module = presidio().predefined_recognizers
    base = presidio().EntityRecognizer
    classes = {name: value for name, value in vars(module).items() if inspect.isclass(value)}
    return MappingProxyType({name: value for name, value in sorted(classes.items()) if issubclass(value, base)})


def is_local(recognizer: type[Any]) -> bool:
    """Whether a predefined recognizer needs no model and no service: patterns, or telephone numbers."""
    package = presidio()
    phone = package.predefined_recognizers.PhoneRecognizer
    return issubclass(recognizer, package.PatternRecognizer | phone)


def _of_entity(entity: str, language: str) -> tuple[Any, ...]:
    found = [
        recognizer
        for cls in predefined().values()
        if is_local(cls) and entity in (recognizer := _predefined(cls, language)).supported_entities
    ]
    if not found:
        raise RuleError(_unknown(entity))
    return tuple(found)


def _unknown(reference: str) -> str:
    if reference in NER_LABELS:
        return (
            f"{reference} is found by an NLP model in Presidio, not by a recognizer of its own; "
            f"write `detector: ner` with the labels {', '.join(NER_LABELS[reference])}"
        )
    near = difflib.get_close_matches(reference, predefined(), n=2)
    hint = f" (is it {' or '.join(near)}?)" if near else ""
    return (
        f"Presidio has no recognizer or entity {reference!r}{hint}; expected a class such as CreditCardRecognizer, an "
        "entity such as CREDIT_CARD, package.module:Class, or file.yaml#name"
    )


def _predefined(cls: type[Any], language: str) -> Any:
    """A predefined recognizer, with the context words that Presidio's registry gives it in this language."""
    if not is_local(cls):
        raise RuleError(_not_local(cls.__name__))
    settings: dict[str, Any] = {"supported_language": language} if language else {}
    context = _registry_context(cls.__name__, language or "en")
    if context:
        settings["context"] = context
    made = cls(**settings)
    if isinstance(made, presidio().PatternRecognizer):
        made.global_regex_flags = _registry()["global_regex_flags"]  # as the registry does, whatever the class says
    return made


def _not_local(name: str) -> str:
    if name in _OF_PIPELINE:
        return f"{name} hands on what an NLP pipeline finds; write `detector: ner` with the labels wanted"
    return (
        f"{name} asks a model or a service, which needs whole sentences; write `detector: recognizer` with the import "
        "path of a class that makes it without arguments as the model"
    )


@cache
def _registry() -> dict[str, Any]:
    """Presidio's default registry, as its file has it."""
    return _yaml(Path(presidio().__file__).parent / "conf" / "default_recognizers.yaml")


def _registry_context(name: str, language: str) -> list[str] | None:
    """The context words that the default registry gives a recognizer in this language, if it gives any."""
    for entry in _registry()["recognizers"]:
        if entry.get("name") == name:
            for option in entry.get("supported_languages") or ():
                if isinstance(option, dict) and option.get("language") == language:
                    context: list[str] | None = option.get("context")
                    return context
    return None


def _imported(reference: str) -> Any:
    module_name, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise RuleError(f"{reference!r} cannot be imported: {error}; expected package.module:Class") from None
    return found


def _made(found: Any, reference: str, language: str) -> Any:
    base = presidio().EntityRecognizer
    if inspect.isclass(found):
        try:
            found = found(**({"supported_language": language} if language else {}))
        except Exception as error:  # noqa: BLE001 - a stranger's code
            raise RuleError(
                f"{reference!r} cannot be made without arguments ({type(error).__name__}: {error}); "
                "name an instance, or a class that needs none"
            ) from None
    if not isinstance(found, base):
        raise RuleError(f"{reference!r} is no EntityRecognizer of Presidio, but a {type(found).__name__}")
    return found


def _from_yaml(reference: str, language: str, base: Path) -> tuple[Any, ...]:
    """The recognizers of this name in a file of Presidio's registry format, made by Presidio itself."""
    file, _, name = reference.partition("#")
    path = base / file
    document = _yaml(path)
    entries = [entry for entry in document["recognizers"] if isinstance(entry, dict) and entry.get("name") == name]
    if not entries:
        raise RuleError(f"{path}: there is no recognizer {name!r}; expected one under `recognizers:` with this name")
    enabled = [entry for entry in entries if entry.get("enabled", True)]
    if not enabled:
        raise RuleError(f"{path}: the recognizer {name!r} is disabled; expected `enabled: true`, or no rule for it")
    made = _made_by_registry(document, enabled, path, language)
    if not made:
        raise RuleError(f"{path}: the recognizer {name!r} is not for the language {language!r}")
    return made


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RuleError(f"{path}: the file of recognizers cannot be read: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("recognizers"), list):
        raise RuleError(f"{path}: expected a list under `recognizers:`, as in Presidio's own registry files")
    return document


def _made_by_registry(document: dict[str, Any], entries: list[Any], path: Path, language: str) -> tuple[Any, ...]:
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    settings = {
        "supported_languages": [language] if language else sorted(set(_languages(entries))) or ["en"],
        "global_regex_flags": document.get("global_regex_flags", _registry()["global_regex_flags"]),
        "recognizers": entries,
    }
    try:
        registry = RecognizerRegistryProvider(registry_configuration=settings).create_recognizer_registry()
    except Exception as error:  # noqa: BLE001 - validators of several kinds
        raise RuleError(f"{path}: Presidio cannot make the recognizer: {error.__cause__ or error}") from None
    return tuple(registry.recognizers)


def _languages(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for option in (entry.get("supported_language"), *(entry.get("supported_languages") or ())):
            if option:
                yield option["language"] if isinstance(option, dict) else option
