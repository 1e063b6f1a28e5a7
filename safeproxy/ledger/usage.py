"""What the APIs' usage reports mean in common terms. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as the upstream counts them. ``cached`` (read from a cache) and ``written`` (to it) are part of ``input``.

    ``reasoning`` is part of ``output``.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Prompt and answer."""
        return self.input + self.output


def tokens_of(usage: Mapping[str, int] | None) -> Tokens | None:
    """The counts of a usage report as `RequestClosed.usage` has it, None if it has none that is known."""
    if not usage or "prompt_tokens" not in usage:
        return None
    return Tokens(input=usage["prompt_tokens"], output=usage.get("completion_tokens", 0))
