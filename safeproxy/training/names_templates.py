"""Generated text: templates of many kinds, filled with names of many cultures and with things that look like names.

`{person}`, `{first}`, `{last}`, `{titled}` make persons, `{city}`, `{country}`, `{place}` places, `{address}` and
`{street}` addresses, `{org}` organisations; every other slot is filled with something that is no name. A number at the
end of a slot (`{first1}`) fills all of the same slots of a template with one value.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from safeproxy.training.corpus import Text
from safeproxy.training.names_gazetteer import Names
from safeproxy.training.text import blocks, lines, lists

_SLOT = re.compile(r"\{([a-z_]+)(\d?)\}")

_LABEL = {
    "person": "PERSON", "first": "PERSON", "last": "PERSON", "surname_first": "PERSON", "initials": "PERSON",
    "city": "LOC", "country": "LOC", "place": "LOC",
    "address": "ADDRESS", "street": "ADDRESS", "postcode": "ADDRESS", "unit": "ADDRESS", "username": "PERSON",
    "org": "ORG",
}  # fmt: skip

PROSE = lines("prose")
FORMS = blocks("forms")
SOCIAL = lines("social")
NOTHING = lines("nothing")
_WORDS = lists("words")


def _phone(rng: random.Random) -> str:
    shape = rng.choice(
        [
            "###-###-####",
            "(###) ###-####",
            "+## ## #### ####",
            "0## ### ## ##",
            "+1 ### ### ####",
            "## ## ## ##",
            "0#### ######",
            "###.###.####",
        ]
    )
    return _digits(rng, shape)


def _digits(rng: random.Random, shape: str) -> str:
    return re.sub("#", lambda _: str(rng.randint(0, 9)), shape)


def _date(rng: random.Random) -> str:
    d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1940, 2026)
    month = _WORDS["month"][m - 1]
    return rng.choice(
        [
            f"{y}-{m:02}-{d:02}",
            f"{m:02}/{d:02}/{y}",
            f"{d}.{m}.{y}",
            f"{d} {month} {y}",
            f"{month} {d}, {y}",
            f"{d} {month[:3]} {y}",
        ]
    )


def _time(rng: random.Random) -> str:
    h, m = rng.randint(1, 12), rng.choice([0, 15, 30, 45, rng.randint(0, 59)])
    return rng.choice([f"{h}:{m:02}", f"{h}:{m:02} pm", f"{h} am", f"{h + 11}:{m:02}"])


def _handle(rng: random.Random) -> str:
    base = rng.choice(_WORDS["thing"]) + rng.choice(["", "_", "the", "xo"]) + rng.choice(_WORDS["verb"])
    return rng.choice([base, base.title(), base + str(rng.randint(1, 99)), base.upper()])


class Filler:
    """Fills templates."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names = Names(rng)
        self._plain: dict[str, Callable[[], str]] = {
            "phone": lambda: _phone(rng),
            "date": lambda: _date(rng),
            "time": lambda: _time(rng),
            "handle": self._handle,
            "n": lambda: str(rng.choice([rng.randint(1, 12), rng.randint(1, 99), rng.randint(100, 9999)])),
            "age": lambda: str(rng.randint(1, 99)),
            "year": lambda: str(rng.randint(1850, 2027)),
            "id": lambda: rng.choice(["", "A", "ORD-", "#", "DE", "TX"]) + str(rng.randint(1000, 99999999)),
            "email": self._email,
            "link": lambda: (
                rng.choice(["http://t.co/", "https://t.co/", "https://example.com/", "www.example.org/"]) + _handle(rng)
            ),
            "long_number": lambda: _digits(
                rng, rng.choice(["################", "###############", "#### #### #### ####"])
            ),
            "iban": lambda: rng.choice(["DE", "GB", "FR", "NL"]) + _digits(rng, "####################"),
            "ip": lambda: _digits(rng, rng.choice(["1##.##.#.##", "10.0.#.#", "192.168.#.#"])),
            "code": lambda: f"{rng.choice(_WORDS['variable'])}.{rng.choice(_WORDS['function'])}()",
        }
        names = self.names
        self._named: dict[str, Callable[[], str]] = {
            "person": names.person,
            "first": names.first,
            "last": names.last,
            "surname_first": lambda: f"{names.last()}, {rng.choice([names.first(), names.first()[0] + '.'])}",
            "initials": lambda: f"{rng.choice('ABCDEFGHJKLM')}. {names.last()}",
            "city": names.city,
            "country": names.country,
            "place": names.place,
            "address": names.address,
            "street": names.street,
            "postcode": names.postcode,
            "unit": names.unit,
            "username": self._username,
            "org": names.org,
        }

    def _handle(self) -> str:
        return _handle(self.rng) if self.rng.random() < 0.5 else self._username()

    def _username(self) -> str:
        rng = self.rng
        first, last = "".join(self.names.first().split()), "".join(self.names.last().split())
        forms = [first + last, first.lower() + str(rng.randint(1, 99)), f"{first}_{last}".lower(), f"Real{last}"]
        return rng.choice([*forms, f"{last}{first[0]}"])

    def _email(self) -> str:
        whole = f"{self.names.first()}{self.rng.choice(['.', '', '_'])}{self.names.last()}"
        local = re.sub(r"[^A-Za-z0-9._]", "", whole) or "info"
        return f"{self.rng.choice([local, local.lower()])}@{self.rng.choice(_WORDS['mail_domain'])}"

    def fill(self, template: str, source: str = "generated") -> Text:
        """The template with a value in each slot."""
        text, spans, at = "", [], 0
        fixed: dict[str, Text] = {}
        for match in _SLOT.finditer(template):
            text += template[at : match.start()]
            at = match.end()
            slot, number = match[1], match[2]
            made = fixed.get(match[0]) if number else None
            if made is None:
                made = self._slot(slot)
                if number:
                    fixed[match[0]] = made
            spans += [(start + len(text), end + len(text), label) for start, end, label in made.spans]
            text += made.text
        return Text(text + template[at:], tuple(spans), source)

    def _slot(self, slot: str) -> Text:
        if slot in self._named:
            value = self._named[slot]()
            return Text(value, ((0, len(value), _LABEL[slot]),))
        if slot == "address_line":
            value = re.sub(r",?\s*\n\s*", ", ", self.names.address())
            return Text(value, ((0, len(value), "ADDRESS"),))
        if slot == "titled":
            return self.fill(
                self.rng.choice(_WORDS["title_of_person"])
                + self.rng.choice([" {last}", " {last}", " {first} {last}", " {person}"]).replace(
                    "{first} {last}", "{person}"
                )
            )
        if slot == "prose":
            return self.fill(self.rng.choice(PROSE))
        if slot == "nothing":
            return self.fill(self.rng.choice(NOTHING))
        if slot in self._plain:
            return Text(self._plain[slot]())
        return Text(self.rng.choice(_WORDS[slot]))


def generated(rng: random.Random, filler: Filler) -> Text:
    """A text of one of the kinds."""
    chance = rng.random()
    if chance < 0.36:
        return _paragraph(rng, filler, PROSE, 0.3)
    if chance < 0.66:
        return filler.fill(rng.choice(FORMS))
    if chance < 0.78:
        return filler.fill(rng.choice(SOCIAL), "generated-social")
    return _paragraph(rng, filler, NOTHING, 0.0)


def _paragraph(rng: random.Random, filler: Filler, templates: Sequence[str], share_of_nothing: float) -> Text:
    joint = rng.choice([" ", " ", " ", "\n", "\n\n"])
    text, spans = "", []
    for _ in range(rng.randint(1, 5)):
        chosen = NOTHING if rng.random() < share_of_nothing else templates
        made = filler.fill(rng.choice(chosen))
        if text:
            text += joint
        spans += [(start + len(text), end + len(text), label) for start, end, label in made.spans]
        text += made.text
    return Text(text, tuple(spans), "generated")
