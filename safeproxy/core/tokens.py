"""What the toxicity model reads of a word: its letters folded, quotes and exclamation marks apart, disguises undone."""

from __future__ import annotations

import zlib
from collections.abc import Container

import regex

from safeproxy.core.views import skeleton

#: Longer tokens are read up to here, in characters.
TOKEN_CEILING = 24
#: Lengths of the character n-grams of a token, which is put between `<` and `>`.
GRAM_LENGTHS = (3, 4, 5)

#: Alphanumeric runs, with an apostrophe or a star inside, or else one symbol worth reading: quotes, marks of emphasis,
#: emoji. Other punctuation says little and is passed over.
_TOKEN = regex.compile(
    r"[\p{L}\p{N}]+(?:['*]+[\p{L}\p{N}]+)*|[\"?!#@:\u201c\u201d\u00ab\u00bb]|[\p{So}\p{Sk}--^`]", regex.V1
)
_QUOTES = {"\u201c": '"', "\u201d": '"', "\u00ab": '"', "\u00bb": '"'}
_REPEATS = regex.compile(r"(.)\1{2,}")
_LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "i"}
)
_DISGUISED = regex.compile(r"[a-z0-9@$!|]{3,24}")
_LETTER = regex.compile(r"[a-z]")
_EDGES = "\"'()[]{}<>,.:;?!*_`"


def folded_word(word: str) -> str:
    """The skeleton of a word: case, marks, width and look-alike letters undone."""
    return word.lower() if word.isascii() else "".join(map(skeleton, word))


def tokens(word: str, known: Container[str]) -> list[str]:
    """The tokens of a word.

    ``known`` is asked whether a spelling is a word that the model knows: only then letters written as digits and
    signs, and letters repeated, are undone, so that `python3` and `mp3` stay what they are.

    >>> tokens("(Mor0n!)", {"moron"})
    ['moron', '!']
    """
    plain = folded_word(word)
    core = plain.strip(_EDGES)
    if core and core not in known and _DISGUISED.fullmatch(core) and _LETTER.search(core):
        undone = core.translate(_LEET)
        if undone != core and undone in known:
            plain = plain.replace(core, undone, 1)
    found: list[str] = []
    for token in _TOKEN.findall(plain):
        token = _QUOTES.get(token, token)
        if found and token == found[-1] and len(token) == 1:
            continue  # one mark says as much as ten
        found.append(_unrepeated(token, known))
    return found


def _unrepeated(token: str, known: Container[str]) -> str:
    """`fooool` as `fool`, if that is a word."""
    if token in known or not _REPEATS.search(token):
        return token[:TOKEN_CEILING]
    for repeat in (r"\1\1", r"\1"):
        shorter = _REPEATS.sub(repeat, token)
        if shorter in known:
            return shorter
    return _REPEATS.sub(r"\1\1", token)[:TOKEN_CEILING]


def key(token: str) -> int:
    """The number that stands for a token in a vocabulary: its CRC-32."""
    return zlib.crc32(token.encode("utf-8", "surrogatepass"))


def grams(token: str, buckets: int) -> list[int]:
    """The buckets of a token's character n-grams; a token of one or two characters has one at least."""
    marked = f"<{token}>"
    return [
        key(marked[start : start + length]) % buckets
        for length in GRAM_LENGTHS
        for start in range(len(marked) - length + 1)
    ]


class Spelled:
    """Puts words together that are written letter by letter: after `h`, `a`, `t` and `e`, `hate`."""

    __slots__ = ("_letters",)

    def __init__(self) -> None:
        self._letters = ""

    def join(self, word: str, known: Container[str]) -> str:
        """The word that the sentence's last words spell, this one included, if the model knows it; else empty."""
        letter = word.strip(_EDGES) if 1 < len(word) < 4 else word
        if len(letter) != 1 or not letter.isalpha():
            self._letters = ""
            return ""
        self._letters = (self._letters + folded_word(letter))[-TOKEN_CEILING:]
        return self._letters if len(self._letters) > 2 and self._letters in known else ""
