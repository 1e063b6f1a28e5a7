"""What is known of one streamed answer: its choices, the channels that are open, and what has ended."""

from __future__ import annotations

from collections.abc import Iterator

from safeproxy.events import ChannelKind
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.json_channel import JsonChannel
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.step import Choice
from safeproxy.pipeline.whole import TEXTS_LIMIT, Scanner
from safeproxy.wire.dialect import Mode, Reading, Slot


class Answer:
    """Keeps the channels, each under its choice, and counts them into the report.

    ``json_content`` says that content was asked for as JSON; ``keep`` that the texts of channels must be kept, too.
    """

    def __init__(self, policy: Policy, report: Report, scanner: Scanner, *, json_content: bool, keep: bool) -> None:
        self.choices: dict[int, Choice] = {}
        self._policy = policy
        self._report = report
        self._scanner = scanner
        self._json = json_content
        self._keep = keep
        self._loose: dict[str, Channel] = {}  # channels of no choice
        self._ended: set[str] = set()  # channels and calls that have ended before their choice did
        self._texts: dict[str, tuple[str, str]] = {}  # of ended channels, original and delivered, if they are kept
        self._opened = 0

    @property
    def finished(self) -> bool:
        """Whether every choice there was has ended."""
        return bool(self.choices) and all(choice.finished for choice in self.choices.values())

    def admit(self, reading: Reading, more: int) -> bool:
        """Make the event's choices known; False when it would be too many things to keep state of.

        ``more`` is how many things are kept elsewhere.
        """
        if len(reading.slots) + len(reading.keys) > TEXTS_LIMIT:
            return False
        choices = reading.opened.keys() - self.choices.keys()
        channels = {
            (slot.choice, slot.channel)
            for slot in reading.slots
            if slot.mode is Mode.DELTA and (slot.choice in choices or self.channel(slot.choice, slot.channel) is None)
        }
        known = self._opened + len(self.choices) + more
        if known + len(choices) + len(channels) > self._policy.max_channels:
            return False
        self.choices.update((index, Choice()) for index in sorted(choices))
        return True

    def channel(self, choice: int | None, key: str) -> Channel | None:
        """An open channel."""
        return self._home(choice).get(key)

    def open(self, key: str, name: str, kind: ChannelKind, choice: int | None) -> Channel:
        """Open a channel; ``name`` is what records call it."""
        if self._json and kind is ChannelKind.CONTENT and choice is not None:
            channel: Channel = JsonChannel(name, kind, choice, self._policy, self._report, self._scanner)
        else:
            channel = Channel(name, kind, choice, self._policy, self._report, keep=self._keep)
        self._home(choice)[key] = channel
        self._opened += 1
        self._report.watch(channel)
        return channel

    def named(self, name: str) -> list[tuple[str, Channel]]:
        """The open channels of that name, and those whose names begin with it."""
        return [pair for home in self._homes() for pair in home.items() if f"{pair[0]}.".startswith(f"{name}.")]

    def of_choice(self, choice: int | None) -> list[tuple[str, Channel]]:
        """The open channels of a choice, None for those of none."""
        return list(self._home(choice).items())

    def note(self, key: str, channel: Channel) -> None:
        """A channel has said all it will: remember what became of it."""
        if channel.edited and channel.choice is not None:
            self.choices[channel.choice].edited.add(key)
        if self._keep and channel.original:
            as_json = isinstance(channel, JsonChannel)
            self._texts[key] = channel.original, channel.said
            self._scanner.remember(channel.original, channel.said, channel.kind, as_json=as_json)

    def close(self, key: str, channel: Channel) -> None:
        """A channel has ended."""
        del self._home(channel.choice)[key]
        self._opened -= 1
        self._report.settle(channel)

    def end(self, key: str) -> None:
        """A channel or a call has ended before its choice, and must not go on."""
        self._ended.add(key)

    def begin(self, key: str) -> None:
        """A call begins (again)."""
        self._ended.discard(key)

    def has_ended(self, key: str) -> bool:
        """Whether a channel or a call must not go on."""
        return key in self._ended

    def is_late(self, slot: Slot) -> bool:
        """Whether a text comes after its end: clients would put the two halves of a finding together."""
        choice = None if slot.choice is None else self.choices.get(slot.choice)
        if choice is not None and choice.finished and slot.mode is not Mode.WHOLE:
            return True
        return slot.mode is Mode.DELTA and slot.channel in self._ended

    def is_over(self, reading: Reading) -> bool:
        """Whether a choice that an event belongs to has ended."""
        indices = {slot.choice for slot in (*reading.pieces, *reading.slots)} | reading.opened.keys()
        return any(index in self.choices and self.choices[index].finished for index in indices if index is not None)

    def is_edited(self, key: str) -> bool:
        """Whether any text of a channel was replaced, if it is one of a choice."""
        return any(
            key in choice.edited or (key in choice.channels and choice.channels[key].edited)
            for choice in self.choices.values()
        )

    def original(self, key: str) -> str:
        """All that an ended channel was told."""
        return self._texts.get(key, ("", ""))[0]

    def said(self, key: str) -> str:
        """All that was delivered of a channel, of one that has ended, too."""
        for home in self._homes():
            if key in home:
                return home[key].said
        return self._texts.get(key, ("", ""))[1]

    def held(self) -> bool:
        """Whether any text is held."""
        return any(channel.held for home in self._homes() for channel in home.values())

    def positions(self) -> dict[str, int]:
        """How much text each channel has been told."""
        return {key: channel.scanned for home in self._homes() for key, channel in home.items() if channel.held}

    def is_released(self, positions: dict[str, int]) -> bool:
        """Whether all text before these positions has left."""
        return all(channel.released >= positions.get(key, 0) for home in self._homes() for key, channel in home.items())

    def break_off(self) -> None:
        """Nothing more leaves: what is held hung on text that will not come."""
        for home in self._homes():
            for channel in home.values():
                channel.break_off()
                self._report.settle(channel)
            home.clear()

    def _home(self, choice: int | None) -> dict[str, Channel]:
        return self._loose if choice is None else self.choices[choice].channels

    def _homes(self) -> Iterator[dict[str, Channel]]:
        yield self._loose
        for choice in self.choices.values():
            yield choice.channels
