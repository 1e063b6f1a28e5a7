"""The golden cases: a folder each, with what an upstream sends and what a client must get.

``upstream`` says a harmless word in three pieces. The same answer with an e-mail address in its place, and with a word
that halts, is made of it by replacing these pieces, however they are spelled; ``redacted.expected`` and
``halted.expected`` are what becomes of those. ``case.json`` says what was asked, and what is special about the case.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.pipeline import BodyPipeline, Policy, StreamPipeline
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.registry import GENERIC, route_for

ROOT = Path(__file__).parent
#: The harmless word's pieces, and what they become: as many bytes, so that all positions stay right.
CLEAN = ("blue", "-gree", "n-red")
SECRETS = {"redacted": ("nora", "@quis", "t.org"), "halted": ("zanz", "ibar-", "depot")}
POLICY = Policy(
    RuleSet(
        [
            Rule(id="mail", entity="EMAIL", pattern=r"\bnora@quist\.org"),
            Rule(id="depot", entity="DEPOT", pattern=r"\bzanzibar-depot", action=Action.HALT),
        ]
    ),
    seal=lambda text: "safeproxy1.sealed",
)


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The API and the case."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What ``case.json`` says: path, query, request, stream, note."""
        spec: dict[str, Any] = json.loads((self.folder / "case.json").read_text())
        return spec

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream."""
        return bool(self.spec.get("stream", True))

    @property
    def dialect(self) -> Dialect:
        """The dialect of the path."""
        route = route_for("POST", self.spec["path"], self.spec.get("query", ""))
        return GENERIC if route is None else route.dialect

    @property
    def ask(self) -> Ask:
        """What matters of the request."""
        return self.dialect.ask(self.spec.get("request", {}))

    def upstream(self, variant: str = "clean") -> bytes:
        """What the upstream sends, with the word of the variant in it."""
        data = (self.folder / "upstream").read_bytes()
        for clean, secret in zip(CLEAN, SECRETS.get(variant, CLEAN), strict=True):
            data = data.replace(clean.encode(), secret.encode())
            for comma in (",", ", "):
                spelled, other = (comma.join(str(byte) for byte in word.encode()) for word in (clean, secret))
                data = data.replace(spelled.encode(), other.encode())
        return data

    def expected(self, variant: str) -> Path:
        """The file with what a client must get."""
        return self.folder / f"{variant}.expected"

    def answer(self, variant: str, pieces: Sequence[bytes] = (), policy: Policy = POLICY) -> bytes:
        """What a client gets; the body comes in one piece unless it is told."""
        whole = self.upstream(variant)
        if not self.streamed:
            return BodyPipeline(self.dialect, policy, self.ask).run(whole, 200)[1]
        pipeline = StreamPipeline(self.dialect, policy, self.ask)
        writer = self.dialect.writer()
        out = b""
        for piece in pieces or (whole,):
            sent = pipeline.feed(piece)
            out += sent if writer is None else writer(sent, False)
        rest = pipeline.finish()
        return out + (rest if writer is None else writer(rest, True))


def cases() -> list[Case]:
    """All of them."""
    return [Case(file.parent) for file in sorted(ROOT.glob("*/*/upstream"))]
