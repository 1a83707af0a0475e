"""Plots: well-formed, inside their frame, and with every text escaped."""

import re
from itertools import pairwise
from math import inf
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report.svg import WIDTH, Band, Chart, Line, Threshold, draw

NS = "{http://www.w3.org/2000/svg}"
EVIL = "</svg><script>x</script>&\"'\x1b"


def chart(**changes: object) -> Chart:
    values: dict[str, object] = {
        "title": "T",
        "description": "D",
        "seconds": 600.0,
        "low": -2.0,
        "high": 3.0,
        "ticks": [(0.0, "1"), (2.0, "100")],
        "lines": [Line("a", [(0, 0), (300, 1), (600, 9)]), Line("b", [(0, 1), (600, 2)], steps=True)],
        "bands": [Band("c", [(0, -1, 1), (600, -0.5, 0.5)])],
        "thresholds": [Threshold(2.0, "here")],
    }
    return Chart(**{**values, **changes})  # type: ignore[arg-type]


def parse(svg: str) -> "ElementTree.Element":
    return ElementTree.fromstring(svg)  # noqa: S314 - our own


def test_parts() -> None:
    """It has a title and a description for those who do not see it, a legend, axes and every series."""
    root = parse(draw(chart(), 3))
    assert root.get("role") == "img"
    ids = {each.get("id"): each.text for each in root if each.get("id")}
    assert ids == {"chart-3-t": "T", "chart-3-d": "D"}
    assert set((root.get("aria-labelledby") or "").split()) == ids.keys()
    texts = [each.text for each in root.iter(f"{NS}text")]
    assert {"1", "100", "start", "10 min", "here", "a", "b", "c"} <= set(texts)
    classes = [each.get("class") or "" for each in root.iter(f"{NS}path")]
    assert classes.count("line s0") == classes.count("line s1") == 2  # the line and its key
    assert classes.count("band b2") == 2


def test_hostile_names() -> None:
    """A name of a variant or guardrail cannot leave its text."""
    evil = chart(title=EVIL, description=EVIL, lines=[Line(EVIL, [(0, 0)])], thresholds=[Threshold(0, EVIL)])
    tags = {each.tag for each in parse(draw(evil, 0)).iter()}
    assert tags == {f"{NS}{name}" for name in ("svg", "title", "desc", "path", "text")}


points = st.lists(
    st.tuples(st.floats(0, 1e7), st.floats() | st.just(inf)).filter(lambda p: p[1] == p[1]), max_size=5
)


@given(points, st.floats(0, 1e7), st.lists(st.text(max_size=80), max_size=9))
def test_everything_stays_inside(values: list[tuple[float, float]], seconds: float, names: list[str]) -> None:
    """Whatever the values, nothing is drawn outside the picture, and it stays well-formed."""
    lines = [Line(name, values) for name in names]
    root = parse(draw(chart(lines=lines, seconds=seconds), 0))
    height = float((root.get("viewBox") or "").split()[3])
    for each in root.iter(f"{NS}text"):
        assert 0 <= float(each.get("x") or -1) <= WIDTH
        assert 0 <= float(each.get("y") or -1) <= height
    for each in root.iter(f"{NS}path"):
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", each.get("d") or ""):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= height


@pytest.mark.parametrize("seconds", [0.0, 1.0, 59.0, 3600.0, 86_400.0 * 40, 3e8, 1e10])
def test_the_time_axis(seconds: float) -> None:
    """From a second to centuries there are a few marks, none over another."""
    root = parse(draw(chart(seconds=seconds, lines=[], bands=[], thresholds=[], ticks=[]), 0))
    marks = [float(each.get("x") or 0) for each in root.iter(f"{NS}text")]
    assert 1 <= len(marks) <= 9
    assert all(b - a >= 40 for a, b in pairwise(marks))
