"""What the pipeline asks of an API's dialect, and the words in which a dialect answers.

A dialect reads one decoded event (or body) and says where in it text stands, to which channel that text belongs, and
what the event closes. It changes nothing: the pipeline filters the text in place, so that all else stays as the
upstream sent it. A dialect also writes the few frames the upstream never sent: the tail of a channel, a halt, an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from safeproxy.events import ChannelKind
from safeproxy.wire.sse import Frame

JsonObject = dict[str, Any]
#: Keys and list positions from an event's root to a value.
Path = tuple[str | int, ...]


class Stop(Enum):
    """Why an answer is ended before its end; the value is OpenAI's word for it."""

    FILTERED = "content_filter"
    LENGTH = "length"


class Mode(Enum):
    """How a place's text relates to its channel."""

    DELTA = auto()
    """A piece of a channel that other events go on with."""
    WHOLE = auto()
    """Text that stands alone."""
    JSON = auto()
    """JSON text that stands alone: what it says is found in its decoded strings."""
    OBJECT = auto()
    """A JSON value that stands alone, not as text but as part of the event: judged as its JSON text would be."""
    QUOTE = auto()
    """The request's own words, given back: what is found is replaced, but it ends no answer."""
    GATED = auto()
    """No text, but it says what a channel says (audio): it leaves only once that channel's text so far has left."""
    REPEAT = auto()
    """A running total of what deltas bring piece by piece; it cannot be cut where they are cut, so it is emptied."""


@dataclass(slots=True)
class Slot:
    """One place of text: ``holder[key]``, to be replaced there: a string, with `Mode.OBJECT` any JSON value.

    ``name`` is the channel's name in records and must never be made of upstream's words. Channels are told apart by
    ``channel``. ``choice`` is the number of the choice the text belongs to, None when it belongs to none.
    """

    channel: str
    name: str
    kind: ChannelKind
    mode: Mode
    holder: Any
    key: str | int
    path: Path
    choice: int | None = None


@dataclass(slots=True)
class Key:
    """An object key that no documentation names, hence text."""

    holder: JsonObject
    key: str


@dataclass(slots=True)
class Finish:
    """A choice ends with this event: ``holder[key]`` is the reason."""

    choice: int
    reason: str
    holder: JsonObject
    key: str


@dataclass(slots=True)
class Tokens:
    """Log probabilities of a channel's delta, one entry a token: ``holder[key]`` is the list of entries."""

    channel: str
    name: str
    kind: ChannelKind
    choice: int
    holder: JsonObject
    key: str


@dataclass(slots=True)
class ParallelTokens(Tokens):
    """Log probabilities in several lists side by side; ``holder[key]`` are entries made of them.

    ``write`` puts entries back into the lists.
    """

    write: Callable[[list[Any]], None]


@dataclass(slots=True)
class Anchor:
    """What points into a channel's text by position, ``holder[key]``: of no use once that text was changed.

    A list is emptied, of anything else the event is left out. ``repeats`` says that it says some of the text again, so
    that it may not leave while any of it is held, either.
    """

    channel: str
    holder: JsonObject
    key: str
    repeats: bool = False


@dataclass(slots=True)
class Seal:
    """A signature, ``holder[key]``, of a channel's whole text: void once that text was changed.

    ``restorable`` says that the original can be put back when the client sends it again; else such a change halts.
    """

    channel: str
    holder: JsonObject
    key: str
    restorable: bool = True


@dataclass(slots=True)
class CallPiece:
    """The event is a piece of one tool call and of nothing else.

    ``id`` is the call's id if the piece has it. ``slots`` hold the call's texts, mode JSON or DELTA.
    """

    key: str
    choice: int
    id: str | None
    slots: list[Slot]


@dataclass(slots=True)
class Reading:
    """What a dialect sees in one event."""

    slots: list[Slot] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    tokens: list[Tokens] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    opened: dict[int, bool] = field(default_factory=dict)
    """Choices that occur, and whether the event brings their role."""
    call: CallPiece | None = None
    closes: list[str] = field(default_factory=list)
    """Channels that end before this event: their names, or what their names begin with, up to a dot."""
    block: str | None = None
    """The tool call that the event is a part of, where a call takes several kinds of events: they leave together."""
    block_begins: bool = False
    """Whether it is the first of them, where that can be told."""
    block_ends: bool = False
    """Whether it is the last of them."""
    pieces: list[Slot] = field(default_factory=list)
    """Pieces of the texts of the ``block``, modes JSON and DELTA."""
    acts: bool = False
    """Whether it brings a whole tool call: it may not leave before all text that came before it."""
    seals: list[Seal] = field(default_factory=list)
    unordered: bool = False
    """Whether it may overtake what is held (a sign of life)."""
    constants: JsonObject = field(default_factory=dict)
    """Plain values at the top: no news when they equal those of the event before."""
    news: bool = False
    """Whether it says anything besides text, roles and constants: if so it is sent even when all its text is held."""
    padding: list[tuple[JsonObject, str]] = field(default_factory=list)
    """Values that tell something of the text (its length, its tokens): removed when the text is changed."""
    revealing: bool = False
    """Whether the padding spells the text: the event passes as it came only if nothing is held before and after."""
    error: bool = False
    """Whether it is the API's error event, after which nothing comes."""
    model: str | None = None
    usage: dict[str, int] | None = None


class Decoder(Protocol):
    """Cuts bytes into frames; see `safeproxy.wire.sse.SseDecoder`."""

    @property
    def idle(self) -> bool:
        """Whether no frame is open."""
        ...

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Take the next bytes; give the frames they complete. Raises UpstreamError when a frame is too large."""
        ...

    def finish(self) -> Iterable[Frame]:
        """The stream has ended; give what was still open."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What matters of a request for the filtering of its answer.

    ``json`` says that the answer's content was asked for as JSON; ``failed`` that the client asks again when an answer
    ends as incomplete, so that a halt must look like a failure. ``notice`` is shown before a halt, ``""`` for none.
    """

    json: bool = False
    failed: bool = False
    notice: str = ""
    hides_usage: bool = False
    """Whether a stream's usage was asked for by the proxy alone, so that the client must not see it."""
    quoted: frozenset[str] = frozenset()
    """The request's own words where the API gives them back: they are the client's, so they are not filtered."""


class Voice(Protocol):
    """A dialect within one stream; it may keep what has been said, and is told only of what was sent."""

    echoes: bool
    """Whether later events say a channel's whole text again."""

    tick: str | None
    """The key, at an event's top, of what differs from event to event and says nothing: its number, or a time."""

    def split(self, event: JsonObject, held: Callable[[int], bool]) -> list[JsonObject]:
        """The event as one or more events that each carry one tool call's piece or none.

        ``held(choice)`` says whether pieces of that choice's calls are being held.
        """
        ...

    def read(self, event: JsonObject) -> Reading:
        """What a streamed event holds. Never raises, whatever the types inside."""
        ...

    def read_body(self, body: Any) -> Reading:
        """What a whole, not streamed body holds, every text standing alone."""
        ...

    def mark(self, event: JsonObject) -> object:
        """What numbers the event within the stream, None if nothing does: a second one with it is a repetition."""
        ...

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """An event of the same kind that carries nothing but the value at ``path``, and the path to it there."""
        ...

    def role_event(self, event: JsonObject, choice: int) -> JsonObject | None:
        """An event that opens the choice as ``event`` does and says nothing; takes the role from ``event``."""
        ...

    def add_role(self, event: JsonObject) -> None:
        """Make a text event open its choice too."""
        ...

    def attach_tokens(self, event: JsonObject, key: str, entries: list[Any]) -> None:
        """Add log probabilities to a text event."""
        ...

    def stamp(self, event: JsonObject, *, own: bool) -> bool:
        """Set what changes from event to event (a running number) just before sending; whether that changed it.

        ``own`` says that the event is none of the upstream's.
        """
        ...

    def renumber(self, number: int) -> int:
        """The number that an event of the upstream must have, if its ``tick`` is this number."""
        ...

    def sent(self, event: JsonObject) -> None:
        """The event, as it is now, has been sent. Events that follow a learned template are not told of."""
        ...

    def dropped(self, event: JsonObject) -> None:
        """An event of the upstream is not sent."""
        ...

    def error_frame(self, message: str, code: str) -> bytes:
        """The frame that reports an error in mid-stream."""
        ...

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The frames that end the stream as the API's own filter would, or as at its own limit of length.

        ``like`` is the latest event, ``open_choices`` the choices to be ended and whether each has had its role.
        ``said(channel)`` is what was delivered of a channel, where the voice ``echoes``. The notice is for
        the filter only.
        """
        ...


class Dialect(Protocol):
    """One API's way to say things. Pure and without state, so all streams share one."""

    name: str
    keep_alive: bytes
    """A frame that says nothing and may be sent at any time; ``b""`` where the API has none."""
    media_type: str
    """The content type of its streams."""
    over_events: Dialect | None
    """The dialect in which the API says the same over server-sent events, where this one is of another framing."""
    comments: bool
    """Whether frames without data (comments, retry) may be passed on."""
    concurrent: bool
    """Whether several answers may run on one connection, told apart by ids."""
    typed: bool
    """Whether events say in ``type`` what they are, and are named by it."""
    ends_itself: bool
    """Whether a stream says when it is finished; else the end of the body is its end."""

    def decoder(self, limit: int) -> Decoder:
        """A fresh decoder of the stream's framing; ``limit`` bounds one frame, in bytes."""
        ...

    def encode(self, data: bytes, like: Frame | None = None) -> bytes:
        """One frame around one line of JSON, with the event name and id of ``like``."""
        ...

    def is_end(self, data: bytes) -> bool:
        """Whether a frame's data is the stream's end marker, which is no JSON."""
        ...

    def writer(self) -> Callable[[bytes, bool], bytes] | None:
        """What turns one stream's frames into the answer's bytes at last, where they are not the same.

        Its arguments are whole frames, and whether they are the last.
        """
        ...

    def restore(self, body: Any, unseal: Callable[[str], str | None]) -> bool:
        """Put back into a request what `Seal` took out of earlier answers; whether there was any.

        Raises ClientError when ``unseal`` cannot open it.
        """
        ...

    def ask(self, body: Any) -> Ask:
        """What a request asks for. Never raises, whatever the types inside."""
        ...

    def voice(self, ask: Ask) -> Voice:
        """The dialect for one stream."""
        ...

    def read_prompt(self, body: Any) -> Reading:
        """What a request body holds."""
        ...

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """Cut a whole body off after ``slots[at]``, in place, as the API's own filter would, or its limit of length.

        False if the API has no such end: then an error takes the body's place.
        """
        ...

    def error_frame(self, message: str, code: str) -> bytes:
        """The frame that reports an error in mid-stream."""
        ...

    def refused_prompt(self, message: str) -> tuple[int, bytes] | None:
        """Status and body with which the API itself refuses a prompt, None if that is an error like any."""
        ...

    def error_body(self, message: str, *, status: int, code: str) -> bytes:
        """The API's own error body. ``status`` is the HTTP status it is sent with."""
        ...
