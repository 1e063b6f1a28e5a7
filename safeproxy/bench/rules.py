"""Rule files for the benchmark: generated rules like those of a secret scanner, and rules written back as YAML."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from safeproxy.core.rule import Context, Filters, Rule
from safeproxy.events import Action, ChannelKind

#: The key for rules that hash; it protects nothing.
HASH_KEY = b"the key of the benchmark"
#: Halts a stream with its last piece: no rule's match goes on through a closing parenthesis. It occurs in no prose.
HALT_SENTENCE = " (the zanzibar sentence)"
#: Made up. A shipped rule finds the address in it.
FINDING_SENTENCE = " (write to zebulon.quixote@harbourlight-mail.com or ask at the door)"
#: What of it must never be seen.
ADDRESS = "zebulon.quixote@harbourlight-mail.com"
HALT_RULE = Rule(
    id="bench-halt",
    title="The sentence that the benchmark halts on",
    entity="BENCH_HALT",
    action=Action.HALT,
    words=("the zanzibar sentence",),
)

#: So long is no name, so that prose stays as it is.
_LONG = Filters(min_length=1000)

_ONSETS = (
    "b",
    "br",
    "c",
    "cl",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "v",
    "z",
)
_NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "io", "oo")
_CODAS = ("", "", "n", "x", "r", "l", "st", "ck", "m")
_CHARSETS = ("[0-9a-f]", "[A-Z0-9]", "[A-Za-z0-9]", "[A-Za-z0-9_-]", "[A-Za-z0-9+/]")
_LENGTHS = (16, 20, 24, 32, 36, 40, 48, 64)
_NOUNS = ("account", "member", "policy", "badge", "ticket", "invoice", "patient", "licence")


def _vendor(random_: random.Random) -> str:
    """A word that sounds like a company."""
    syllables = random_.choice((2, 2, 3))
    parts = (random_.choice(_ONSETS) + random_.choice(_NUCLEI) + random_.choice(_CODAS) for _ in range(syllables))
    return "".join(parts)


def _prefixed_key(vendor: str, random_: random.Random) -> tuple[str, str]:
    """A key with the vendor's prefix and a fixed length, as most vendors make them today."""
    charset, length = random_.choice(_CHARSETS), random_.choice(_LENGTHS)
    return rf"\b{vendor[:4]}{random_.choice('_-')}(?:live|test|prod)?_?{charset}{{{length}}}(?![\w-])", ""


def _assigned_key(vendor: str, random_: random.Random) -> tuple[str, str]:
    """A key without a prefix of its own, told by the name it is assigned to."""
    charset, length = random_.choice(_CHARSETS), random_.choice(_LENGTHS)
    name = rf"\b{vendor}(?:[_ -]?(?:api|access|secret|client))?[_ -]?(?:key|token|id)"
    return name + rf"""["']?\s{{0,3}}(?:=>|=|:|is)\s{{0,3}}["']?{charset}{{{length}}}(?![\w-])""", "i"


def _ranged_key(vendor: str, random_: random.Random) -> tuple[str, str]:
    """A key whose length varies."""
    least = random_.choice(_LENGTHS)
    return rf"\b{vendor.upper()[:6]}-{random_.choice(_CHARSETS)}{{{least},{least * 2}}}", ""


def _numbered(vendor: str, random_: random.Random) -> tuple[str, str]:
    """An organisation's own number: a customer, a policy, a patient."""
    digits = random_.randint(6, 9)
    noun = random_.choice(_NOUNS)
    return rf"\b{vendor} {noun} (?:no|number|id)[.:# ]{{1,3}}[A-Z]{{0,2}}\d{{{digits},{digits + 3}}}\b", "i"


def _code_name(vendor: str, random_: random.Random) -> tuple[str, str]:
    """A project that must not be spoken of."""
    return rf"\b(?:project|operation) (?:{vendor}|{_vendor(random_)})\b", "i"


#: Each kind of rule, its entity, and its share in percent, roughly as in public secret scanners' rule sets.
_KINDS: tuple[tuple[Callable[[str, random.Random], tuple[str, str]], str, int], ...] = (
    (_prefixed_key, "BENCH_KEY", 35),
    (_assigned_key, "BENCH_ASSIGNED_KEY", 25),
    (_ranged_key, "BENCH_LONG_KEY", 15),
    (_numbered, "BENCH_NUMBER", 15),
    (_code_name, "BENCH_CODE_NAME", 10),
)


def generate(count: int, seed: int = 1) -> list[Rule]:
    """``count`` rules, the same ones for the same seed; the first rules do not depend on ``count``."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable rules are wanted
    shares = [share for _, _, share in _KINDS]
    rules: list[Rule] = []
    vendors: set[str] = set()
    while len(rules) < count:
        vendor = _vendor(random_)
        if len(vendor) < 5 or vendor in vendors:
            continue
        vendors.add(vendor)
        kind, entity, _ = random_.choices(_KINDS, shares)[0]
        pattern, flags = kind(vendor, random_)
        rules.append(
            Rule(id=f"bench-{len(rules)}-{vendor}", entity=entity, pattern=pattern, flags=flags, max_length=512)
        )
    return rules


def of_size(shipped: Sequence[Rule], count: int) -> list[Rule]:
    """A rule set of ``count`` rules: shipped ones spread evenly over their list, or all of them and generated ones.

    The e-mail rule is always in, for it alone makes nearly all of the hold on prose.
    """
    if count >= len(shipped):
        return [*shipped, *generate(count - len(shipped))]
    mail = [rule for rule in shipped if rule.entity == "EMAIL_ADDRESS"][:1]
    others = [rule for rule in shipped if rule not in mail]
    wanted = count - len(mail)
    return [*mail, *(others[n * len(others) // wanted] for n in range(wanted))]


def write(rules: Sequence[Rule], path: Path) -> None:
    """Write the rules as a YAML rule file."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    path.write_text(yaml.dump([_form(rule) for rule in rules], Dumper=dumper, sort_keys=False), encoding="utf-8")


def _form(rule: Rule) -> dict[str, Any]:
    """The rule as its file would say it: only what differs from the defaults, but for the required keys."""
    form: dict[str, Any] = {
        "id": rule.id,
        "title": rule.title or rule.id,
        "entity": rule.entity,
        "category": rule.category,
        "severity": rule.severity.name.lower(),
        "action": rule.action.value,
        "score": rule.score,
        "threshold": rule.threshold,
        "keep": rule.mask_keep,
        "max_length": rule.max_length,
        "on": {
            "request": rule.request,
            "response": rule.response,
            "channels": [kind.value for kind in ChannelKind if kind in rule.channels],
        },
    }
    after = rule.after and {"entities": list(rule.after.entities), "within": rule.after.within}
    optional = {
        "placeholder": rule.placeholder,
        "after": after,
        **(_model_form(rule) if rule.detector else _pattern_form(rule)),
    }
    return form | {key: value for key, value in optional.items() if value}


def _pattern_form(rule: Rule) -> dict[str, Any]:
    return {
        "engine": rule.engine.value,
        "view": rule.view.value,
        "overflow": rule.overflow.value,
        "pattern": rule.pattern,
        "words": list(rule.words),
        "flags": rule.flags,
        "validate": list(rule.validators),
        "context": rule.context and _context_form(rule.context),
    }


def _model_form(rule: Rule) -> dict[str, Any]:
    filters = rule.filters
    return {
        "detector": rule.detector,
        "model": rule.model,
        "labels": list(rule.labels),
        "strict": rule.strict,
        "filters": {"min_length": filters.min_length, "full_name": filters.full_name, "allow": list(filters.allow)},
    }


def sparing(rules: Sequence[Rule]) -> list[Rule]:
    """The same rules at the same cost, but that what a model takes for a name counts only if it is very long."""
    return [replace(rule, filters=_LONG) if rule.detector == "ner" else rule for rule in rules]


def _context_form(context: Context) -> dict[str, Any]:
    return {"words": list(context.words), "window": context.window, "bonus": context.bonus}
