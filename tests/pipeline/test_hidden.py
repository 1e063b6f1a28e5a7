"""Usage that only the proxy asked for: noted, and never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.pipeline import StreamPipeline
from safeproxy.pipeline.shortcut import Shortcuts
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Ask
from safeproxy.wire.registry import COMPLETIONS
from tests.wire.chat import CHAT, DONE, POLICY, call, choice, event, sse
from tests.wire.played import played

HIDES = Ask(hides_usage=True)
USED = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
#: Chunks of an answer without any usage.
CHUNKS: list[dict[str, Any]] = [
    event(choice({"role": "assistant", "content": ""})),
    *(event(choice({"content": text})) for text in ("Mail ", "ada", "@exam", "ple.com", ' "now', '\u00e9", {}', "\n")),
    *(event(choice({"content": text}, index=1), obfuscation="aB3") for text in ("One ", "two ", "ada@example.com")),
    event(choice(call('{"to": ', id="call_1", name="send"))),
    event(choice(call('"ada@example.com"}'))),
    event(choice({}, "tool_calls")),
    event(choice({}, "stop", index=1)),
]


def told(chunk: dict[str, Any], usage: Any, where: str) -> dict[str, Any]:
    """The chunk with a usage at some place in it."""
    if where == "first":
        return {"usage": usage, **chunk}
    if where == "middle":
        return {key: chunk.get(key, usage) for key in ("id", "object", "created", "usage", "model", *chunk)}
    return {**chunk, "usage": usage}


def frame(chunk: dict[str, Any], *, spaced: bool = False, ascii_only: bool = True) -> bytes:
    """As servers write it, with spaces or without."""
    separators = (", ", ": ") if spaced else (",", ":")
    return b"data: " + json.dumps(chunk, separators=separators, ensure_ascii=ascii_only).encode() + b"\n\n"


@pytest.mark.parametrize("where", ["middle", "last"])
@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_client_gets_the_bytes_that_it_would_have_got(where: str, spaced: bool, ascii_only: bool) -> None:
    """Text that is clean or not, calls, padding, several choices; whole, byte by byte, and chunk by chunk."""
    shape = {"spaced": spaced, "ascii_only": ascii_only}
    plain = [frame(chunk, **shape) for chunk in CHUNKS]
    asked = [frame(told(chunk, None, where), **shape) for chunk in CHUNKS]
    asked.append(frame({**event(), "usage": USED, "obfuscation": "x"}, **shape))
    expected, _ = played(CHAT, [*plain, DONE])
    out, pipeline = played(CHAT, [*asked, DONE], ask=HIDES)
    assert out == expected
    assert pipeline.report.usage == USED
    assert pipeline.report.ended == "tool_calls"


@given(st.lists(st.integers(0, 200), max_size=20), st.data())
def test_any_cutting_hides_it(lengths: list[int], data: st.DataObject) -> None:
    """And whatever chunks have a usage: some servers leave it out of some."""
    asked = b"".join(sse({**one, "usage": None} if data.draw(st.booleans()) else one) for one in CHUNKS)
    asked += sse({**event(), "usage": USED}) + DONE
    pipeline, out, at = StreamPipeline(CHAT, POLICY, HIDES), b"", 0
    for length in [*lengths, len(asked)]:
        out += pipeline.feed(asked[at : at + length])
        at += length
    assert out + pipeline.finish() == played(CHAT, [*map(sse, CHUNKS), DONE])[0]


@pytest.mark.parametrize("usage", [USED, None])
def test_a_usage_at_the_beginning_goes_too(usage: Any) -> None:
    """Then the event says the same in bytes of our own."""
    *chunks, last = CHUNKS
    asked = [sse(told(chunk, None, "first")) for chunk in chunks] + [sse(told(last, usage, "first")), DONE]
    out, pipeline = played(CHAT, asked, ask=HIDES)
    assert out == played(CHAT, [*map(sse, CHUNKS), DONE])[0]
    assert pipeline.report.usage == usage


def test_a_usage_beside_the_last_text_goes_alone() -> None:
    """Some servers send no chunk of its own; some say how much it is so far in every chunk."""
    running = [sse({**chunk, "usage": {**USED, "completion_tokens": n}}) for n, chunk in enumerate(CHUNKS)]
    out, pipeline = played(CHAT, [*running, DONE], ask=HIDES)
    assert out == played(CHAT, [*map(sse, CHUNKS), DONE])[0]
    assert pipeline.report.usage == {**USED, "completion_tokens": len(CHUNKS) - 1}


def test_a_chunk_that_says_something_else_stays() -> None:
    """Without choices, but not without news: Azure's verdict on the prompt; and a chunk that never had a usage."""
    verdict = {**event(), "prompt_filter_results": [{"prompt_index": 0}]}
    out, _ = played(CHAT, [sse({**verdict, "usage": USED}), sse(event()), *map(sse, CHUNKS), DONE], ask=HIDES)
    assert out.startswith(sse(verdict) + sse(event()) + sse(CHUNKS[0]))


def test_a_usage_elsewhere_is_the_upstreams_own() -> None:
    """Within a choice, or in the text itself."""
    text = 'Say {"a":1,"usage":null} and ,"usage":null '
    chunks = [*CHUNKS[:1], event(choice({"content": text}, usage=None)), event(choice({"content": text}))]
    chunks += [event(choice({}, "stop"))]
    out, _ = played(CHAT, [*(sse({**chunk, "usage": None}) for chunk in chunks), DONE], ask=HIDES)
    assert out == b"".join([*map(sse, chunks), DONE])


def test_a_usage_that_is_there_twice_is_gone_altogether() -> None:
    """Which of the two would be read differs from client to client."""
    twice = sse(CHUNKS[1]).replace(b'"model"', b'"usage":{"total_tokens":1},"model"')
    twice = twice.replace(b"}\n\n", b',"usage":null}\n\n')
    out, _ = played(CHAT, [sse(CHUNKS[0]), twice, sse(event(choice({}, "stop"))), DONE], ask=HIDES)
    assert b"usage" not in out
    assert b"Mail" in out


def test_it_is_shown_to_a_client_that_asked() -> None:
    """Byte for byte."""
    frames = [
        *(sse({**chunk, "usage": None}) for chunk in (CHUNKS[0], CHUNKS[1], event(choice({}, "stop")))),
        sse({**event(), "usage": USED}),
        DONE,
    ]
    assert played(CHAT, frames)[0] == b"".join(frames)


def test_legacy_completions_hide_it_too() -> None:
    """They are asked in the same words."""
    head = {"id": "c-1", "object": "text_completion", "created": 7, "model": "m-1"}
    said = [{"text": text, "index": 0, "logprobs": None, "finish_reason": None} for text in ("One ", "two ", "three ")]
    chunks = [{**head, "choices": [one]} for one in (*said, {**said[0], "text": "", "finish_reason": "stop"})]
    asked = [sse({**chunk, "usage": None}) for chunk in chunks] + [sse({**head, "choices": [], "usage": USED}), DONE]
    out, pipeline = played(COMPLETIONS, asked, ask=HIDES)
    assert out == b"".join([*map(sse, chunks), DONE])
    assert pipeline.report.usage == USED


def test_chunks_are_not_parsed_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the third on they follow a template, with what is hidden as without."""
    texts = [sse({**event(choice({"content": word})), "usage": None}) for word in ("One, ", "two ", "\u00e9 ", "four ")]
    pipeline, parsed = StreamPipeline(CHAT, POLICY, HIDES), []
    pipeline.feed(texts[0])
    monkeypatch.setattr(jsontext, "parse", lambda data: parsed.append(data))
    assert b"".join(map(pipeline.feed, texts[1:])).count(b"data: ") == 3
    assert not parsed
    monkeypatch.setattr(Shortcuts, "find", lambda self, raw: None)
    with pytest.raises(TypeError):  # the slow path does parse
        pipeline.feed(texts[0])
