"""Recorded answers come out as they came in, and with a finding in them as the files say, however they are cut."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from tests.fuzz.mutations import parsed
from tests.golden.cases import POLICY, SECRETS, Case, cases

CASES = cases()
STREAMS = [case for case in CASES if case.streamed]
#: Cases whose clean answer cannot be the same bytes; their notes say why.
NORMALISED = {"gemini/array", "openai_chat/json_mode", "openai_chat/perplexity"}

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_stream = pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
by_variant = pytest.mark.parametrize("variant", list(SECRETS))


def events(case: Case, out: bytes) -> list[Any]:
    """The events of a stream, or the one body."""
    return parsed(case.dialect, out) if case.streamed else [json.loads(out)]


def cut_at_events(case: Case, body: bytes) -> list[bytes]:
    """The body in its events."""
    end = rb"(?<=\n)" if case.dialect.media_type != "text/event-stream" else rb"(?<=\n\n)|(?<=\r\n\r\n)"
    return [piece for piece in re.split(end, body) if piece]


@by_name
def test_a_clean_answer_passes_byte_for_byte(case: Case) -> None:
    """Nothing is found, so nothing is changed, but where the case's note says why it must be."""
    out, upstream = case.answer("clean"), case.upstream()
    if case.name in NORMALISED:
        assert case.spec["note"]
        assert out != upstream
    else:
        assert out == upstream


@by_name
@by_variant
def test_a_finding_leaves_what_the_file_says(case: Case, variant: str) -> None:
    """The committed bytes, and neither the finding nor its beginning in them."""
    out = case.answer(variant)
    assert out == case.expected(variant).read_bytes()
    for piece in SECRETS[variant]:
        assert piece not in json.dumps(events(case, out), ensure_ascii=False)
        assert ",".join(str(byte) for byte in piece.encode()) not in out.decode()


@by_stream
@pytest.mark.parametrize("variant", ["clean", *SECRETS])
def test_every_cutting_gives_the_same(case: Case, variant: str) -> None:
    """Event by event and byte by byte."""
    whole = case.upstream(variant)
    out = case.answer(variant)
    assert case.answer(variant, cut_at_events(case, whole)) == out
    assert case.answer(variant, [whole[at : at + 1] for at in range(len(whole))]) == out


@by_stream
@pytest.mark.parametrize("variant", ["clean", *SECRETS])
def test_an_answer_ends_once_and_in_order(case: Case, variant: str) -> None:
    """One finish a choice, no text after it, running numbers without gaps, blocks one after the other."""
    out = case.answer(variant)
    told = events(case, out)
    CHECKS[case.folder.parent.name](told, out)
    if variant == "halted":
        assert b"content_filter" in out or any(word in out for word in (b'"refusal"', b'"SAFETY"', b'"ERROR"'))


@by_stream
@pytest.mark.parametrize("length", [1, 5, 13])
def test_an_answer_that_is_too_long_ends_in_order_too(case: Case, length: int) -> None:
    """However it is cut, wherever the length falls, with a finding before it or across it."""
    policy = dataclasses.replace(POLICY, max_answer_chars=length)
    for variant in ("clean", *SECRETS):
        whole = case.upstream(variant)
        out = case.answer(variant, policy=policy)
        assert case.answer(variant, cut_at_events(case, whole), policy) == out
        assert case.answer(variant, [whole[at : at + 1] for at in range(len(whole))], policy) == out
        told = events(case, out)
        CHECKS[case.folder.parent.name](told, out)


def check_chat(told: list[Any], out: bytes) -> None:
    """Every index opens before it ends, ends once, says nothing then; the marker comes last, where it came at all."""
    finished: set[int] = set()
    for choice in (choice for event in told for choice in event["choices"]):
        assert choice["index"] not in finished or not any((choice.get("delta") or {}).get(key) for key in ("content",))
        if choice["finish_reason"]:
            assert choice["index"] not in finished
            finished.add(choice["index"])
    assert finished == {choice["index"] for event in told for choice in event["choices"]}
    assert out.count(b"[DONE]") == out.endswith(b"data: [DONE]\n\n")


def check_completions(told: list[Any], out: bytes) -> None:
    """The same for texts; llama.cpp's own shape stops once."""
    if "choices" in told[0]:
        check_chat([{"choices": [{**choice, "delta": {}} for choice in event["choices"]]} for event in told], out)
    else:
        assert [event["stop"] for event in told] == [False] * (len(told) - 1) + [True]


def check_responses(told: list[Any], out: bytes) -> None:
    """Numbers are dense; what is opened is closed, innermost first; the response ends last, with all its items."""
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    items: dict[int, str] = {}
    parts: set[tuple[int, str]] = set()
    for event in told:
        kind, index = event["type"], event.get("output_index")
        where = str(event.get("content_index", "")) + "/" + str(event.get("summary_index", ""))
        if kind == "response.output_item.added":
            assert index == len(items)
            items[index] = "open"
        elif kind == "response.output_item.done":
            assert not any(of == index for of, _ in parts)
            items[index] = "closed"
        elif kind.endswith("part.added"):
            parts.add((index, where))
        elif kind.endswith("part.done"):
            parts.remove((index, where))
        elif index is not None:
            assert items[index] == "open"
    assert set(items.values()) <= {"closed"}
    assert not parts
    last = told[-1]
    assert last["type"] in ("response.completed", "response.incomplete")
    assert len(last["response"]["output"]) == len(items)
    assert sum(event["type"].startswith(("response.completed", "response.incomplete")) for event in told) == 1


def check_anthropic(told: list[Any], out: bytes) -> None:
    """Blocks are numbered one after the other and closed before the next; then the reason, the usage, the stop."""
    told = [event for event in told if event["type"] != "ping"]
    assert [event["type"] for event in told].count("message_start") == 1
    assert told[0]["type"] == "message_start"
    following, block = len(told[0]["message"]["content"]), None
    for event in told[1:-2]:
        if event["type"] == "content_block_start":
            assert block is None
            assert event["index"] == following
            block = event["index"]
        else:
            assert event["index"] == block
            if event["type"] == "content_block_stop":
                following, block = following + 1, None
    assert block is None
    assert told[-2]["type"] == "message_delta"
    assert told[-2]["delta"]["stop_reason"]
    assert "output_tokens" in told[-2]["usage"]
    assert told[-1]["type"] == "message_stop"
    names = re.findall(rb"^event: (.*)$", out, re.MULTILINE)
    assert [name.decode() for name in names if name != b"ping"] == [event["type"] for event in told]


def check_gemini(told: list[Any], out: bytes) -> None:
    """The last event has the reason, and where it is for safety no content."""
    reasons = [candidate.get("finishReason") for event in told for candidate in event.get("candidates", ())]
    if reasons:
        assert reasons[:-1] == [None] * (len(reasons) - 1)
        assert reasons[-1] == "STOP" or "content" not in told[-1]["candidates"][0]
    assert out.startswith((b"data: ", b"["))


def check_ollama(told: list[Any], out: bytes) -> None:
    """The last line alone is the last, and says why."""
    assert [event["done"] for event in told] == [False] * (len(told) - 1) + [True]
    assert told[-1]["done_reason"] in ("stop", "content_filter", "length")


def check_cohere(told: list[Any], out: bytes) -> None:
    """One beginning, one end, every content closed."""
    kinds = [event["type"] for event in told]
    assert kinds[0] == "message-start"
    assert kinds.index("message-end") == len(kinds) - 1
    for what in ("content", "tool-call", "citation"):
        assert kinds.count(f"{what}-start") == kinds.count(f"{what}-end")


def check_transcription(told: list[Any], out: bytes) -> None:
    """The whole text is that of the deltas, or an error ends it."""
    *deltas, last = told
    said = "".join(event["delta"] for event in deltas)
    assert "error" in last or last["text"] == said


def check_generic(told: list[Any], out: bytes) -> None:
    """An unknown API ends where it ends, or with an error."""
    assert all("error" not in event for event in told[:-1])


CHECKS = {
    "openai_chat": check_chat,
    "openai_completions": check_completions,
    "openai_responses": check_responses,
    "anthropic": check_anthropic,
    "gemini": check_gemini,
    "ollama": check_ollama,
    "cohere": check_cohere,
    "transcription": check_transcription,
    "generic": check_generic,
}


def test_there_are_cases_of_every_api() -> None:
    """No folder without its two expected files, none without a check, and no file of some other name."""
    assert {case.folder.parent.name for case in CASES} == set(CHECKS)
    assert len(CASES) > 50
    for case in CASES:
        names = {file.name for file in case.folder.iterdir()}
        assert names == {"upstream", "case.json", *(f"{variant}.expected" for variant in SECRETS)}
        assert len(case.upstream()) < 10_000
