"""Events that bring a whole tool call: the client would act on it, so it waits for all text that came before it.

That text may still be halted, and clean text must not be overtaken.
"""

from __future__ import annotations

from collections import deque

from safeproxy.pipeline.answer import Answer


class Acts:
    """Frames in order, each with the positions in the channels that it waits for. ``size`` is their bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._waiting: deque[tuple[dict[str, int], bytes]] = deque()

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    def wait(self, frame: bytes, answer: Answer) -> bool:
        """Let a frame wait for what is held now, or for the frames before it; False if there is nothing to wait for."""
        if not self._waiting and not answer.held():
            return False
        self._waiting.append((answer.positions(), frame))
        self.size += len(frame)
        return True

    def ready(self, answer: Answer) -> list[bytes]:
        """Take out the frames whose turn has come."""
        found = []
        while self._waiting and answer.is_released(self._waiting[0][0]):
            found.append(self._waiting.popleft()[1])
            self.size -= len(found[-1])
        return found

    def all(self) -> list[bytes]:
        """Take out all frames: the text has ended."""
        found = [frame for _, frame in self._waiting]
        self._waiting.clear()
        self.size = 0
        return found
