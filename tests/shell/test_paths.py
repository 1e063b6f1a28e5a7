"""Paths: where requests go and which may pass unfiltered."""

from __future__ import annotations

import pytest
from yarl import URL

from safeproxy.errors import ConfigError
from safeproxy.shell.paths import DEFAULT_PASS_PATHS, Origin, PassPaths


@pytest.mark.parametrize(
    ("upstream", "path", "expected"),
    [
        ("https://api.openai.com", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com", "/chat/completions", "https://api.openai.com/chat/completions"),
        ("https://openrouter.ai/api/v1", "/v1/models", "https://openrouter.ai/api/v1/models"),
        ("https://openrouter.ai/api/v1", "/models", "https://openrouter.ai/api/v1/models"),
        ("https://openrouter.ai/api", "/v1/models", "https://openrouter.ai/api/v1/models"),
        ("https://host/v1", "/v1beta/models", "https://host/v1beta/models"),
        ("https://host/v1beta", "/models", "https://host/v1beta/models"),
        ("https://host/v1", "/v1", "https://host/v1"),
        ("http://[::1]:11434", "/api/tags", "http://[::1]:11434/api/tags"),
    ],
)
def test_paths_are_appended_and_versions_not_doubled(upstream: str, path: str, expected: str) -> None:
    """The version at the end of the configured address appears exactly once."""
    assert str(Origin.parse(upstream).url(path, "")) == expected


@pytest.mark.parametrize("raw", ["/v1/m%3Ax", "/v1/a%2Fb", "/v1/a%20b", "/v1/ä".encode().decode("latin-1"), "/v1/a+b"])
def test_percent_encoding_is_kept(raw: str) -> None:
    """The upstream sees the path and the query as the client wrote them."""
    url = Origin.parse("https://host/v1").url(raw, "key=a%2Bb&x=%zz&y=a+b")
    assert url.raw_path_qs == f"{raw}?key=a%2Bb&x=%zz&y=a+b"
    assert isinstance(url, URL)


@pytest.mark.parametrize(
    "upstream",
    [
        "",
        "api.openai.com",
        "ftp://host",
        "https://",
        "https://u:p@host",
        "https://host?x=1",
        "https://host/#a",
        "http://h:x",
    ],
)
def test_addresses_that_cannot_be_appended_to_are_refused(upstream: str) -> None:
    """Anything but scheme, host, port and path is an error that names the setting."""
    with pytest.raises(ConfigError, match="'upstream'"):
        Origin.parse(upstream)


@pytest.fixture(scope="module")
def default() -> PassPaths:
    """The default list."""
    return PassPaths.parse(DEFAULT_PASS_PATHS)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/models"),
        ("GET", "/v1/models/meta-llama/Llama-3"),
        ("GET", "/v1/models/ft:gpt-4o:org::id"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/files"),
        ("DELETE", "/v1/files/file-1"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/audio/speech"),
        ("GET", "/api/tags"),
    ],
)
def test_answers_without_generated_text_pass(default: PassPaths, method: str, path: str) -> None:
    """Models, embeddings, files and the like are on the default list."""
    assert default.allow(method, path, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/completions"),
        ("GET", "/v1/chat/completions/abc"),
        ("GET", "/v1/chat/completions/abc/messages"),
        ("GET", "/v1/files/file-1/content"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/v1/models/gemini:generateContent"),
        ("POST", "/v1beta/models/gemini:streamGenerateContent"),
        ("GET", "/v1/threads/t/messages"),
        ("POST", "/api/chat"),
        ("CONNECT", "/v1/models"),
        ("GET", "/v1/modelsx"),
        ("GET", "/V1/models"),
    ],
)
def test_answers_that_may_carry_text_do_not_pass(default: PassPaths, method: str, path: str) -> None:
    """What generates, or repeats what was generated, is not on the default list."""
    assert not default.allow(method, path, path)


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/v1/models/../chat/completions", "/v1/models/../chat/completions"),
        ("/v1/models/../chat/completions", "/v1/models/%2e%2e/chat/completions"),
        ("/v1/models/./x", "/v1/models/./x"),
        ("/v1/models/a/b", "/v1/models/a%2Fb"),
        ("/v1/models//x", "/v1/models//x"),
        ("/v1/models/..", "/v1/models/.."),
        ("/v1/models/%2e%2e/x", "/v1/models/%252e%252e/x"),
        ("/v1/models/x\\..\\y", "/v1/models/x\\..\\y"),
        ("/v1/models/x;y", "/v1/models/x;y"),
        ("/v1/models/x?y", "/v1/models/x%3Fy"),
        ("/v1/models/x\n", "/v1/models/x%0A"),
    ],
)
def test_paths_that_could_be_read_otherwise_do_not_pass(default: PassPaths, path: str, raw: str) -> None:
    """A path that an upstream may resolve to another one matches no pattern."""
    assert not default.allow("GET", path, raw)


def test_patterns_mean_what_they_say() -> None:
    """One star is one segment, two are any rest; methods restrict; characters of regular expressions do not count."""
    passing = PassPaths.parse(("/v1/a.b/*", "PUT|GET /c/**"))
    assert passing.allow("POST", "/v1/a.b/x", "/v1/a.b/x")
    assert passing.allow("POST", "/a.b/x", "/a.b/x")
    assert not passing.allow("POST", "/v1/a.b/x/y", "/v1/a.b/x/y")
    assert not passing.allow("POST", "/v1/aXb/x", "/v1/aXb/x")
    assert passing.allow("PUT", "/c/d/e", "/c/d/e")
    assert not passing.allow("POST", "/c/d/e", "/c/d/e")
    assert not passing.allow("PUT", "/v1/c/d", "/v1/c/d")


@pytest.mark.parametrize("pattern", ["", "v1/models", "get /v1/models", "GET", "GET /a b", "GET,PUT /a"])
def test_patterns_that_cannot_be_read_are_refused(pattern: str) -> None:
    """The error names the setting and shows the right form."""
    with pytest.raises(ConfigError, match=r"'pass_paths'.*GET\|HEAD"):
        PassPaths.parse((pattern,))
