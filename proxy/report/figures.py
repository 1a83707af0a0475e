"""The plots of a report: evidence, weight, confidence limits and latency over the time of the rollout."""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite, log, log10

from proxy.report.documents import Point, PointGuardrail
from proxy.report.facts import Facts
from proxy.report.pages import Block, Figure, Heading, Paragraph, Table
from proxy.report.svg import Band, Chart, Line, Threshold, draw
from proxy.report.words import amount, duration, e_value, latency, percent
from proxy.rollout.plan import Plan
from proxy.settings import Metric

__all__ = ["MOST_INTERVALS", "figures"]

MOST_INTERVALS = 6
"""Guardrails whose limits are plotted; a report with 32 plots is read by nobody."""

_MOST_LINES = 6
_LN10 = log(10)
_SECOND_NS = 1_000_000_000
_ROWS = 10
_LOWEST = -2.0
"""Power of ten below which evidence is drawn at the edge: that little says only "nothing"."""

_WIDEST = 1.5
"""Power of ten beyond which a ratio is drawn at the edge."""


def figures(facts: Facts) -> list[Block]:
    """Return the part with the plots; of nothing when no moment was kept."""
    points, plan = _own(facts), facts.plan
    blocks: list[Block] = [Heading("Over time")]
    if plan is None or not points:
        return [*blocks, Paragraph("No moment has been kept yet.")]
    drawn = list(_drawn(_Story(facts, plan, points)))
    return [*blocks, *(figure(number) for number, figure in enumerate(drawn))]


_Make = Callable[[int], Figure]


class _Story:
    def __init__(self, facts: Facts, plan: Plan, points: Sequence[Point]) -> None:
        self.facts = facts
        self.plan = plan
        state = facts.state
        begun_ns = state.started_ns if state is not None else points[0].now_ns
        self.begin_ns = min(begun_ns, points[0].now_ns)
        self.points = points
        self.seconds = max(1.0, (points[-1].now_ns - self.begin_ns) / _SECOND_NS)

    def at(self, point: Point) -> float:
        return (point.now_ns - self.begin_ns) / _SECOND_NS

    def thinned(self) -> list[Point]:
        """Return some of the points, evenly, the first and the last among them."""
        last = len(self.points) - 1
        kept = {round(i * last / (_ROWS - 1)) for i in range(_ROWS)}
        return [self.points[i] for i in sorted(kept)]

    def table(self, columns: Sequence[str], of: Callable[[Point], Sequence[str]]) -> Table:
        rows = tuple(
            (duration(self.at(point)) if self.at(point) else "start", *of(point)) for point in self.thinned()
        )
        return Table(("after", *(f">{name}" for name in columns)), rows)


def _own(facts: Facts) -> list[Point]:
    """Return the points of this rollout up to what ended it, if something did."""
    points = sorted(facts.points, key=lambda each: each.now_ns)
    if facts.deciding is None or facts.deciding.decision.action != "rollback":
        return points
    # After a rollback nothing moves any more; a while of it shows the fall.
    end_ns, begin_ns = facts.deciding.engine_ns, points[0].now_ns if points else 0
    after_ns = max(30 * _SECOND_NS, (end_ns - begin_ns) // 20)
    return [each for each in points if each.now_ns <= end_ns + after_ns]


def _drawn(story: _Story) -> Iterator[_Make]:
    plan = story.plan
    names = [each.name for each in plan.critical if each.metric is not Metric.DISAGREEMENT]
    yield _evidence(
        story,
        "Evidence that the canary is worse",
        f"Where the line of all together crosses the dashed one ({round(1 / plan.false_rollback):,}), the canary is "
        "rolled back. An e-value of 100 comes up in at most one of 100 rollouts of a canary that is as good.",
        Threshold(-log10(plan.false_rollback), f"rolled back from {round(1 / plan.false_rollback):,} on"),
        [("all together", lambda point: point.harm), *((name, _picked(name, "harm")) for name in names)],
    )
    critical = [each.name for each in plan.critical]
    yield _evidence(
        story,
        "Evidence that the canary is as good",
        f"Every line has to cross the dashed one ({round(1 / plan.false_promotion):,}) before the canary is promoted. "
        "What is far above is drawn at the edge.",
        Threshold(-log10(plan.false_promotion), f"as good from {round(1 / plan.false_promotion):,} on"),
        [(name, _picked(name, "noninferiority")) for name in critical],
    )
    yield _weight(story)
    for each in plan.guardrails[:MOST_INTERVALS]:
        yield _interval(story, each.name, each.metric)
    if any(each.metric is Metric.LATENCY for each in plan.guardrails):
        yield from _latency(story)


def _picked(name: str, what: str) -> Callable[[Point], float]:
    def pick(point: Point) -> float:
        value: float = getattr(point.guardrails.get(name, PointGuardrail()), what)
        return value

    return pick


def _evidence(
    story: _Story,
    title: str,
    caption: str,
    threshold: Threshold,
    series: list[tuple[str, Callable[[Point], float]]],
) -> _Make:
    shown, left = series[:_MOST_LINES], len(series) - _MOST_LINES
    lines = [Line(name, [(story.at(p), of(p)) for p in story.points]) for name, of in shown]
    top = max(
        [threshold.value + 0.5, *(value for line in lines for _, value in line.points if isfinite(value))]
    )
    top = min(top, threshold.value * 3 + 1)
    step = max(1, round((top - _LOWEST) / 6))
    ticks = [
        (float(power), _power(power)) for power in range(int(_LOWEST), int(top) + 1) if power % step == 0
    ]
    if left > 0:
        caption += f" {left} more are in the table of the evidence."
    chart = Chart(
        title,
        f"E-values over {duration(story.seconds)} on a logarithmic scale. {caption}",
        story.seconds,
        _LOWEST,
        top,
        ticks,
        lines=lines,
        thresholds=[threshold],
    )
    table = story.table(
        [name for name, _ in shown], lambda point: [e_value(of(point) * _LN10) for _, of in shown]
    )
    return lambda number: Figure(title, caption, draw(chart, number), table)


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power < 6 else amount(10.0**power) if power < 0 else f"10^{power}"


def _weight(story: _Story) -> _Make:
    title, name = "Weight of the canary", story.facts.canary
    caption = f"Percent of the units that {name} had."
    weights = _weights(story)
    line = Line(name, weights, steps=True)
    top = max(1.0, *(weight for _, weight in weights))
    step = next((each for each in (0.2, 0.5, 1, 2, 5, 10, 25) if top / each <= 5), 25)
    ticks = [(step * i, f"{amount(step * i)} %") for i in range(int(top / step) + 1)]
    chart = Chart(title, caption, story.seconds, 0.0, top, ticks, lines=[line], height=120)
    table = story.table([name], lambda point: [percent(point.weight / 100)])
    return lambda number: Figure(title, caption, draw(chart, number), table)


def _weights(story: _Story) -> list[tuple[float, float]]:
    """Return the weight over time: as it was seen now and then, and as each decision left it between two looks."""
    weights = [(story.at(point), point.weight) for point in story.points]
    moves = [each for each in story.facts.said if each.moves and not each.decision.dry_run]
    weights += [(0.0, each.decision.weight_now) for each in moves[:1]]
    for each in moves:
        at = (each.engine_ns - story.begin_ns) / _SECOND_NS
        weights.append((min(max(at, 0.0), story.seconds), each.decision.weight))
    return sorted(weights, key=lambda point: point[0])


def _interval(story: _Story, name: str, metric: Metric) -> _Make:
    if metric is Metric.DISAGREEMENT:
        return _disagreement(story, name)
    champion = story.facts.champion
    title = f"{name}: {story.facts.canary} divided by {champion}"
    what = "The ratio of both medians" if metric is Metric.LATENCY else "The ratio of both rates"
    caption = f"{what} lies in the band in 95 of 100 rollouts, at all times. Above 1 the canary has more."
    bounds = [(story.at(p), *_bounds(p, name)) for p in story.points]
    clipped = [
        (
            s,
            max(-_WIDEST, log10(low) if low > 0 else -_WIDEST),
            min(_WIDEST, log10(high) if high > 0 else 0.0),
        )
        for s, low, high in bounds
    ]
    reach = _reach([value for _, low, high in clipped for value in (low, high)])
    ticks = [(log10(each), amount(each)) for each in _ratio_ticks(reach)]
    chart = Chart(
        title,
        caption,
        story.seconds,
        -reach,
        reach,
        ticks,
        bands=[Band("95 % limits", clipped)],
        thresholds=[Threshold(0.0, "the same")],
        height=130,
    )
    table = story.table(["least", "most"], lambda point: [_ratio(value) for value in _bounds(point, name)])
    return lambda number: Figure(title, caption, draw(chart, number), table)


_RATIO_TICKS = (
    (1.35, (0.8, 0.9, 1.0, 1.1, 1.25)),
    (2.2, (0.5, 0.7, 1.0, 1.4, 2.0)),
    (4.8, (0.25, 0.5, 1.0, 2.0, 4.0)),
    (100.0, (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)),
)
"""Reach of a plot of ratios, and what its axis is marked with."""


def _reach(values: list[float]) -> float:
    """Return how far a plot of ratios goes: as far as the later half of the limits does."""
    later = sorted(abs(each) for each in values[len(values) // 2 :]) or [_WIDEST]
    return min(_WIDEST, max(log10(1.25), later[-1] * 1.1))


def _ratio_ticks(reach: float) -> list[float]:
    ticks = next(ticks for most, ticks in _RATIO_TICKS if 10**reach < most)
    return [each for each in ticks if abs(log10(each)) <= reach + 1e-9]


def _bounds(point: Point, name: str) -> tuple[float, float]:
    found = point.guardrails.get(name, PointGuardrail())
    return found.low, found.high


def _ratio(value: float) -> str:
    return amount(value) if isfinite(value) else "–"


def _disagreement(story: _Story, name: str) -> _Make:
    planned = next(each for each in story.plan.guardrails if each.name == name)
    tolerance = planned.tolerance or 0.0
    above = " above the champion's own noise" if planned.above_noise else ""
    title = f"{name}: share of copies answered otherwise{above}"
    tolerated = f"{percent(tolerance)}{above}"
    caption = f"The band holds the share in 95 of 100 rollouts, at all times; tolerated are {tolerated}."
    bounds = [(story.at(p), low, min(1.0, high)) for p in story.points for low, high in [_bounds(p, name)]]
    top = min(1.0, max(2 * tolerance, min(high for _, _, high in bounds) * 1.5))
    least = -top if planned.above_noise else 0.0
    ticks = [(least + (top - least) * i / 4, percent(least + (top - least) * i / 4)) for i in range(5)]
    chart = Chart(
        title,
        caption,
        story.seconds,
        least,
        top,
        ticks,
        bands=[Band("95 % limits", bounds)],
        thresholds=[Threshold(tolerance, "tolerance")],
        height=130,
    )
    table = story.table(["least", "most"], lambda p: [percent(min(1.0, value)) for value in _bounds(p, name)])
    return lambda number: Figure(title, caption, draw(chart, number), table)


def _latency(story: _Story) -> Iterator[_Make]:
    names = [each.name for each in story.plan.guardrails if each.metric is Metric.LATENCY]
    canary, champion = story.facts.canary, story.facts.champion
    found = [(p, g.canary_ns, g.champion_ns) for p in story.points for g in [p.guardrails.get(names[0])] if g]
    kept = [(p, mine, other) for p, mine, other in found if len(mine) == 3 and len(other) == 3]
    if not kept:
        return
    title = "Latency of both"
    caption = (
        "p50 and p95 on a logarithmic scale: half, and 95 %, of the answers since the last change of weights took at "
        "most so long."
    )
    lines = [
        Line(f"{who} {label}", [(story.at(p), log10(max(1, both[arm][i]))) for p, *both in kept])
        for arm, who in ((0, canary), (1, champion))
        for i, label in ((0, "p50"), (1, "p95"))
    ]
    values = [value for line in lines for _, value in line.points]
    low, high = min(values) - 0.05, max(values) + 0.05
    ticks = [(log10(each), latency(each)) for each in _latency_ticks(low, high)]
    chart = Chart(title, caption, story.seconds, low, high, ticks, lines=lines, height=180)

    def row(point: Point) -> list[str]:
        arms = next(((mine, other) for p, mine, other in kept if p is point), ((), ()))
        return [latency(arm[i]) if arm else "–" for arm in arms for i in (0, 1)]

    table = story.table([line.name for line in lines], row)
    yield lambda number: Figure(title, caption, draw(chart, number), table)


def _latency_ticks(low: float, high: float) -> list[float]:
    """Return round latencies in nanoseconds between two powers of ten: three at least."""
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(1 + i / 10 for i in range(90))):
        ticks = [s * 10.0**power for power in range(int(low), int(high) + 1) for s in steps]
        kept = [each for each in ticks if low <= log10(each) <= high]
        if len(kept) >= 3:
            return kept[:: -(-len(kept) // 8)]
    return [10.0**low, 10.0**high]
