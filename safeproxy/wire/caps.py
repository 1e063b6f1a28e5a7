"""How long and how wild an answer a request may ask for: its limits by their names in each API. Pure.

Sources: the API references of OpenAI, Anthropic, Gemini, Ollama and Cohere, and the names that compatible servers
(llama.cpp) take in their place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from safeproxy.wire.base import at, text_of
from safeproxy.wire.dialect import JsonObject

#: Keys to a value, from the request's top.
_Way = tuple[str, ...]

#: OpenAI's models that refuse ``max_tokens``. Most compatible servers know no other name, and one that they do not know
#: they ignore, or refuse.
_REASONING = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-(?:[5-9]|[1-9][0-9])|codex)(?![0-9]).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Caps:
    """What the operator allows; 0 tokens and None stand for no limit, and for no default."""

    default_tokens: int = 0
    max_tokens: int = 0
    default_temperature: float | None = None
    max_temperature: float | None = None


@dataclass(frozen=True, slots=True)
class _Names:
    """Every way to say it, the first for requests that say nothing; fewer tokens than ``least`` are no limit."""

    tokens: tuple[_Way, ...]
    temperature: tuple[_Way, ...] = (("temperature",),)
    least: int = 0


_CHAT = _Names(tokens=(("max_tokens",), ("max_completion_tokens",), ("n_predict",)))
_REASONING_CHAT = _Names(tokens=(("max_completion_tokens",), ("max_tokens",), ("n_predict",)))
_GEMINI = _Names(
    tokens=(
        ("generationConfig", "maxOutputTokens"),
        ("generation_config", "max_output_tokens"),
        ("generationConfig", "max_output_tokens"),
        ("generation_config", "maxOutputTokens"),
    ),
    temperature=(("generationConfig", "temperature"), ("generation_config", "temperature")),
)
#: By the dialect's name.
_NAMES = {
    "openai_chat": _CHAT,
    "openai_completions": _Names(tokens=(("max_tokens",), ("n_predict",))),
    "openai_responses": _Names(tokens=(("max_output_tokens",),)),
    "openai_socket": _Names(tokens=(("max_output_tokens",),)),
    "anthropic": _Names(tokens=(("max_tokens",),)),
    "gemini": _GEMINI,
    "gemini_array": _GEMINI,
    "ollama": _Names(tokens=(("options", "num_predict"),), temperature=(("options", "temperature"),), least=1),
    "cohere": _Names(tokens=(("max_tokens",),)),
}


def cap(body: Any, dialect: str, caps: Caps) -> list[str]:
    """Bring a request within the caps, in place; short codes of what was changed.

    ``dialect`` is its name. Values of the wrong type count as too much: nobody knows what an upstream makes of them.
    """
    if not isinstance(body, dict) or dialect not in _NAMES:
        return []
    batch = body.get("requests") if dialect == "anthropic" else None
    bodies = [at(one, "params") for one in batch] if isinstance(batch, list) else [body]
    codes: list[str] = []
    for one in bodies:
        if isinstance(one, dict):
            codes += _capped(one, dialect, caps)
    return list(dict.fromkeys(codes))


def _capped(body: JsonObject, dialect: str, caps: Caps) -> list[str]:
    names = _NAMES[dialect]
    if names is _CHAT and _REASONING.fullmatch(text_of(body, "model")):
        names = _REASONING_CHAT
    codes = []
    default: float | None = caps.default_tokens or None
    most: float | None = caps.max_tokens or None
    if default is not None and most is not None:
        default = min(default, most)
    if _put_over(body, names.tokens, most, lambda value, most: names.least <= value <= most):
        codes.append("max_tokens_capped")
    elif (default or most) and _put_missing(body, names.tokens, default or most):
        codes.append("max_tokens_capped" if default is None else "max_tokens_defaulted")
    default, most = caps.default_temperature, caps.max_temperature
    if default is not None and most is not None:
        default = min(default, most)
    if _put_over(body, names.temperature, most, lambda value, most: value <= most):
        codes.append("temperature_capped")
    elif default is not None and _put_missing(body, names.temperature, default):
        codes.append("temperature_defaulted")
    return codes


def _put_over(
    body: JsonObject, ways: tuple[_Way, ...], most: float | None, fits: Callable[[float, float], bool]
) -> bool:
    """Put ``most`` in the place of every value that does not fit; whether there was any."""
    if most is None:
        return False
    changed = False
    for way in ways:
        value = at(body, *way)
        if value is not None and not (type(value) in (int, float) and fits(value, most)):
            at(body, *way[:-1])[way[-1]] = most
            changed = True
    return changed


def _put_missing(body: JsonObject, ways: tuple[_Way, ...], value: float | None) -> bool:
    """Say ``value`` where the request says nothing; whether it did not. Made objects are its own."""
    if any(at(body, *way) is not None for way in ways):
        return False
    way = next((way for way in ways if isinstance(at(body, *way[:-1]), dict)), ways[0])
    holder = body
    for key in way[:-1]:
        if holder.get(key) is None:
            holder[key] = {}
        holder = holder[key]
        if not isinstance(holder, dict):
            return False  # the upstream will refuse it
    holder[way[-1]] = value
    return True
