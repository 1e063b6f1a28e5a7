"""Charts whose axes both go from 0 to 1, as SVG to be put into a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

#: Side of the square plot and the space around it, in pixels.
_SIDE = 280
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 10, 12, 40
#: Points nearer to the last one drawn than this, in both directions, are left out.
_NEAREST = 1 / 300


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the chart, and what is said when the pointer is on it."""

    x: float
    y: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Points in order of ``x``. With ``steps`` each point's height holds from the point before up to it.

    ``style`` is the name of a colour: ``first``, ``second``, ``third`` or ``quiet``.
    """

    points: Sequence[Point]
    style: str
    steps: bool = False


def chart(label: str, x_axis: str, y_axis: str, lines: Sequence[Line], marks: Sequence[Point] = ()) -> str:
    """The chart as an SVG element; ``label`` tells what it shows to those who do not see it."""
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"',
        f'  aria-label="{_safe(label)}">',
        *_grid(),
        _axis(x_axis, f"translate({_LEFT + _SIDE / 2:g} {height - 6})"),
        _axis(y_axis, f"translate(12 {_TOP + _SIDE / 2:g}) rotate(-90)"),
    ]
    for line in lines:
        parts += _drawn(Line(thinned(line.points), line.style, line.steps))
    parts += [_circle(mark, "mark", 5) for mark in marks]
    return "\n".join([*parts, "</svg>"])


def thinned(points: Sequence[Point]) -> list[Point]:
    """The points without those that could not be told from the one before; the first and the last stay."""
    kept: list[Point] = []
    for point in points:
        if not kept or max(abs(point.x - kept[-1].x), abs(point.y - kept[-1].y)) >= _NEAREST:
            kept.append(point)
    if points and kept[-1] is not points[-1]:
        kept.append(points[-1])
    return kept


def _grid() -> list[str]:
    """The lines at every fifth, with their numbers."""
    parts = []
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        x, y = _x(tick), _y(tick)
        style = "edge" if tick == 0 else "grid"
        parts += [
            f'<path class="{style}" d="M{x} {_y(0)}V{_y(1)}M{_x(0)} {y}H{_x(1)}"/>',
            f'<text class="tick" x="{x}" y="{_TOP + _SIDE + 15}" text-anchor="middle">{tick:g}</text>',
            f'<text class="tick" x="{_LEFT - 6}" y="{y}" dy="0.32em" text-anchor="end">{tick:g}</text>',
        ]
    return parts


def _axis(name: str, transform: str) -> str:
    return f'<text class="axis" transform="{transform}" text-anchor="middle">{_safe(name)}</text>'


def _drawn(line: Line) -> list[str]:
    if not line.points:
        return []
    first, *rest = line.points
    to = "V{y}H{x}" if line.steps else "L{x} {y}"
    path = f"M{_x(first.x)} {_y(first.y)}" + "".join(to.format(x=_x(point.x), y=_y(point.y)) for point in rest)
    dots = [_circle(point, f"dot {line.style}", 4) for point in line.points if point.title]
    return [f'<path class="line {line.style}" d="{path}"/>', *dots]


def _circle(point: Point, style: str, radius: int) -> str:
    title = f"<title>{_safe(point.title)}</title>"
    return f'<circle class="{style}" cx="{_x(point.x)}" cy="{_y(point.y)}" r="{radius}">{title}</circle>'


def _x(value: float) -> str:
    return f"{_LEFT + value * _SIDE:.4g}"


def _y(value: float) -> str:
    return f"{_TOP + (1 - value) * _SIDE:.4g}"


def _safe(text: str) -> str:
    return escape(text, quote=True)
