"""The two ends of a chat completion stream for tests: a scripted upstream's chunks, and a strict client."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action, ChannelKind
from safeproxy.pipeline import Policy, StreamPipeline
from safeproxy.wire.openai_chat import OpenAIChat

CHAT = OpenAIChat()
EMAIL = Rule(id="email", entity="EMAIL", pattern=r"[a-z0-9.]+@[a-z0-9]+\.[a-z]{2,10}")
NUMBER = Rule(id="number", entity="NUMBER", pattern=r"\b4[0-9]{15}\b")
KEY = Rule(id="key", entity="KEY", pattern=r"sk-\w{5,20}", action=Action.HALT)
RULES = RuleSet([EMAIL, NUMBER, KEY])
POLICY = Policy(RULES)
DONE = b"data: [DONE]\n\n"


def sse(event: object, *, ascii_only: bool = True) -> bytes:
    """One frame around an event."""
    return b"data: " + json.dumps(event, separators=(",", ":"), ensure_ascii=ascii_only).encode() + b"\n\n"


def event(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chunk with these choices."""
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m-1"}
    return {**head, "choices": list(choices), **more}


def choice(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """One entry of ``choices``."""
    return {"index": index, "delta": delta, **more, "finish_reason": finish}


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    """One frame with one choice; ``more`` goes to the top."""
    return sse(event(choice(delta, finish, index), **more))


def says(*texts: str, index: int = 0) -> list[bytes]:
    """Content in these pieces."""
    return [chunk({"content": text}, index=index) for text in texts]


def opening(index: int = 0) -> bytes:
    """The chunk that brings the role."""
    return chunk({"role": "assistant", "content": ""}, index=index)


def answer(*texts: str, finish: str = "stop") -> list[bytes]:
    """A whole answer of one choice."""
    return [opening(), *says(*texts), chunk({}, finish), DONE]


def call(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    """A delta with a piece of a tool call; with ``name`` it begins one."""
    function = {"name": more.pop("name"), "arguments": arguments} if "name" in more else {"arguments": arguments}
    return {"tool_calls": [{"index": index, **more, "function": function}]}


@dataclass
class Choice:
    """What a client has of one choice."""

    texts: dict[str, str] = field(default_factory=dict)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    role: str | None = None
    finish: str | None = None

    def take(self, entry: dict[str, Any]) -> None:
        delta = entry.get("delta") or {}
        if self.finish is not None:
            assert not any(delta.values()), "text after the finish"
            assert not entry.get("finish_reason"), "a second finish"
        for key, value in delta.items():
            if key == "role":
                self.role = value
            elif key == "tool_calls":
                for piece in value:
                    self.take_call(piece)
            elif isinstance(value, str):
                self.texts[key] = self.texts.get(key, "") + value
        self.tokens += (entry.get("logprobs") or {}).get("content") or []
        self.finish = entry.get("finish_reason") or self.finish

    def take_call(self, piece: dict[str, Any]) -> None:
        assert piece["index"] <= len(self.calls), "a call's number is skipped"
        known = self.calls.setdefault(piece["index"], {})
        function = piece.get("function", {})
        for key in ("name", "arguments"):
            known[key] = known.get(key, "") + function.get(key, "")
        known["id"] = piece.get("id") or known.get("id", "")


@dataclass
class Client:
    """Reads a stream as strictly as the strictest SDK, and fails where one of them would."""

    choices: dict[int, Choice] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    done: bool = False
    error: dict[str, Any] | None = None

    def read(self, data: bytes) -> Client:
        text = data.decode()
        assert not text or text.endswith("\n\n"), "the last event has no blank line"
        for block in text.split("\n\n")[:-1]:
            if block and not block.startswith(":"):
                self.take(block)
        return self

    def take(self, block: str) -> None:
        assert block.startswith("data: "), block
        assert len(block.splitlines()) == 1, "a line end inside the data"
        assert not self.done, "something after [DONE]"
        body = block.removeprefix("data: ")
        if body == "[DONE]":
            self.done = True
            return
        self.events.append(json.loads(body))
        if self.events[-1].get("error"):
            self.error = self.events[-1]["error"]
        for entry in self.events[-1].get("choices") or ():
            if isinstance(entry, dict) and isinstance(entry.get("index"), int):
                self.choices.setdefault(entry["index"], Choice()).take(entry)

    def text(self, key: str = "content", index: int = 0) -> str:
        return self.choices[index].texts.get(key, "")


def run(frames: Iterable[bytes], policy: Policy = POLICY) -> tuple[bytes, StreamPipeline]:
    """Feed all, and finish."""
    pipeline = StreamPipeline(CHAT, policy)
    out = b"".join(pipeline.feed(frame) for frame in frames)
    out += pipeline.finish()
    assert pipeline.done
    report = pipeline.report
    assert report.held == 0
    assert report.scanned == report.passed + report.removed
    return out, pipeline


def served(frames: Iterable[bytes], policy: Policy = POLICY) -> tuple[Client, StreamPipeline]:
    """What a client has after the stream."""
    out, pipeline = run(frames, policy)
    return Client().read(out), pipeline


def whole(text: str, kind: ChannelKind = ChannelKind.CONTENT, rules: RuleSet = RULES) -> str:
    """What is delivered of a whole text."""
    stream = StreamFilter(rules, kind=kind)
    return stream.feed(text) + stream.finish()


def entries(*tokens: str) -> dict[str, Any]:
    """Log probabilities for these tokens."""
    return {"content": [{"token": t, "logprob": -1.5, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens]}
