"""The screenplay: what the scripted upstream says, token by token, with the tricky cuttings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Every value here is made up. The pieces are never written together, so that no secret scanner takes them for a leak.
_MAIL = (" ada", ".love", "lace", "@", "exam", "ple", ".com")
_CARD = (" 41", "11 1", "111 ", "1111 ", "1111")
_KEY = (" g", "hp_", "a7Kq", "W2mZ", "x9Rt", "B4nV", "c6Yh", "J8pL", "s3Df", "G5kM", "u1Qe")


@dataclass(frozen=True, slots=True)
class Scene:
    """One answer: its content in tokens, and after it perhaps a tool call, its arguments in tokens."""

    model: str
    title: str
    prompt: str
    content: tuple[str, ...]
    tool: str = ""
    arguments: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()
    """The content that is to be stopped somewhere."""

    @property
    def tokens(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every token with the delta that carries it, in order."""
        for token in (*self.content, *self.ending):
            yield token, {"content": token}
        for number, token in enumerate(self.arguments):
            call: dict[str, Any] = {"index": 0, "function": {"arguments": token}}
            if number == 0:
                call |= {"id": "call_demo", "type": "function", "function": {"name": self.tool, "arguments": token}}
            yield token, {"tool_calls": [call]}

    @property
    def finish(self) -> str:
        """The finish reason that the upstream gives."""
        return "tool_calls" if self.arguments else "stop"


SCENES = (
    Scene(
        model="demo",
        title="an answer with personal data and a secret",
        prompt="Who looks after billing, and how do I deploy?",
        content=(
            "Billing",
            " is",
            " looked",
            " after",
            " by",
            *_MAIL,
            ",",
            " the",
            " card",
            " on",
            " file",
            " is",
            *_CARD,
            ".",
            " To",
            " deploy",
            ",",
            " use",
            *_KEY,
            " and",
            " wait",
            ".",
        ),
        tool="send_mail",
        arguments=('{"to":', ' "ada.love', "lace@exam", 'ple.com",', ' "subject":', ' "Bill', 'ing"}'),
    ),
    Scene(
        model="demo-halt",
        title="an answer that has to be stopped",
        prompt="Write what the villain says next.",
        content=("He", " turned", " at", " the", " door", ".", ' "'),
        ending=("I", " will", " ki", "ll", " you", " if", " you", " tell", ',"', " he", " said", "."),
    ),
)


def scene_for(model: str) -> Scene:
    """The scene of this model's name; the first for any other name."""
    return next((scene for scene in SCENES if scene.model == model), SCENES[0])
