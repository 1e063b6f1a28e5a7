"""What models there are, and whether they are what they should be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from safeproxy.core.detector import Model
from safeproxy.core.names import MAX_RUN
from safeproxy.errors import RuleError
from safeproxy.models import registry

#: Digests of the models that come with safeproxy, by detector.
DIGESTS = Path(__file__).resolve().parent / "data" / "digests.json"

_BEYOND = re.compile(rf"\S{{{MAX_RUN + 1}}}|\s{{{MAX_RUN + 1}}}")

#: Prose to compare on: names, places, odd white space, and what a tokenizer splits in ways of its own.
SAMPLE = """
Dear Dr. Amelia Hartfield,\n\nthank you for your letter of 3 May 2021. My name is Wei Zhang; I live at 12 Rosewood Lane,
Bristol, with María-José O'Brien. We've met Angela Merkel (Berlin), Kofi Annan and J. R. Smith at the U.N. in New York.

| name | city |\n|---|---|\n| Priya Natarajan | São Paulo |\n| jean dupont | paris |\n
```python\nuser = {"name": "Oluwaseun Adeyemi", "org": "Apple Inc."}  # see https://example.com/a?b=c\n```
- **IBM** can't say; "don\u2019t ask Bob", said a man from   Łódź... :-)\tMR JOHN DOE LEFT.\nYours, 김민준 & Søren Ågård
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that rules may name. ``fault`` says why it cannot be used; it is empty if it can."""

    detector: str
    name: str
    version: str = ""
    digest: str = ""
    labels: tuple[str, ...] = ()
    fault: str = ""


def listed() -> Iterator[Listed]:
    """Safeproxy's own models, the spaCy pipelines that are installed, the plug-ins."""
    for detector in registry.detectors():
        yield _described(detector, "")
    for name in _installed_pipelines():
        yield _described("ner", name)


def _installed_pipelines() -> Sequence[str]:
    try:
        from spacy.util import get_installed_models
    except ImportError:
        return ()
    return sorted(get_installed_models())


def _described(detector: str, name: str) -> Listed:
    try:
        model = registry.load(detector, name)
    except RuleError as error:
        return Listed(detector, name, fault=str(error))
    return Listed(detector, model.name, model.version, model.digest, tuple(getattr(model, "labels", ())))


def faults(detector: str, name: str) -> list[str]:
    """What is wrong with a model: another digest than the one that was shipped, decisions that are not spaCy's."""
    try:
        model = registry.load(detector, name)
    except RuleError as error:
        return [str(error)]
    return [*_wrong_digest(detector, name, model), *_wrong_decisions(detector, name, model)]


def _wrong_digest(detector: str, name: str, model: Model) -> Iterator[str]:
    shipped = json.loads(DIGESTS.read_text(encoding="utf-8")) if DIGESTS.exists() else {}
    if not name and detector in shipped and model.digest != shipped[detector]:
        yield f"its digest is {model.digest}, but {shipped[detector]} was shipped; install safeproxy again"


def _wrong_decisions(detector: str, name: str, model: Model) -> Iterator[str]:
    """The entities of a names model, told one character at a time, beside those of spaCy on the whole text."""
    from safeproxy.models import names

    if detector == "ner" and isinstance(model, names.NamesModel):
        compared = compare(name, [SAMPLE], pieces=lambda text: list(text))
        if compared.differing:
            yield "token by token it decides otherwise than spaCy does on the whole text; report this with its name"


@dataclass(slots=True)
class Comparison:
    """How a names model fared beside spaCy: ``differing`` entities were found by one of the two only.

    ``beyond`` counts those in texts with a run of more than `MAX_RUN` characters without white space (or of nothing
    else), which is cut there so that what is held has a bound, and is not what spaCy sees.
    """

    texts: int = 0
    tokens: int = 0
    entities: int = 0
    differing: int = 0
    beyond: int = 0


def compare(
    name: str, texts: Iterable[str], pieces: Callable[[str], Sequence[str]], most_tokens: int | None = None
) -> Comparison:
    """Find the entities of each text cut into ``pieces``, and those of ``nlp(text)``, until so many tokens were seen.

    Raises RuleError when the model cannot be loaded.
    """
    from safeproxy.models import names

    nlp, _ = names.pipeline(name or names.OWN)
    model = registry.load("ner", name)
    assert isinstance(model, names.NamesModel)
    seen = Comparison()
    for text in texts:
        doc = nlp(text)
        expected = {(entity.start_char, entity.end_char, entity.label_) for entity in doc.ents}
        seen.texts += 1
        seen.tokens += len(doc)
        seen.entities += len(expected)
        differing = len(expected.symmetric_difference(model.entities(pieces(text))))
        if _BEYOND.search(text):
            seen.beyond += differing
        else:
            seen.differing += differing
        if most_tokens is not None and seen.tokens >= most_tokens:
            break
    return seen


def random_pieces(random: Random) -> Callable[[str], list[str]]:
    """A way to cut texts: pieces of 1 to 12 characters."""

    def cut(text: str) -> list[str]:
        pieces = []
        at = 0
        while at < len(text):
            size = random.randint(1, 12)
            pieces.append(text[at : at + size])
            at += size
        return pieces

    return cut
