"""Sentences made from the templates of `toxicity_phrases.txt`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import regex

from safeproxy.errors import ConfigError
from safeproxy.rulesets import SHIPPED
from safeproxy.training.toxicity_data import CATEGORIES, Example

TEMPLATES = Path(__file__).with_suffix(".txt")
#: How much a made sentence counts.
WEIGHT = 1.2
#: The fillings that are taken from the shipped word lists.
_LISTS = {"slur": "slurs_*.txt", "insultword": "profanity_strong.txt", "explicit": "sexual_explicit.txt"}

_HOLE = regex.compile(r"\{(\w+)\}|\[([^\[\]]*)\]")


def phrases(seed: int, file: Path = TEMPLATES) -> Iterator[Example]:
    """All sentences, the same ones for the same seed. Raises ConfigError for a template that cannot be filled."""
    fillings: dict[str, Sequence[str]] = {name: _word_list(pattern) for name, pattern in _LISTS.items()}
    chance = random.Random(seed)
    kind, count = "", 0
    labels: dict[str, float] = {}
    templates: list[str] = []
    for line in [*file.read_text(encoding="utf-8").splitlines(), "# end, 0,"]:
        if line.startswith("@"):
            name, _, options = line[1:].partition(":")
            fillings[name] = [option.strip() for option in options.split(";")]
        elif line.startswith("#"):
            yield from _made(kind, count, labels, templates, fillings, chance)
            kind, count, labels = _heading(line)
            templates = []
        elif line and not line.startswith(";"):
            templates.append(line)


def _heading(line: str) -> tuple[str, int, dict[str, float]]:
    kind, count, labels = (part.strip() for part in line[1:].split(","))
    given = dict(label.split("=") for label in labels.split())
    known = {name: float(given.get(name, 0)) for name in CATEGORIES if given.get(name) != "?"}
    return kind, int(count), known


def _made(
    kind: str,
    count: int,
    labels: dict[str, float],
    templates: Sequence[str],
    fillings: Mapping[str, Sequence[str]],
    chance: random.Random,
) -> Iterator[Example]:
    """``count`` sentences of a kind, the templates in turn; those that come out twice are made once."""
    made: set[str] = set()
    for number in range(count):
        sentence = _filled(templates[number % len(templates)], fillings, chance)
        if sentence not in made:
            made.add(sentence)
            yield Example(_spelled(sentence, chance), labels, WEIGHT, f"phrases/{kind}")


def _filled(template: str, fillings: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    """The template with every hole filled, from the inside out, and its first letter large."""

    def fill(hole: regex.Match[str]) -> str:
        if hole[1] is None:
            return str(chance.choice(hole[2].split("|")))
        if hole[1] not in fillings:
            raise ConfigError(f"the template {template!r} wants {hole[1]!r}, which has no line @{hole[1]}:")
        return chance.choice(fillings[hole[1]])

    while _HOLE.search(template):
        template = _HOLE.sub(fill, template)
    text = regex.sub(r"\ba(?= [aeiouAEIOU])", "an", " ".join(template.split())).replace(" ,", ",")
    return text[0].upper() + text[1:]


def _spelled(sentence: str, chance: random.Random) -> str:
    """Now and then as people type it: in lower case, without the full stop, a letter lost, doubled or swapped."""
    if chance.random() < 0.3:
        sentence = sentence.lower()
    if chance.random() < 0.3:
        sentence = sentence.rstrip(".")
    if chance.random() < 0.15:
        at = chance.randrange(1, max(2, len(sentence) - 2))
        if sentence[at : at + 2].isalpha():
            pair = sentence[at : at + 2]
            sentence = sentence[:at] + chance.choice([pair[::-1], pair[0], pair[0] + pair]) + sentence[at + 2 :]
    return sentence


def _word_list(pattern: str) -> list[str]:
    lines = [
        line for file in sorted((SHIPPED / "toxicity").glob(pattern)) for line in file.read_text("utf-8").splitlines()
    ]
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
