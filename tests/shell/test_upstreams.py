"""Which upstream a request goes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstreams import DEFAULT, Upstreams, model_in_path


def made(*given: dict[str, Any], **settings: Any) -> Upstreams:
    """The upstreams of these sections."""
    sections = [{"url": f"http://{one['name']}.example", **one} for one in given]
    return Upstreams(Settings(upstreams=sections, **settings), lambda *_: None)


def chosen(upstreams: Upstreams, path: str, model: str | None = None) -> str | None:
    """The name of the upstream for this path and model."""
    group = upstreams.under(path)
    found = None if group is None else group.choose(model)
    return None if found is None else found.name


def test_an_address_is_one_upstream_for_all() -> None:
    """Without keys: clients bring their own."""
    upstreams = Upstreams(Settings(upstream="https://api.example.com/v1"), lambda *_: None)
    group = upstreams.under("/v1/chat/completions")
    assert group is not None
    (only,) = group.members
    assert (only.name, only.keyring, only.trusted, only.failover) == (DEFAULT, None, True, ())
    assert not group.by_model
    assert group.choose("anything") is only


def test_the_first_that_serves_a_model_is_asked() -> None:
    """In the order of the settings; capital letters count, * stands for anything."""
    upstreams = made(
        {"name": "mini", "models": "gpt-*-mini"},
        {"name": "open", "models": ["gpt-*", "o1"]},
        {"name": "claude", "models": "claude-*"},
    )
    assert chosen(upstreams, "/v1/x", "gpt-5-mini") == "mini"
    assert chosen(upstreams, "/v1/x", "gpt-5") == "open"
    assert chosen(upstreams, "/v1/x", "o1") == "open"
    assert chosen(upstreams, "/v1/x", "claude-x") == "claude"
    assert chosen(upstreams, "/v1/x", "GPT-5") is None
    assert chosen(upstreams, "/v1/x", "o1-mini-x") is None


def test_what_names_no_model_goes_to_one_that_is_for_all() -> None:
    """If there is one; else to the first."""
    some = {"name": "some", "models": "m-*"}
    assert chosen(made(some, {"name": "all"}), "/v1/models") == "all"
    assert chosen(made(some, {"name": "other", "models": "n-*"}), "/v1/models") == "some"


def test_the_longest_beginning_of_a_path_decides_before_the_model() -> None:
    """By whole segments, as they are written; the rest of the path is what is sent."""
    upstreams = made(
        {"name": "root"}, {"name": "groq", "path": "/groq"}, {"name": "eu", "path": "/groq/eu", "models": "m"}
    )
    assert chosen(upstreams, "/v1/models") == "root"
    assert chosen(upstreams, "/groq/v1/models") == "groq"
    assert chosen(upstreams, "/groq") == "groq"
    assert chosen(upstreams, "/groqx/v1/models") == "root"
    assert chosen(upstreams, "/gr%6Fq/v1/models") == "root"
    assert chosen(upstreams, "//groq/v1/models") == "root"
    assert chosen(upstreams, "/groq/eu/v1/x", "m") == "eu"
    assert chosen(upstreams, "/groq/eu/v1/x", "n") is None
    group = upstreams.under("/groq/v1/models")
    assert group is not None
    assert group.below("/groq/v1/models") == "/v1/models"
    assert group.below("/groq") == "/"
    assert made({"name": "groq", "path": "/groq"}).under("/v1/models") is None


def test_credentials_go_only_where_they_may() -> None:
    """Not to an upstream with keys of its own, nor where the settings say so, nor if they are the proxy's own."""

    def trusted(settings: dict[str, Any] | None = None, **one: Any) -> bool:
        group = made({"name": "one", **one}, **(settings or {})).under("/")
        assert group is not None
        return group.members[0].trusted

    assert trusted()
    assert not trusted(credentials="remove")
    assert not trusted({"client_keys": Path("keys")})


def test_failover_is_in_the_order_of_the_settings() -> None:
    """And that of the upstream that is asked first alone."""
    upstreams = made({"name": "a", "failover": ["c", "b"]}, {"name": "b", "failover": ["a"]}, {"name": "c"})
    group = upstreams.under("/")
    assert group is not None
    first = group.members[0]
    assert [upstream.name for upstream in upstreams.after(first)] == ["c", "b"]


def test_timeouts_are_those_of_the_upstream_or_else_of_all() -> None:
    """The total is the one that is asked of from outside."""
    upstreams = made({"name": "a", "total_timeout": 5}, {"name": "b"}, total_timeout=7)
    group = upstreams.under("/")
    assert group is not None
    assert [upstream.total_timeout for upstream in group.members] == [5, 7]


def test_a_dialect_can_be_named() -> None:
    """For paths that tell nothing; the first that is named counts until it is known who is asked."""
    upstreams = made({"name": "a"}, {"name": "b", "dialect": "openai-chat"}, {"name": "c", "dialect": "anthropic"})
    group = upstreams.under("/")
    assert group is not None
    assert group.route is not None
    assert group.route.dialect.name == "openai_chat"


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ({"dialect": "openai"}, "'a' has the dialect 'openai'.*openai-chat.*anthropic"),
        ({"keys_file": "none", "keys_env": "NONE"}, "'a'.*'keys_file' and in 'keys_env'.*one of them"),
        ({"keys_file": "none"}, "upstream 'a'.*'keys_file'.*No such file"),
        ({"keys_env": "NO_SUCH_VARIABLE"}, "upstream 'a'.*'keys_env'.*NO_SUCH_VARIABLE.*no key"),
        ({"ca_file": "none"}, "'ca_file'.*none.*No such file"),
        ({"ca_file": __file__}, "'ca_file'.*no certificates"),
    ],
)
def test_what_cannot_be_used_is_noticed_at_the_start(one: dict[str, Any], expected: str) -> None:
    """The message names the upstream or the file, and what to do."""
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        made({"name": "a", **one})


def test_keys_are_read_again_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every upstream that has some."""
    monkeypatch.setenv("KEYS_OF_A", "one")
    upstreams = made({"name": "a", "keys_env": "KEYS_OF_A"}, {"name": "b"})
    monkeypatch.setenv("KEYS_OF_A", "one,two")
    upstreams.reload()
    group = upstreams.under("/")
    assert group is not None
    assert group.members[0].keyring is not None
    assert len(group.members[0].keyring) == 2
    assert not group.members[0].trusted


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-x:generateContent", "gemini-x"),
        ("/v1beta/models/gemini-x:streamGenerateContent", "gemini-x"),
        ("/v1beta/models/gemini-x:countTokens", "gemini-x"),
        ("/v1beta/models/gemini-x:batchEmbedContents", "gemini-x"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-x:streamRawPredict", "claude-x"),
        ("/v1beta/tunedModels/my%20own:generateContent", "my own"),
        ("/openai/deployments/gpt%2D4o/chat/completions", "gpt-4o"),
        ("/v1/models/gpt-4o", None),
        ("/v1/models/ft:gpt-4o:org", None),
        ("/v1/chat/completions", None),
    ],
)
def test_some_paths_name_the_model(path: str, model: str | None) -> None:
    """Those in which it decides what is asked."""
    assert model_in_path(path) == model
