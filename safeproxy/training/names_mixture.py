"""What the names model sees in training: sources in proportion, with other names, disguised, joined."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from safeproxy.training.corpus import UNCLEAR, Text, disjoint, read, without_near_duplicates
from safeproxy.training.names_gazetteer import Names, plain_letters
from safeproxy.training.names_nameless import CommonWords, common_sentences, common_words, library, packages, sentences
from safeproxy.training.names_teachers import agreed
from safeproxy.training.names_templates import Filler, generated
from safeproxy.training.text import lists

SHARES = {
    "btc": 0.17,
    "wnut17": 0.13,
    "sgd": 0.06,
    "crossner": 0.07,
    "gum": 0.06,
    "generated": 0.20,
    "prose": 0.14,
    "code": 0.08,
    "common": 0.06,
    "unmarked": 0.06,
    "plain": 0.12,
}
"""The share of each source among the texts drawn."""

_NAMES_OF_TEACHER = frozenset(["PERSON", "GPE", "LOC", "FAC", "ORG", "PRODUCT", "WORK_OF_ART", "EVENT"])

_SWAPPED = {"btc": 0.35, "wnut17": 0.35, "sgd": 0.5, "crossner": 0.5, "gum": 0.4}
"""How often the names of a text are exchanged for others."""


def mixture(data: Path, rng: random.Random, teacher: Language | None, second: Language | None = None) -> Iterator[Text]:
    """Texts without end, each of one to four pieces of the sources.

    Of sources which leave names unmarked, what the teacher takes for a name is not taught to be none; without teacher
    all is taught. With a second teacher, texts without labels come in, labelled by both.
    """
    draw = _generators(data, rng)
    names = Names(rng)
    for source, texts in _marked_texts(data, teacher, second).items():
        draw[source] = partial(_drawn, texts, _SWAPPED.get(source, 0.0), names)
    shares = [SHARES[source] for source in draw]
    while True:
        chosen = rng.choices(list(draw.values()), shares, k=rng.choice([1, 1, 1, 2, 3, 4]))
        yield joined([disguised(make(), rng) for make in chosen], rng.choice([" ", " ", "\n", "\n\n"]))


def _generators(data: Path, rng: random.Random) -> dict[str, Callable[[], Text]]:
    filler = Filler(rng)
    prose, code = (a + b for a, b in zip(library(held_out=False), packages(), strict=True))
    plain = [text.text for part in ("toxicity", "injection") for text in read(data, part)]
    common, words = common_sentences(data, plain), common_words(data)
    return {
        "generated": lambda: generated(rng, filler),
        "prose": lambda: Text(rng.choice(prose)),
        "plain": lambda: _some_sentences(rng.choice(plain), words, rng),
        "common": lambda: Text(capitalised(rng.choice(common), rng)),
        "code": lambda: Text("\n".join(_run(code, rng))),
    }


def _marked_texts(data: Path, teacher: Language | None, second: Language | None) -> dict[str, list[Text]]:
    sources: dict[str, list[Text]] = {}
    for text in with_doubts(without_near_duplicates(read(data, "ner"), 2), teacher):
        sources.setdefault(text.source.split("-")[0], []).append(with_doubtful_nationalities(text))
    if teacher is not None and second is not None:
        sources["unmarked"] = list(agreed(unmarked(data), teacher, second))
    return sources


def with_doubtful_nationalities(text: Text) -> Text:
    """The text with places like "Finnish" unclear: some sources count them among the places, others do not."""
    spans = []
    for start, end, label in text.spans:
        nationality = text.text[start:end].strip("#").title() in lists("words")["nationality"]
        spans.append((start, end, UNCLEAR if label == "LOC" and nationality else label))
    return replace(text, spans=tuple(spans))


def unmarked(data: Path, count: int = 15_000) -> list[Text]:
    """Short texts without labels, evenly spaced over those there are."""
    texts = [text for part in ("toxicity", "injection") for text in read(data, part) if len(text.text.split()) <= 45]
    kept = list(without_near_duplicates(texts))
    return kept[:: max(1, len(kept) // count)]


def with_doubts(texts: Iterable[Text], teacher: Language | None) -> Iterator[Text]:
    """The texts; in incomplete ones what the teacher finds beside the names marked is unclear."""
    incomplete = []
    for text in texts:
        if teacher is None or text.complete:
            yield text
        else:
            incomplete.append(text)
    if teacher is not None:
        # All together: the teacher is much faster on many texts at once.
        docs = teacher.pipe((text.text for text in incomplete), batch_size=256)
        yield from map(_with_unclear, incomplete, docs)


def _with_unclear(text: Text, doc: Doc) -> Text:
    found = [(e.start_char, e.end_char, UNCLEAR) for e in doc.ents if e.label_ in _NAMES_OF_TEACHER]
    return replace(text, spans=disjoint([*text.spans, *(span for span in found if not _meets(span, text))]))


def _meets(span: tuple[int, int, str], text: Text) -> bool:
    return any(span[0] < end and start < span[1] for start, end, _ in text.spans)


def capitalised(sentence: str, rng: random.Random) -> str:
    """Now and then a sentence of common words begun in its middle, made a heading, or cut down to a few capitals."""
    words, chance = sentence.split(), rng.random()
    start = rng.randrange(len(words))
    if chance < 0.25:
        return " ".join([words[start].capitalize(), *words[start + 1 :]])
    if chance < 0.35:
        return " ".join(word.capitalize() for word in words)
    if chance < 0.5:
        few = [word.capitalize() for word in words[start : start + rng.randint(1, 3)]]
        return " ".join(few) + rng.choice(["", ":", ".", "!"])
    return sentence


def _some_sentences(text: str, words: CommonWords, rng: random.Random) -> Text:
    found = list(sentences(text)) or ["..."]
    start = rng.randrange(len(found))
    chosen = " ".join(found[start : start + 2])
    return Text(chosen, tuple(words.doubts(chosen)))


def _run(lines: Sequence[str], rng: random.Random) -> Sequence[str]:
    start = rng.randrange(len(lines))
    return lines[start : start + rng.randint(1, 4)]


def _drawn(texts: Sequence[Text], swapped: float, names: Names) -> Text:
    text = names.rng.choice(texts)
    if "@" in text.text and names.rng.random() < 0.08:
        text = with_handles_apart(text)
    return with_other_names(text, names) if text.spans and names.rng.random() < swapped else text


def with_handles_apart(text: Text) -> Text:
    """The text with "@ ada" for "@ada", as split text has it; such a word is a person unless it is named already."""
    out, spans, at = "", list(text.spans), 0
    for match in re.finditer(r"(?<!\w)@(?=\w)", text.text):
        out += text.text[at : match.end()] + " "
        at = match.end()
        here = len(out)
        spans = [(a + (a >= here - 1), b + (b >= here), label) for a, b, label in spans]
        word = re.match(r"\w+", text.text[at:])
        assert word
        spans.append((here, here + word.end(), "PERSON"))
    return replace(text, text=out + text.text[at:], spans=disjoint(sorted(spans)))


def with_other_names(text: Text, names: Names) -> Text:
    """The text with other names of the same kinds in the places of its own; hashtags and possessives stay."""
    out, spans, at = "", [], 0
    for start, end, label in text.spans:
        out += text.text[at:start]
        piece = text.text[start:end]
        new = piece if label == UNCLEAR or piece[0] in "#@" else _other(piece, label, names)
        spans.append((len(out), len(out) + len(new), label))
        out += new
        at = end
    return replace(text, text=out + text.text[at:], spans=tuple(spans))


def _other(piece: str, label: str, names: Names) -> str:
    words = len(piece.split())
    if label == "PERSON":
        new = names.person() if words > 1 else names.rng.choice([names.first, names.last])()
    elif label == "LOC":
        new = names.place() if words > 1 else names.rng.choice([names.city, names.city, names.country])()
    else:
        new = names.org() if label == "ORG" else names.address().replace("\n", ", ")
    return new.lower() if piece.islower() else new.upper() if piece.isupper() and len(piece) > 3 else new


def disguised(text: Text, rng: random.Random) -> Text:
    """Now and then the text in small letters, in capitals, with capitals on all words, without accents, or mistyped."""
    chance = rng.random()
    changed = text.text
    if chance < 0.10:
        changed = changed.lower()
    elif chance < 0.13:
        changed = changed.upper()
    elif chance < 0.145:
        changed = changed.title()
    elif chance < 0.18:
        changed = plain_letters(changed)
    elif chance < 0.22:
        changed = mistyped(changed, rng)
    # Offsets must hold: some letters have no counterpart of the same length.
    return replace(text, text=changed) if len(changed) == len(text.text) else text


def mistyped(text: str, rng: random.Random) -> str:
    """The text with some letters swapped with their neighbours or replaced, its length unchanged."""
    letters = list(text)
    for at in range(1, len(letters) - 1):
        if rng.random() < 0.03 and letters[at].isalpha() and letters[at + 1].isalpha():
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif rng.random() < 0.01 and letters[at].islower():
            letters[at] = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return "".join(letters)


def joined(texts: Sequence[Text], joint: str) -> Text:
    """One text of several."""
    out, spans = "", []
    for text in texts:
        if out:
            out += joint
        spans += [(start + len(out), end + len(out), label) for start, end, label in text.spans]
        out += text.text
    return Text(out, tuple(spans), texts[0].source)
