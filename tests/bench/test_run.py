"""The benchmark as a whole, as small as it gets; figures are not judged here."""

from __future__ import annotations

import json

import pytest

from safeproxy.bench import load, report, streams
from safeproxy.bench.load import BenchError, Seen, Wish
from safeproxy.bench.process import Child
from safeproxy.bench.run import LASTING, Plan, run
from safeproxy.bench.streams import Target, shapes
from safeproxy.bench.upstream import pieces


def test_shapes_stay_within_what_two_processors_do() -> None:
    """No shape offers more than 2,500 chunks a second."""
    for shape in shapes([1, 50, 200, 500], quick=False):
        if shape.wish.pace:
            assert shape.streams / shape.wish.pace <= 2500


def test_text_that_is_not_what_was_sent_spoils_the_figures() -> None:
    """A proxy that loses a character must not get good marks for speed."""
    wish = Wish(chunks=3, pace=0)
    text = "".join(pieces("prose", 3))
    load.check_clean([Seen("r", 0.0, text=[text], finish="stop")], wish)
    for spoiled in (Seen("r", 0.0, text=[text[:-1]], finish="stop"), Seen("r", 0.0, text=[text])):
        with pytest.raises(BenchError, match="did not arrive"):
            load.check_clean([spoiled], wish)


def test_lasting_sections_last_as_long_as_they_should_or_as_is_asked_for() -> None:
    """Ten minutes and fifteen, unless another time is given; they are no part of the whole benchmark."""
    assert (Plan().seconds("long"), Plan().seconds("soak")) == (600, 900)
    assert Plan(minutes=0.5).seconds("soak") == 30
    assert not set(LASTING) & set(Plan().sections)


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.asyncio
async def test_relay_and_upstream_are_measured_and_end() -> None:
    """The children serve, tell their figures, see a client leave, and end with their context."""
    async with Child("upstream") as upstream, Child("relay", upstream=upstream.base) as child:
        relay = Target("relay", child.base, child)
        shape = streams.Shape("tiny", 2, Wish(5, 0.01), 1)
        figures = (await streams.measure_shape(upstream, [relay], shape))["relay"]
        assert figures["cpu_per_chunk"] > 0
        assert 0 < figures["word_delay_p50"] <= figures["word_delay_p99"] < 5
        closing = await streams.measure_closing(upstream, {"relay": relay}, times=3)
        assert closing["client left, relay"]["count"] == 3


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.asyncio
async def test_a_child_that_dies_says_why() -> None:
    """The last line of its standard error is in the message."""
    with pytest.raises(BenchError, match=r"the proxy process died: .*upstream"):
        async with Child("proxy", upstream="not a url", rules=[], audit="/nonexistent"):
            pass


@pytest.mark.e2e
@pytest.mark.enable_socket
def test_closing_through_the_proxy() -> None:
    """A section with real processes gives the figures that the table wants of it, and only those."""
    said: list[str] = []
    results = run(Plan(sections=("closing",), quick=True), said.append)
    assert json.loads(json.dumps(results))["closing"]["halt"]["count"] == 20
    judged = {row.what for row in report.rows(results) if row.measured is not None}
    assert judged == {f"upstream closed after {what}, p99" for what in ("the client left", "a halt", "a shutdown")}
    assert any("closing" in line for line in said)
