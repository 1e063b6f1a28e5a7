"""What the model tiers cost: CPU per token and word, alone and with many streams together, hold, start, memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from safeproxy import suspend
from safeproxy.bench import prose
from safeproxy.bench.measure import summary
from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.models.names import NamesModel

#: How many streams have a piece of text in the same turn of the event loop.
TOGETHER = (1, 50, 200)
#: Pieces that many streams get in all.
LONG = 20_000
#: A word, or a sign that stands alone: near to what tokenizers make of English prose.
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
#: Proper names of the prose, and what takes their place: what is held should not depend on what is found.
_NAMELESS = {"Marta": "She", "London": "town", "Gluten": "It", "Thursday": "that day"}


def clean_prose() -> str:
    """The prose without its few names."""
    text = prose.PROSE
    for name, other in _NAMELESS.items():
        text = text.replace(name, other)
    return text


def measure(rules: RuleSet, *, quick: bool) -> dict[str, Any]:
    """The figures of each tier that the rules use, and of all rules together."""
    _never_apart(rules)
    tiers = {name: _of(rules, name) for name in sorted({rule.detector for rule in rules.rules if rule.detector})}
    tiers["all"] = rules
    return {name: _tier(one, quick=quick) for name, one in tiers.items()}


def _of(rules: RuleSet, detector: str) -> RuleSet:
    return rules.with_rules(rule for rule in rules.rules if rule.detector == detector)


def _tier(rules: RuleSet, *, quick: bool) -> dict[str, Any]:
    text = clean_prose()
    pieces = prose.tokens(text)
    # As `redact` nothing ends the text, and what a rule only observes is held like what it would replace.
    acting = rules.with_rules(replace(rule, action=Action.REDACT) for rule in rules.rules)
    per_chunk = {str(count): _chunk_seconds(rules, pieces, count, quick=quick) for count in TOGETHER}
    share = {"token": len(_TOKEN.findall(text)) / len(pieces), "word": len(_WORD.findall(text)) / len(pieces)}
    return {
        "chunk_seconds": per_chunk,
        **{f"{unit}_seconds": {n: cost / part for n, cost in per_chunk.items()} for unit, part in share.items()},
        "hold": asdict(summary(_holds(acting, pieces))),
    }


def _holds(rules: RuleSet, pieces: Sequence[str]) -> list[int]:
    stream = StreamFilter(rules, hash_key=b"no secret is kept by it")
    held = []
    for piece in pieces:
        stream.feed(piece)
        held.append(stream.held)
    return held


def _chunk_seconds(rules: RuleSet, pieces: Sequence[str], count: int, *, quick: bool) -> float:
    """Seconds of CPU per piece when ``count`` streams get one each in every turn; the best of some passes, warm."""
    turns = len(pieces) if count == 1 else LONG // count  # long enough that how a stream begins does not count
    passes = 2 if quick else 4
    return min(asyncio.run(_turns(rules, pieces, count, turns)) for _ in range(passes)) / (count * turns)


def _never_apart(rules: RuleSet) -> None:
    """Let each round of a names network come at once: here every turn is full, and waiting would cool the caches."""
    for model in rules.models:
        if isinstance(model, NamesModel):
            model.advance.apart = 0.0


async def _turns(rules: RuleSet, pieces: Sequence[str], count: int, turns: int) -> float:
    streams = [StreamFilter(rules, hash_key=b"no secret is kept by it") for _ in range(count)]
    begins = [number * len(pieces) // count for number in range(count)]
    start = time.process_time()
    for turn in range(turns):
        said = [pieces[(begin + turn) % len(pieces)] for begin in begins]
        pairs = zip(streams, said, strict=True)
        if rules.waits:
            await asyncio.gather(*(suspend.run(stream.feed, piece) for stream, piece in pairs))
        else:  # as the relay does it
            for stream, piece in pairs:
                stream.feed(piece)
    return time.process_time() - start
