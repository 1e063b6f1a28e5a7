"""Credentials of a request: where they stand, taking them out, putting others in."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from safeproxy.shell.credentials import ANTHROPIC, AZURE, BEARER, GOOGLE, Place, every, find, native_place, put, remove

KEY = "sk-test-0123456789"

#: Headers and query as the SDKs send a key, and the place that it stands for.
SENT = [
    ({"Authorization": f"Bearer {KEY}"}, "", BEARER),
    ({"authorization": f"bearer   {KEY} "}, "", BEARER),
    ({"x-api-key": KEY}, "", ANTHROPIC),
    ({"Api-Key": KEY}, "api-version=2025-01-01", AZURE),
    ({"X-Goog-Api-Key": KEY}, "alt=sse", GOOGLE),
    ({}, f"alt=sse&key={KEY}", GOOGLE),
    ({}, f"%24key={KEY}&alt=sse", GOOGLE),
    ({}, f"%6b%65%79={KEY}", GOOGLE),
    ({}, f"api-version=x&api-key={KEY}", AZURE),
    ({}, f"access_token={KEY}", BEARER),
    ({"Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{KEY}"}, "model=gpt-realtime", BEARER),
]

_KEYS = st.text(string.ascii_letters + string.digits + "-_.", min_size=1)
_PLACES = st.sampled_from([BEARER, ANTHROPIC, AZURE, GOOGLE])
_QUERIES = st.lists(st.from_regex(r"[a-z]{1,3}(=[a-zA-Z0-9%+/:]{0,8})?", fullmatch=True)).map("&".join)


@pytest.mark.parametrize(("headers", "query", "place"), SENT)
def test_a_key_is_found_wherever_its_client_puts_it(headers: dict[str, str], query: str, place: Place) -> None:
    """Every SDK's place is looked at, and told as the place it stands for."""
    assert find(CIMultiDict(headers), query) == (place, KEY)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({}, "model=key&monkey=1&=key"),
        ({}, "key="),
        ({"x-api-key": " "}, ""),
        ({"Authorization": "Bearer"}, ""),
        ({"Authorization": "Basic dXNlcjprZXk="}, ""),
        ({"Sec-WebSocket-Protocol": "realtime, openai-beta.realtime-v1"}, ""),
    ],
)
def test_what_is_no_key_is_not_taken_for_one(headers: dict[str, str], query: str) -> None:
    """Empty values, other schemes and other parameters hold no key."""
    assert find(CIMultiDict(headers), query) is None


def test_a_header_that_names_its_api_comes_before_a_bearer_token() -> None:
    """Of several keys all are seen, and those first that tell which API is meant."""
    headers = CIMultiDict({"Authorization": "Bearer one", "x-api-key": "two"})
    assert list(every(headers, "key=three")) == [(ANTHROPIC, "two"), (GOOGLE, "three"), (BEARER, "one")]


@pytest.mark.parametrize(("headers", "query", "place"), SENT)
def test_nothing_of_a_key_is_left_when_it_is_removed(headers: dict[str, str], query: str, place: Place) -> None:
    """After removing neither headers nor query hold the key, from any place."""
    left = CIMultiDict(headers)
    rest = remove(left, query)
    assert KEY not in repr(left) + rest
    assert find(left, rest) is None, place


def test_removing_takes_every_credential_and_nothing_else() -> None:
    """Cookies, other schemes, repeated headers and cloud tokens go too; what proves nothing stays."""
    secret = [
        *(("Authorization", "Basic abc"), ("authorization", "Bearer abc"), ("Cookie", "session=abc")),
        *(("proxy-authorization", "Basic abc"), ("x-amz-security-token", "abc"), ("Ocp-Apim-Subscription-Key", "abc")),
    ]
    plain = [("OpenAI-Project", "p"), ("anthropic-version", "2023-06-01"), ("Sec-WebSocket-Protocol", "a,b")]
    headers = CIMultiDict([*secret, *plain])
    remove(headers, "")
    assert list(headers.items()) == plain


def test_the_other_subprotocols_are_still_offered() -> None:
    """Of a WebSocket's subprotocols only the one that is a key goes; where it was alone nothing is offered."""
    headers = CIMultiDict({"Sec-WebSocket-Protocol": f"realtime,openai-insecure-api-key.{KEY}, v1"})
    remove(headers, "")
    assert headers["Sec-WebSocket-Protocol"] == "realtime, v1"
    alone = CIMultiDict({"Sec-WebSocket-Protocol": f"openai-insecure-api-key.{KEY}"})
    remove(alone, "")
    assert not alone


@given(query=_QUERIES, key=_KEYS)
def test_the_rest_of_a_query_stays_byte_for_byte(query: str, key: str) -> None:
    """Only the parameter with the key leaves a query, wherever in it that stood."""
    parts = query.split("&") if query else []
    kept = [part for part in parts if part.partition("=")[0] != "key"]
    for at in range(len(kept) + 1):
        with_key = "&".join([*kept[:at], f"key={key}", *kept[at:]])
        assert remove(CIMultiDict(), with_key) == "&".join(kept)


@given(key=_KEYS, place=_PLACES)
def test_what_is_put_is_found_and_can_be_replaced(key: str, place: Place) -> None:
    """A key that was put somewhere is found there, and another one takes its place."""
    headers: CIMultiDict[str] = CIMultiDict()
    put(headers, "first", place)
    put(headers, key, place)
    assert list(every(headers, "")) == [(place, key)]


@pytest.mark.parametrize(
    ("dialect", "presented", "header", "place"),
    [
        ("openai_chat", BEARER, None, BEARER),
        ("openai_chat", AZURE, None, AZURE),
        ("anthropic", BEARER, None, ANTHROPIC),
        ("anthropic", None, None, ANTHROPIC),
        ("gemini", BEARER, None, GOOGLE),
        ("gemini_array", None, None, GOOGLE),
        ("cohere", None, None, BEARER),
        ("ollama", None, None, BEARER),
        (None, ANTHROPIC, None, ANTHROPIC),
        (None, None, None, BEARER),
        ("anthropic", ANTHROPIC, "authorization", BEARER),
        ("openai_chat", BEARER, "api-key", AZURE),
        ("openai_chat", BEARER, "X-Custom", Place("X-Custom", "")),
    ],
)
def test_the_upstream_s_key_goes_where_its_api_reads_it(
    dialect: str | None, presented: Place | None, header: str | None, place: Place
) -> None:
    """The operator's word comes first, then a header that names an API, then what that API's SDKs do."""
    assert native_place(dialect, presented, header) == place
