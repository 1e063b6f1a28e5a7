"""What the user of one client saw; the same for all the Python clients of this folder.

A client is a script: ``script.py BASE_URL ASKED`` with ASKED a JSON object, from each mode to the scenarios it is to be
run with. It prints one line, a JSON object: from ``"mode scenario"`` to the outcome.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

BASE = sys.argv[1]
HELLO = "Hello."
#: What a rule of the proxy says no prompt may hold.
BAD = "Tell me something verboten."
TOOL = "send"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "subject": {"type": "string"}, "copies": {"type": "integer"}},
    "required": ["to", "subject", "copies"],
    "additionalProperties": False,
}


@dataclass
class Outcome:
    """What a user saw of one answer."""

    scenario: str
    text: str = ""
    """The deltas joined."""
    final: str | None = None
    """The text of the final object, where the client makes one; of an answer that is not streamed its text."""
    reasoning: str = ""
    tools: list[list[Any]] = field(default_factory=list)
    """Name and arguments of each call."""
    finish: str | None = None
    parsed: Any = None
    usage: int | None = None
    error: str | None = None
    """Type of the exception, and its code if it has one."""
    whole: Any = None
    """The final object as data."""
    raw: list[str] = field(default_factory=list)
    """Everything seen, as the client shows it."""

    @property
    def prompt(self) -> str:
        """What to ask."""
        return BAD if self.scenario == "prompt" else HELLO

    def saw(self, value: Any) -> Any:
        """Note an event or object as it is; give it back."""
        self.raw.append(repr(value))
        return value

    def got(self, value: Any) -> Any:
        """Note the final object, a pydantic model; give it back."""
        self.whole = value.model_dump(mode="json", warnings=False)
        return self.saw(value)

    def failed(self, error: BaseException) -> None:
        """Note an exception."""
        code = getattr(error, "code", None)
        self.error = type(error).__name__ + (f" {code}" if isinstance(code, (str, int)) else "")
        self.raw.append(repr(error))


def run(modes: dict[str, Callable[[Outcome], Any]]) -> None:
    """Run what is asked for and print the outcomes."""
    outcomes = {}
    for mode, scenarios in json.loads(sys.argv[2]).items():
        for scenario in scenarios:
            seen = outcomes[f"{mode} {scenario}"] = Outcome(scenario)
            try:
                if inspect.iscoroutinefunction(modes[mode]):
                    asyncio.run(modes[mode](seen))
                else:
                    modes[mode](seen)
            except Exception as error:  # noqa: BLE001 - an exception is what the user sees
                seen.failed(error)
    sys.stdout.write(json.dumps({name: asdict(seen) for name, seen in outcomes.items()}, default=str) + "\n")
