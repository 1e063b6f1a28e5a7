"""The part of one channel's text that may still be asked for."""

from __future__ import annotations


class Buffer:
    """Text by its positions in the channel; what lies before `offset` is gone."""

    def __init__(self) -> None:
        self.text = ""
        self.offset = 0
        self.ended = False

    @property
    def end(self) -> int:
        """Position after the last code point known."""
        return self.offset + len(self.text)

    def slice(self, start: int, end: int) -> str:
        """The text between two positions, as far as it is there."""
        return self.text[max(0, start - self.offset) : max(0, end - self.offset)]

    def drop_before(self, position: int) -> None:
        """Forget what lies before ``position``."""
        self.text = self.text[position - self.offset :]
        self.offset = position
