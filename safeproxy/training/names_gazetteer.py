"""Names of many cultures: persons, streets, companies by Faker, places by area codes and time zones.

All is drawn from one `random.Random`, so that a seed gives the same names with the same versions of the packages.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import phonenumbers.geodata
from faker import Faker

from safeproxy.training.text import lists

_LISTS = lists("names")

LATIN = tuple(_LISTS["latin_locales"])
"""Locales of Faker which write names in Latin letters."""

OTHER_SCRIPTS = tuple(_LISTS["other_locales"])

_ROMANIZED = ("zh", "ja", "ko", "ar", "in", "ru", "africa")
"""Cultures whose names Faker has in other scripts only, or not at all: here as they are written in Latin letters."""


@dataclass(frozen=True)
class Culture:
    """The names of one locale."""

    first: Sequence[str]
    last: Sequence[str]
    streets: Sequence[str]
    cities: Sequence[str]
    companies: Sequence[str]
    addresses: Sequence[str]


@cache
def cultures(locales: tuple[str, ...]) -> tuple[Culture, ...]:
    """The names which Faker makes for these locales, and those of `_ROMANIZED` if Latin ones are asked for."""
    made = [_culture(locale) for locale in locales]
    if "en_US" in locales:
        made += [Culture(_LISTS[f"first_{x}"], _LISTS[f"last_{x}"], (), (), (), ()) for x in _ROMANIZED]
    return tuple(made)


def _culture(locale: str) -> Culture:
    fake = Faker(locale)
    fake.seed_instance(locale)

    def many(maker: str, count: int) -> list[str]:
        make: Callable[[], object] = getattr(fake, maker)
        return sorted({" ".join(str(make()).split(" ")) for _ in range(count)})

    return Culture(
        many("first_name", 800),
        many("last_name", 800),
        many("street_name", 300),
        many("city", 300),
        many("company", 200),
        many("address", 300),
    )


@cache
def places() -> tuple[tuple[str, str], ...]:
    """Towns and the region each is in ("" if not known), of the whole world."""
    found = set()
    for module in pkgutil.iter_modules(phonenumbers.geodata.__path__):
        data = getattr(importlib.import_module(f"phonenumbers.geodata.{module.name}"), "data", {})
        for names in data.values():
            town, _, region = re.sub(r" - ([A-Z]{2})$", r", \1", names.get("en", "")).partition(", ")
            town = town.split("/")[0].strip()
            if town and town[0].isupper() and len(town.split()) <= 4 and "(" not in town:
                found.add((town, region.split("/")[0]))
    found |= {
        (zone.split("/")[-1].replace("_", " "), "")
        for zone in zoneinfo.available_timezones()
        if zone.count("/") == 1 and "Etc" not in zone
    }
    return tuple(sorted(found))


@cache
def countries() -> tuple[str, ...]:
    """The countries, as Faker names them in English and as they are called for short."""
    fake = Faker("en_US")
    fake.seed_instance(1)
    long = {fake.country() for _ in range(3000)}
    short = {name.split(" (")[0].split(",")[0] for name in long}
    return tuple(sorted(name for name in short if len(name.split()) <= 3))


@cache
def known_names() -> frozenset[str]:
    """Words which are or begin a name of a person or a place in Latin script."""
    words = {word for culture in cultures(LATIN) for name in (*culture.first, *culture.last) for word in name.split()}
    words |= {name.split()[0] for name in (*countries(), *_LISTS["large_places"])}
    words |= {town for town, _ in places() if " " not in town}
    return frozenset(word for word in words if len(word) > 1 and word[0].isupper())


class Names:
    """Draws names."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._latin = cultures(LATIN)
        self._full = [c for c in self._latin if c.streets]
        self._other = cultures(OTHER_SCRIPTS)

    def _form(self, kind: str) -> str:
        forms, shares = weighted(kind)
        return self.rng.choices(forms, cum_weights=shares)[0]

    def _word(self, kind: str) -> str:
        return self.rng.choice(_LISTS[kind])

    def culture(self) -> Culture:
        """A culture: an English-speaking one more often than others, seldom one of another script."""
        chance = self.rng.random()
        if chance < 0.04:
            return self.rng.choice(self._other)
        return self.rng.choice(self._latin[:11] if chance < 0.3 else self._latin)

    def full_culture(self) -> Culture:
        """A culture of which streets are known too."""
        return self.rng.choice(self._full if self.rng.random() < 0.97 else self._other)

    def first(self) -> str:
        """A given name."""
        return self.rng.choice(self.culture().first)

    def last(self) -> str:
        """A family name."""
        return self.rng.choice(self.culture().last)

    def person(self) -> str:
        """A name of a person in one of the ways it is written, mostly given and family name of one culture."""
        culture = self.culture()
        makers: dict[str, Callable[[], str]] = {
            "f": lambda: self.rng.choice(culture.first),
            "l": lambda: self.rng.choice(culture.last),
            "i": lambda: self.rng.choice(culture.first)[0],
            "p": lambda: self._word("name_particles"),
            "q": lambda: self._word("name_prefixes"),
            "s": lambda: self._word("name_suffixes"),
        }
        return filled(self._form("persons"), makers)

    def town(self) -> tuple[str, str]:
        """A town of the world with its region, which may be empty."""
        return self.rng.choice(places())

    def city(self) -> str:
        """A town, a large one at times."""
        chance = self.rng.random()
        if chance < 0.3:
            return self._word("large_places")
        town = self.town()[0] if chance < 0.8 else self.rng.choice(self.full_culture().cities)
        return town.upper() if self.rng.random() < 0.05 else town

    def country(self) -> str:
        """A country."""
        return self.rng.choice(countries())

    def place(self) -> str:
        """Some place: a town, a country, a town with its region, a lake, a park, a station."""
        makers = {
            "city": self.city,
            "country": self.country,
            "town_region": lambda: ", ".join(filter(None, self.town())),
            "kind": lambda: self._word("place_kinds").format(self.rng.choice([self.last(), self.town()[0]])),
        }
        return filled(self._form("places"), makers)

    def street(self) -> str:
        """A street with a house number."""
        rng = self.rng
        name = rng.choice([self.last(), self.last(), self.town()[0], self._word("street_words")])
        makers = {
            "n": self.house_number,
            "x": lambda: name,
            "kind": lambda: self._word("street_kinds"),
            "side": lambda: self._word("street_sides"),
            "th": lambda: _ordinal(rng.randint(1, 140)),
            "last": lambda: self._word("streets_number_last").format(x=name, f=self.first()),
            "first": lambda: self._word("streets_number_first").format(x=name, f=self.first()),
            "local": lambda: rng.choice(self.full_culture().streets),
        }
        return filled(self._form("streets"), makers)

    def house_number(self) -> str:
        """The number of a house."""
        most = self.rng.choice([60, 400, 9999, 99999])
        makers = {
            "n": lambda: str(self.rng.randint(1, most)),
            "letter": lambda: self.rng.choice("abcABC"),
            "small": lambda: str(self.rng.randint(1, 99)),
        }
        return filled(self._form("house_numbers"), makers)

    def unit(self) -> str:
        """A flat or suite."""
        rng = self.rng
        low, letter = rng.randint(1, 99), rng.choice("ABCDE")
        number = rng.choice([str(rng.randint(1, 999)), f"{low:03}", f"{low}{letter}", letter])
        return self._form("units").format(u=number)

    def postcode(self) -> str:
        """A postal code of one of the usual shapes."""
        digits, letters = "0123456789", "ABCDEGHKLMNPRST"
        return re.sub("[#@]", lambda m: self.rng.choice(digits if m[0] == "#" else letters), self._form("postcodes"))

    def region(self) -> str:
        """A state or province, mostly by two letters."""
        long = self.town()[1] if self.rng.random() < 0.3 else ""
        return long or self._word("states")

    def address(self) -> str:
        """An address: a street at least, with what may follow it, on one line or several."""
        rng = self.rng
        between = rng.choice([", ", ", ", ", ", "\n", "\n ", " ", ",\n"])
        makers = {
            "street": self.street,
            "unit": lambda: rng.choice([" ", ", ", between]) + self.unit() if rng.random() < 0.35 else "",
            "b": lambda: between,
            "town": self._town_line,
            "country": self.country,
            "code": self.postcode,
            "box": lambda: rng.choice(["{}", "{}, " + self._town_line()]).format(self._box("boxes")),
            "military": lambda: self._military(rng.choice([", ", "\n", " "])),
            "local": lambda: rng.choice(self.full_culture().addresses).replace(
                "\n", rng.choice(["\n", ", ", ", ", " "])
            ),
        }
        return filled(self._form("addresses"), makers)

    def _town_line(self) -> str:
        city = self.city()
        shown = city.upper() if self.rng.random() < 0.12 else city
        makers = {"city": lambda: shown, "region": self.region, "code": self.postcode}
        return filled(self._form("towns"), makers)

    def _box(self, kind: str) -> str:
        return f"{self._word(kind)} {self.rng.randint(1, 9999)}"

    def _military(self, between: str) -> str:
        rng = self.rng
        box = f"{self._box('military_units')}{rng.choice([', ', ' '])}Box {rng.randint(1, 9999)}"
        return f"{box}{between}{self._word('military_towns')} {rng.randint(9000, 99999):05}"

    def org(self) -> str:
        """A company, a school, an authority, a club."""
        makers = {
            "local": lambda: self.rng.choice(self.full_culture().companies),
            "one": self._org_name,
            "kind": lambda: self._word("org_kinds"),
            "pair": lambda: self._word("org_pairs").format(self.last(), self.last()),
            "of": lambda: self._word("org_of").format(self.city()),
        }
        return filled(self._form("orgs"), makers)

    def _org_name(self) -> str:
        one, two = self._word("org_words"), self._word("org_words")
        return self.rng.choice([self.last(), self.last(), self.city(), one + two.lower(), one + two, f"{one} {two}"])


@cache
def weighted(kind: str) -> tuple[list[str], list[int]]:
    """The forms of a list whose entries begin with their weights, and the sums of the weights up to each."""
    pairs = [entry.split(" ", 1) for entry in _LISTS[kind]]
    return [form for _, form in pairs], list(accumulate(int(weight) for weight, _ in pairs))


def filled(form: str, makers: Mapping[str, Callable[[], str]]) -> str:
    """The form with each `{slot}` made anew."""
    return re.sub(r"\{(\w+)\}", lambda match: makers[match[1]](), form)


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def plain_letters(name: str) -> str:
    """The name without accents, as it is often typed."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
