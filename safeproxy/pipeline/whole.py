"""Filtering text that stands alone: whole values, object keys, and JSON inside strings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.wire.jsontext import quote

#: JSON inside a JSON string inside a JSON string ...: deeper than this it is taken as plain text.
NESTING = 8

#: More texts than this in one event or body are refused: each costs some microseconds.
TEXTS_LIMIT = 50_000

#: Values judged clean are remembered, up to so many of so many code points.
_MEMORY = 4096
_SHORT = 256

#: The strings and numbers of a JSON text; a string may lack its end if the text does.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|-?\d[\d.eE+-]*', re.DOTALL)
_CONTAINER = re.compile(r"\s*[\[{]")


class HaltError(Exception):
    """A finding says that nothing more may leave. Never crosses the pipeline's border."""


def _literal(number: str) -> str:
    return number


# Numbers are only looked at as text, so none is too large. Line ends inside strings are common in models' JSON.
_DECODER = json.JSONDecoder(parse_int=_literal, parse_float=_literal, parse_constant=_literal, strict=False)
_STRING = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be sent of a text that stands alone, and the spans of it that were replaced."""

    text: str
    halted: bool = False
    edits: tuple[tuple[int, int], ...] = ()
    found: bool = False
    """Whether there was any finding, even one that is only observed."""


class Scanner:
    """Filters whole values under one policy, counting into one report.

    Its methods raise DetectorError when a detector breaks, unless the policy lets text pass then.
    """

    def __init__(self, policy: Policy, report: Report) -> None:
        self._policy = policy
        self._report = report
        self._clean: set[tuple[ChannelKind, str]] = set()

    def whole(self, text: str, name: str, kind: ChannelKind, *, count: bool = True) -> Verdict:
        """Filter one value of the channel called ``name``; ``count`` it as scanned."""
        stream = StreamFilter(self._policy.rules, channel=name, kind=kind, hash_key=self._policy.hash_key)
        try:
            out = stream.feed(text)
            out += stream.finish()
        except DetectorError:
            if self._policy.on_detector_error == "halt":
                raise
            self._report.fault("detector_passed")
            self._report.count(len(text), 0, len(text))
            return Verdict(text)
        findings = stream.take_findings()
        if count:
            self._report.count(len(text), stream.removed, len(out), findings)
        else:
            self._report.count(0, 0, 0, findings)
        return Verdict(out, stream.halted, tuple(stream.take_edits()), bool(findings))

    def recurring(self, text: str, name: str, kind: ChannelKind) -> Verdict:
        """Filter a short value that comes again and again (a key, a token); it is not counted."""
        if (kind, text) in self._clean:
            return Verdict(text)
        verdict = self.whole(text, name, kind, count=False)
        if not verdict.found and len(self._clean) < _MEMORY and len(text) <= _SHORT:
            self._clean.add((kind, text))
        return verdict

    def is_clean(self, text: str, name: str, kind: ChannelKind) -> bool:
        """Whether nothing acts on a recurring value."""
        verdict = self.recurring(text, name, kind)
        return not verdict.halted and verdict.text == text

    def json(self, text: str, name: str, kind: ChannelKind) -> Verdict:
        """Filter JSON text by what its strings and numbers say, at any depth; if it was JSON, it still is.

        A number that is found becomes 0 (0.0 if it had a fraction or an exponent), so that its type stays. All but
        what is replaced stays as it is, white space and spelling included. On a halt nothing of it remains. What is no
        valid JSON (a model's slip, or cut off) is filtered as plain text, after its strings, which some clients decode
        all the same.
        """

        def scan(piece: str) -> str:
            verdict = self.whole(piece, name, kind, count=valid)
            if verdict.halted:
                raise HaltError
            return verdict.text

        valid = is_json(text)
        try:
            new = _replace_tokens(text, scan, NESTING)
        except HaltError:
            return Verdict("", halted=True)
        if not valid:
            verdict = self.whole(new, name, kind)
            return Verdict("", halted=True) if verdict.halted else verdict
        return Verdict(new)


def is_json(text: str) -> bool:
    """Whether the text is valid JSON of any type."""
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def is_json_container(text: str) -> bool:
    """Whether the text is one complete JSON object or array."""
    return _CONTAINER.match(text) is not None and is_json(text)


def _replace_tokens(text: str, scan: Callable[[str], str], nesting: int) -> str:
    def replaced(match: re.Match[str]) -> str:
        token = match.group()
        if not token.startswith('"'):
            if scan(token) == token:
                return token
            return "0.0" if any(sign in token for sign in ".eE") else "0"
        value = _decoded(token)
        if not value:
            return token
        inner = nesting and is_json_container(value)
        new = _replace_tokens(value, scan, nesting - 1) if inner else scan(value)
        return token if new == value else quote(new)

    return _TOKEN.sub(replaced, text)


def _decoded(token: str) -> str:
    """What a string token says; the token itself if it is broken."""
    closed = token if len(token) > 1 and token.endswith('"') else token.rstrip("\\") + '"'
    try:
        value = _STRING.decode(closed)
    except ValueError:
        return token
    return value if isinstance(value, str) else token
