"""Coverage-guided fuzzing of every dialect, run by hand: no test, and nothing that the package needs.

    pip install atheris
    python -m tests.fuzz.atheris_dialects --seeds seeds                   # recorded streams to begin with
    python -m tests.fuzz.atheris_dialects seeds -max_len=9000 -len_control=0 -max_total_time=240
    python -m tests.fuzz.atheris_dialects -max_total_time=60              # seconds; all dialects in turn
    python -m tests.fuzz.atheris_dialects openai_chat -max_total_time=60  # one of them
    python -m tests.fuzz.atheris_dialects crash-0123abcd                  # once more what was found

The first byte of an input says what is done with the rest: any bytes as a stream in pieces, as a body, as a prompt, as
lines, as a socket's messages; or a stream of some API, mutated as the bytes say, with a secret in it. A finding is an
exception, framing that is not the API's, or a secret that leaves; libFuzzer writes its input to ``crash-*``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import atheris

with atheris.instrument_imports(include=["safeproxy.wire", "safeproxy.pipeline", "safeproxy.core.filter"]):
    from safeproxy.bench.apis import voices
    from safeproxy.errors import ClientError
    from safeproxy.pipeline import BodyPipeline, StreamPipeline
    from safeproxy.pipeline.lines import LinesPipeline
    from safeproxy.pipeline.prompt import filter_prompt
    from safeproxy.pipeline.sockets import SocketPipeline
    from safeproxy.wire import registry
    from safeproxy.wire.dialect import Ask, Dialect

from tests.fuzz.mutations import (
    DIALECTS,
    MAIL,
    POLICY,
    SECRETS,
    ended,
    exposed,
    frames_of,
    leaked,
    mutate,
    parsed,
    plant_whole,
    run,
    strings,
)
from tests.golden.cases import CLEAN, cases

VOICES = voices()
SAMPLES = [event for voice in VOICES for event in voice.events(['{"text":', '"ab"}'])]


class Bytes(Random):
    """Takes its decisions from bytes, so that the fuzzer steers them; after the last byte all is as with zeros."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = data
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        """The next bits; whole bytes are used up."""
        size = (k + 7) // 8
        piece = self._data[self._at : self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(piece, "big") & ((1 << k) - 1)

    def _randbelow(self, n: int) -> int:
        """Never draws again, as the one it replaces does: zeros would be drawn for ever."""
        return self.getrandbits(max(n.bit_length(), 8) + 8) % n

    def random(self) -> float:
        """A fraction."""
        return self.getrandbits(16) / 65536


def clean(told: list[Any]) -> None:
    """No secret stands in one place. Pieces of it may, in places that no client joins."""
    if not exposed(told):
        found = [text for text in strings(told) if any(secret in text for secret in SECRETS)]
        assert not found, found


def stream(dialect: Dialect, data: bytes, decide: Bytes) -> None:
    """Any bytes as a stream, in pieces."""
    pipeline = StreamPipeline(dialect, POLICY, Ask(json=decide.random() < 0.3, notice="stopped"))
    writer = dialect.writer()
    out = b""
    while data:
        size = decide.randrange(1, 400)
        sent = pipeline.feed(data[:size])
        out += sent if writer is None else writer(sent, False)
        data = data[size:]
    rest = pipeline.fail("reset") if decide.random() < 0.2 else pipeline.finish()
    out += rest if writer is None else writer(rest, True)
    clean(parsed(dialect, out))


def body(dialect: Dialect, data: bytes, decide: Bytes) -> None:
    """Any bytes as a body."""
    _, out = BodyPipeline(dialect, POLICY, Ask(json=decide.random() < 0.3)).run(data, decide.choice([200, 404]))
    clean([json.loads(out)])


def prompt(dialect: Dialect, data: bytes, decide: Bytes) -> None:
    """Any bytes as a prompt."""
    try:
        filter_prompt(dialect, POLICY, data)
        dialect.ask(json.loads(data))
    except (ClientError, ValueError, RecursionError):
        return


def lines(dialect: Dialect, data: bytes, decide: Bytes) -> None:
    """Any bytes as a file of answers."""
    pipeline = LinesPipeline(registry.dialect_of, POLICY)
    parsed(registry.GENERIC_LINES, pipeline.feed(data) + pipeline.finish())


def socket(dialect: Dialect, data: bytes, decide: Bytes) -> None:
    """Any bytes as the messages of a socket."""
    pipeline = SocketPipeline(decide.choice([registry.SOCKET, registry.REALTIME]), POLICY, Ask())
    for message in data.decode(errors="replace").split("\n"):
        pipeline.feed(message)
    pipeline.finish()


def gone_wrong(dialect: Dialect, data: bytes, decide: Bytes) -> None:
    """A stream of the dialect, mutated, with a secret in it."""
    own = [voice for voice in VOICES if voice.dialect is dialect] or VOICES
    voice = decide.choice(own)
    decide = Bytes(data)
    events = voice.events(['{"te', 'xt": "a', 'b"}'] if voice.in_json else ["hello ", "wor", "ld"])
    events = mutate(events, decide, decide.randrange(5), SAMPLES)
    plant_whole(events, decide, decide.choice(SECRETS))
    if exposed(events):
        return
    frames = frames_of(dialect, events, decide, named=voice.named, done=voice.done)
    out, _ = run(dialect, frames, voice.ask)
    told = parsed(dialect, out)
    assert leaked(told, out) is None
    assert voice.dialect is not dialect or ended(dialect, told, out)


WAYS = (stream, stream, body, prompt, lines, socket, gone_wrong, gone_wrong, gone_wrong)


def write_seeds(folder: Path) -> None:
    """Inputs that are recorded streams with a secret in them, and some for each of the other ways."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases():
        data = case.upstream()
        for clean, secret in zip(CLEAN, ("qzjxkv", "@vwkqzj", ".qzx"), strict=True):
            data = data.replace(clean.encode(), secret.encode())
        head = bytes([0 if case.streamed else WAYS.index(body), 0, DIALECTS.index(case.dialect), 255, 255, 0])
        (folder / case.name.replace("/", "-")).write_bytes(head + data)
    for way in range(len(WAYS)):
        for number in range(len(DIALECTS)):
            rest = Random(way * 100 + number).randbytes(120)
            (folder / f"{way}-{number}").write_bytes(bytes([way, 0, number, 0, 0, 0]) + rest)


def main() -> None:
    """Fuzz the dialects that are named, or all of them."""
    if sys.argv[1:2] == ["--seeds"]:
        write_seeds(Path(sys.argv[2]))
        return
    named = {dialect.name: dialect for dialect in DIALECTS}
    chosen = [named[name] for name in sys.argv[1:] if name in named] or list(DIALECTS)

    def one_input(data: bytes) -> None:
        decide = Bytes(data[1:6])
        dialect = decide.choice(chosen)
        WAYS[data[0] % len(WAYS) if data else 0](dialect, data[6:].replace(b"@@", MAIL.encode()), decide)

    atheris.Setup([arg for arg in sys.argv if arg not in named], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
