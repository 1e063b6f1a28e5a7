"""Folded views: each code point stands for zero or more characters of a simpler alphabet.

A view is a homomorphism: the view of a text is the views of its code points one after the other. So it
is the same under every cutting, needs no offset map, and original positions come for free. What is not
local (NFC, NFKC, mark order) is not used. NFKD is local but for the order of combining marks; `skeleton`
drops those, and `nfkd` keeps each mark where it stood.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

import regex

from safeproxy.core.rule import View

Fold = Callable[[str], str]

#: Fillers that show as nothing although Unicode calls them letters or symbols.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")

# Letters that look like a Latin one, by that Latin letter, after case folding: Cyrillic, Greek, Armenian,
# Latin extensions. Chosen from Unicode Technical Standard 39's list for being alike in common fonts.
_LOOK_ALIKES = {
    "a": "\u0430\u03b1\u0251",
    "b": "\u0432\u03b2\u044c",
    "c": "\u0441\u03f2\u1d04",
    "d": "\u0501\u0257",
    "e": "\u0435\u03b5\u0454\u212f",
    "f": "\u03dd\u0192",
    "g": "\u0261\u0581",
    "h": "\u04bb\u043d\u0570",
    "i": "\u0456\u03b9\u0131\u0269",
    "j": "\u0458\u03f3",
    "k": "\u043a\u03ba",
    "l": "\u04cf\u0142\u01c0",
    "m": "\u043c\u1d0d",
    "n": "\u03b7\u0578\u057c",
    "o": "\u043e\u03bf\u03c3\u0585\u00f8\u0275",
    "p": "\u0440\u03c1",
    "q": "\u051b\u0566",
    "r": "\u0433\u1d26",
    "s": "\u0455\u01bd",
    "t": "\u0442\u03c4",
    "u": "\u057d\u03c5\u028b",
    "v": "\u0475\u03bd",
    "w": "\u051d\u0461\u03c9",
    "x": "\u0445\u03c7",
    "y": "\u0443\u03b3\u04af",
    "z": "\u1d22\u03b6",
    "/": "\u2215\u2044",
    ".": "\u2024",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043",
    "'": "\u2018\u2019\u02bc\u00b4`",
}
_DASHES = {ord(dash): "-" for dash in _LOOK_ALIKES["-"]}
_LATIN = {ord(look_alike): latin for latin, look_alikes in _LOOK_ALIKES.items() for look_alike in look_alikes}


#: What is not shown: control characters other than white space, format characters, variation selectors and the like.
_HIDDEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}[\p{Cc}--\s]]", regex.V1)


def _shows(char: str) -> bool:
    return char not in _FILLERS and _HIDDEN.match(char) is None


def nfkd(char: str) -> str:
    """Compatibility decomposition without invisible characters, every dash a hyphen; case and marks stay."""
    return "".join(part for part in unicodedata.normalize("NFKD", char) if _shows(part)).translate(_DASHES)


def skeleton(char: str) -> str:
    """What the character looks like: decomposed, case folded, without marks, look-alikes made Latin."""
    plain = char.casefold()
    if len(plain) == 1 and ord(plain) in _LATIN:
        return _LATIN[ord(plain)]  # before it is decomposed, which may make another letter of it
    folded = unicodedata.normalize("NFKD", char)
    for _ in range(2):  # folding may give what decomposes again, and the other way round
        folded = unicodedata.normalize("NFKD", folded.casefold())
    base = "".join(part for part in folded if _shows(part) and not unicodedata.category(part).startswith("M"))
    return base.translate(_LATIN)


#: The fold of each view that has one; `raw` text is read as it is.
FOLDS: Mapping[View, Fold] = MappingProxyType({View.NFKD: nfkd, View.SKELETON: skeleton})


def folded(text: str, view: View) -> str:
    """The view of a whole text."""
    fold = FOLDS.get(view)
    return text if fold is None else "".join(map(fold, text))
