"""Plots over time as SVG: axes, steps, lines, bands, thresholds, a legend. No scripts, no fonts, no network.

Drawn here rather than by a plotting library: a report holds half a dozen plain charts, and the libraries that could
draw them are many times as large as this whole program. Colours are classes: the page says what they are in the light
and in the dark. Everything is in the units of the values; how they are scaled is the caller's to say by its ticks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from proxy.printable import printable
from proxy.report.words import duration

__all__ = ["WIDTH", "Band", "Chart", "Line", "Threshold", "draw"]

WIDTH: Final = 760
"""Width in pixels; it shrinks with the window."""

_LEFT, _RIGHT, _BOTTOM = 84, 16, 40
_ROW = 20
_GLYPH = 6.9
"""Width of a character of the legend, generously."""

_SERIES = 6
"""Looks that the page knows; more series begin again."""

_TIME_STEPS_S = (
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    1_209_600, 2_592_000, 7_776_000, 31_536_000,
)  # fmt: skip
_MOST_TIMES = 7


@dataclass(frozen=True, slots=True)
class Line:
    """A series of points (seconds, value)."""

    name: str
    points: Sequence[tuple[float, float]]
    steps: bool = False
    """Each value holds until the next one."""


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch between two values: (seconds, low, high)."""

    name: str
    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value that something happens at."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot."""

    title: str
    description: str
    seconds: float
    """Length of the time axis."""
    low: float
    high: float
    """Ends of the value axis; what lies outside is drawn at the end."""
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line] = ()
    bands: Sequence[Band] = ()
    thresholds: Sequence[Threshold] = ()
    height: int = 200
    """Of the plot itself, in pixels."""


def draw(chart: Chart, number: int) -> str:
    """Return the chart as an SVG element; ``number`` tells the charts of a page apart."""
    return "".join(_Drawing(chart, number).parts())


class _Drawing:
    def __init__(self, chart: Chart, number: int) -> None:
        self.chart = chart
        self.number = number
        names = [*(line.name for line in chart.lines), *(band.name for band in chart.bands)]
        self.legend = list(_legend(names))
        self.top = 14 + _ROW * (self.legend[-1][1] + 1 if self.legend else 0)
        self.bottom = self.top + chart.height

    def x(self, seconds: float) -> float:
        share = seconds / self.chart.seconds if self.chart.seconds > 0 else 0.0
        return round(_LEFT + min(1.0, max(0.0, share)) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.chart.low) / (self.chart.high - self.chart.low)
        return round(self.bottom - min(1.0, max(0.0, share)) * self.chart.height, 1)

    def parts(self) -> Iterator[str]:
        height, title = self.bottom + _BOTTOM, f"chart-{self.number}"
        yield (
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{title}-t {title}-d" '
            f'xmlns="http://www.w3.org/2000/svg"><title id="{title}-t">{_text(self.chart.title)}</title>'
            f'<desc id="{title}-d">{_text(self.chart.description)}</desc>'
        )
        yield from self.axes()
        for i, band in enumerate(self.chart.bands):
            yield self.band(band, len(self.chart.lines) + i)
        for threshold in self.chart.thresholds:
            yield self.threshold(threshold)
        for i, line in enumerate(self.chart.lines):
            yield self.line(line, i)
        for i, (left, row, name) in enumerate(self.legend):
            yield self.key(i, left, 14 + row * _ROW, name)
        yield "</svg>"

    def axes(self) -> Iterator[str]:
        right = WIDTH - _RIGHT
        for value, label in self.chart.ticks:
            y = self.y(value)
            yield f'<path class="grid" d="M{_LEFT} {y}H{right}"/>'
            yield f'<text class="tick" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{_text(label)}</text>'
        for seconds in _times(self.chart.seconds):
            x, label = self.x(seconds), duration(seconds) if seconds else "start"
            anchor = "end" if x > right - 20 else "start" if not seconds else "middle"
            yield f'<path class="axis" d="M{x} {self.bottom}v5"/>'
            yield f'<text class="tick" x="{x}" y="{self.bottom + 19}" text-anchor="{anchor}">{label}</text>'
        yield f'<path class="axis" d="M{_LEFT} {self.top}V{self.bottom}H{right}"/>'

    def band(self, band: Band, look: int) -> str:
        if not band.points:
            return ""
        upper = [f"{self.x(s)} {self.y(high)}" for s, _, high in band.points]
        lower = [f"{self.x(s)} {self.y(low)}" for s, low, _ in reversed(band.points)]
        return f'<path class="band b{look % _SERIES}" d="M{"L".join((*upper, *lower))}Z"/>'

    def line(self, line: Line, look: int) -> str:
        if not line.points:
            return ""
        (seconds, value), *rest = line.points
        path = f"M{self.x(seconds)} {self.y(value)}"
        for seconds, value in rest:
            path += (
                f"H{self.x(seconds)}V{self.y(value)}" if line.steps else f"L{self.x(seconds)} {self.y(value)}"
            )
        return f'<path class="line s{look % _SERIES}" d="{path}{"" if rest else "h1"}"/>'

    def threshold(self, threshold: Threshold) -> str:
        y, right = self.y(threshold.value), WIDTH - _RIGHT
        # Above the line, or below it where there is no room.
        text_y = y - 5 if y - 16 > self.top else y + 14
        label = f'<text class="mark" x="{right - 4}" y="{text_y}" text-anchor="end">{_text(threshold.label)}</text>'
        return f'<path class="threshold" d="M{_LEFT} {y}H{right}"/>{label}'

    def key(self, look: int, left: float, y: int, name: str) -> str:
        lines = len(self.chart.lines)
        kind = f"line s{look % _SERIES}" if look < lines else f"band b{look % _SERIES}"
        shape = f'd="M{left} {y - 4}h22"' if look < lines else f'd="M{left} {y - 10}h22v11h-22Z"'
        return f'<path class="{kind}" {shape}/><text class="key" x="{left + 28}" y="{y}">{_text(name)}</text>'


def _legend(names: Sequence[str]) -> Iterator[tuple[float, int, str]]:
    """Yield where each name of the legend begins, its row, and the name, cut where it is too long."""
    left, row = float(_LEFT), 0
    for name in names:
        short = printable(name)
        short = short if len(short) <= 48 else f"{short[:47]}…"
        width = 28 + _GLYPH * len(short) + 18
        if left > _LEFT and left + width > WIDTH - _RIGHT:
            left, row = float(_LEFT), row + 1
        yield round(left, 1), row, short
        left += width


def _times(seconds: float) -> list[float]:
    step = next((each for each in _TIME_STEPS_S if seconds / each <= _MOST_TIMES), seconds / _MOST_TIMES)
    return [step * i for i in range(int(seconds / step) + 1)] if step > 0 else [0.0]


def _text(text: str) -> str:
    return escape(printable(text))
