"""Charts are well-formed, draw what they are given, and leave out what could not be seen."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from safeproxy.evaluation.charts import Line, Point, chart, thinned

POINTS = st.lists(st.builds(Point, st.floats(0, 1), st.floats(0, 1)), max_size=50)


def test_a_line_goes_through_its_points() -> None:
    """Straight, or in steps that hold the height up to each point; the corners are those of the plot."""
    points = [Point(0, 0), Point(0.5, 1, "half"), Point(1, 1)]
    drawn = chart("c", "x", "y", [Line(points, "first"), Line(points, "second", steps=True)], [Point(1, 0, "m")])
    assert 'class="line first" d="M44 290L184 10L324 10"' in drawn
    assert 'class="line second" d="M44 290V10H184V10H324"' in drawn
    assert '<circle class="dot first" cx="184" cy="10" r="4"><title>half</title></circle>' in drawn
    assert '<circle class="mark" cx="324" cy="290" r="5"><title>m</title></circle>' in drawn


@given(POINTS, st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])), st.booleans())
def test_any_chart_is_well_formed(points: list[Point], name: str, steps: bool) -> None:
    """Whatever the names and however few points there are."""
    lines = [Line([Point(point.x, point.y, name) for point in points], "first", steps)]
    root = ET.fromstring(chart(name, name, name, lines, points[:1]))
    assert root.get("aria-label") == name
    assert [element.text for element in root.iter("text") if element.get("class") == "axis"] == [name or None] * 2


@given(POINTS)
def test_thinning_keeps_what_can_be_seen(points: list[Point]) -> None:
    """First and last stay, and whatever is left out lies next to one that was kept."""
    kept = thinned(points)
    assert kept[:1] == points[:1]
    assert kept[-1:] == points[-1:]
    for point in points:
        assert any(max(abs(point.x - one.x), abs(point.y - one.y)) < 1 / 300 for one in kept)


def test_thinning_bounds_the_size() -> None:
    """A curve of 100,000 points that only rises or stays is drawn with some 600."""
    assert len(thinned([Point(at / 1e5, at / 1e5) for at in range(100_001)])) <= 302
