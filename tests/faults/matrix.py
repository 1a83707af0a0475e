"""Plays every cell against one running proxy, many at a time, and compares what has happened with what must."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from proxy.clock import monotonic
from tests.e2e.running import Running, serve
from tests.faults.cells import BODY_LIMIT, BRIEF_S, COPY_LIMIT, OK, SERVES, Cell, addressed
from tests.hostile.answers import judge
from tests.hostile.line import End, Line, connect
from tests.hostile.steps import play
from tests.hostile.upstream import HostileUpstream, blackhole, free_port, hostile_upstream

__all__ = ["Outcome", "Run", "Samples", "play_all", "play_once", "text_of"]

T = TypeVar("T")

AT_TIME = 24
"""Cells played at the same time."""
MOST_REPEATED = 40
"""If more cells than these fail, it is not the machine."""
PATIENCE_S = 6.0
LINES_S = 1.0
"""Patience with the model's connections; less than the client's idle time, as the client's is looked at afterwards."""
GRACE_S = 0.1
"""So long nothing may happen any more where a connection is to be kept."""
SHADOW_TIMEOUT_S = 2 * BRIEF_S
PROBE = b"GET /well HTTP/1.1\r\nhost: h\r\n\r\n"
"""Asked behind the cell on a connection that was kept: whoever reads it differently does not answer 200."""


@dataclass
class Outcome:
    """What has happened in a cell."""

    cell: Cell
    name: str
    answer: str = ""
    lines: str = ""
    took_s: float = 0.0
    probes: int = 0
    problems: list[str] = field(default_factory=list)
    """How this differs from what is expected; empty: as it should be."""
    first_problems: list[str] = field(default_factory=list)
    """The same of an earlier try."""

    @property
    def verdict(self) -> str:
        """What is to be said about it."""
        if self.problems:
            return "; ".join(self.problems)
        return (
            f"as expected when played again; before: {'; '.join(self.first_problems)}"
            if self.first_problems
            else "as expected"
        )

    @property
    def got(self) -> str:
        """The outcome in one line."""
        return f"{_brief(self.answer)} | {self.lines or 'not asked'}"

    @property
    def expected(self) -> str:
        """What the cell expects, in the same form."""
        return f"{_brief(' or '.join(_any(self.cell.answer)))} | {' or '.join(_any(self.cell.lines)) or 'not asked'}"


@dataclass
class Run:
    """A whole matrix played."""

    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong with the whole: something left open, sums that do not hold, a bug in the log."""
    took_s: float = 0.0
    connections: int = 0


def _any(expected: T | tuple[T, ...]) -> tuple[T, ...]:
    return expected if isinstance(expected, tuple) else (expected,)


def _brief(answer: str) -> str:
    words = answer.split(", ")
    runs: list[list[str]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1].append(word)
        else:
            runs.append([word])
    return ", ".join(f"{len(run)} × {run[0]}" if len(run) > 1 else run[0] for run in runs)


def text_of(directory: Path, cells: Sequence[tuple[str, Cell, str]], well: str) -> str:
    """Return a configuration with a route for each cell: its name, the cell, and the URL of the model that fails.

    Whoever else takes part in a cell is the model ``well``: the champion behind a challenger that fails, the model
    beside a shadow that fails, and the shadow of all others. Everything is logged, so that all sums are in play.
    """
    models, routes = [f'  well: {{url: "{well}"}}'], []
    for name, cell, url in cells:
        options = {"timeout": f"{BRIEF_S}s", "idle_timeout": f"{BRIEF_S}s", "connect_timeout": f"{BRIEF_S}s"}
        pairs = ", ".join(f"{key}: {value}" for key, value in {**options, **cell.settings}.items())
        models.append(f'  {name}: {{url: "{url}", {pairs}}}')
        champion = name if cell.side in ("client", "model") else "well"
        variants = f"{{name: v1, model: {champion}, role: champion}}"
        if cell.side == "challenger":
            variants += f", {{name: v2, model: {name}, role: challenger, weight: 100}}"
        extra = "".join(f", {key}: {value}" for key, value in cell.route.items())
        shadow = name if cell.side == "shadow" else "well"
        routes.append(
            f'  - {{name: {name}, match: {{path: "/{name}/*"}}, variants: [{variants}], log: {{percent: 100}},'
            f" shadows: [{{model: {shadow}, timeout: {SHADOW_TIMEOUT_S}s, max_in_flight: 1000}}]{extra}}}"
        )
    routes.append(
        "  - {name: well, match: {path: /well}, variants: [{name: v1, model: well, role: champion}]}"
    )
    return "\n".join(
        [
            "listen: 127.0.0.1:0",
            "admin: 127.0.0.1:0",
            f"state_dir: {directory}/state",
            f"timeouts: {{client_head: {BRIEF_S}s, client_body: {BRIEF_S}s, tunnel: {BRIEF_S}s,",
            "  keep_alive: 2s, drain: 2s}",
            f"limits: {{body: {BODY_LIMIT}B, copy: {COPY_LIMIT}B}}",
            "observer: {pair_timeout: 3s}",
            "models:",
            *models,
            "routes:",
            *routes,
            "",
        ]
    )


class Stage:
    """One cell on its own ports: who plays the model, and the client."""

    def __init__(self, cell: Cell, name: str) -> None:
        self.cell = cell
        self.name = name
        self.url = ""
        self.model: HostileUpstream | None = None
        self.left_at = 0.0

    @property
    def kept(self) -> int:
        """Connections of the model that are open."""
        return (
            sum(not line.is_closed and line.end is End.OPEN for line in self.model.lines) if self.model else 0
        )

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Open the ports."""
        cell = self.cell
        if cell.address == "refused":
            self.url = f"http://127.0.0.1:{free_port()}"
        elif cell.address == "blackhole":
            self.url = await stack.enter_async_context(blackhole())
        else:
            scripts = [addressed(script, self.name) for script in cell.model]
            self.model = await stack.enter_async_context(
                hostile_upstream(*scripts, receive_bytes=cell.model_receive_bytes, reading=cell.model_reads)
            )
            self.url = self.model.url

    async def play(self, host: str, port: int) -> Outcome:
        """Play the cell."""
        cell, outcome = self.cell, Outcome(self.cell, self.name)
        began = monotonic()
        line = await connect(host, port, receive_bytes=cell.receive_bytes)
        await play(addressed(cell.client, self.name), line)
        if line.is_closed:
            self.left_at = monotonic()
            outcome.answer = "left"
        else:
            outcome.answer = await self._answer(line)
        outcome.took_s = monotonic() - began
        outcome.lines = await self._lines()
        if outcome.answer.endswith("kept"):
            outcome.probes = 1
            outcome.answer = await self._probed(line, outcome.answer)
        if not line.is_closed:
            await line.close()
        self._compare(outcome)
        return outcome

    async def _answer(self, line: Line) -> str:
        """Wait until the client has what it will get."""
        methods = [b"POST"] * self.cell.methods
        deadline, expected = monotonic() + PATIENCE_S, _any(self.cell.answer)
        seen, judged, word = -1, -1, ""
        while monotonic() < deadline and line.end is End.OPEN:
            if line.total == seen != judged:  # nothing has come since the last look: worth judging
                judged, word = seen, judge(bytes(line.received), line.end, methods)
                if word in expected:
                    return word
            seen = line.total
            await asyncio.sleep(0.01)
        return judge(bytes(line.received), line.end, methods)

    async def _lines(self) -> str:
        """Wait until the model's connections are as expected, and stay so."""
        if self.model is None:
            return ""
        deadline, expected = monotonic() + LINES_S + self.cell.notice_s, _any(self.cell.lines)
        while self._lines_now() not in expected and monotonic() < deadline:  # noqa: ASYNC110 - many lines, no one event
            await asyncio.sleep(0.02)
        await asyncio.sleep(GRACE_S)
        return self._lines_now()

    def _lines_now(self) -> str:
        assert self.model is not None
        words = []
        for line in self.model.lines:
            if line.is_closed:
                words.append("own")
            elif line.end is End.OPEN:
                words.append("kept")
            elif self.left_at and line.ended_at - self.left_at > self.cell.notice_s:
                words.append(f"left after {line.ended_at - self.left_at:.1f} s")
            else:
                words.append("left")
        return ", ".join(words)

    async def _probed(self, line: Line, answer: str) -> str:
        """Return ``answer`` if the connection that was kept can be used."""
        before = line.total
        await line.send(PROBE)
        await line.until(lambda: bytes(line.received).endswith(OK[-6:]) and line.total > before, PATIENCE_S)
        methods = [b"POST"] * self.cell.methods + [b"GET"]
        word = judge(bytes(line.received), line.end, methods)
        expected = answer.removesuffix("kept") + "200 whole, kept"
        return answer if word == expected else f"{answer}, but then {_brief(word)}"

    def _compare(self, outcome: Outcome) -> None:
        cell = self.cell
        if outcome.answer not in _any(cell.answer):
            outcome.problems.append(
                f"answer: expected {_brief(' or '.join(_any(cell.answer)))}, got {_brief(outcome.answer)}"
            )
        if outcome.lines not in _any(cell.lines):
            outcome.problems.append(
                f"connections to the model: expected {cell.lines!r}, got {outcome.lines!r}"
            )
        if cell.side == "shadow" and outcome.took_s > BRIEF_S:
            outcome.problems.append(f"the client waited {outcome.took_s:.1f} s")


@asynccontextmanager
async def _running(
    directory: Path, cells: Sequence[Cell]
) -> AsyncIterator[tuple[Running, list[Stage], HostileUpstream]]:
    async with AsyncExitStack() as stack:
        well = await stack.enter_async_context(hostile_upstream(SERVES))
        stages = [Stage(cell, f"c{number}") for number, cell in enumerate(cells)]
        for stage in stages:
            await stage.set_up(stack)
        text = text_of(directory, [(s.name, s.cell, s.url) for s in stages], well.url)
        with _log_in(directory) as log:
            running = await stack.enter_async_context(serve(directory, text, log))
            yield running, stages, well


def _log_in(directory: Path) -> IO[bytes]:
    directory.mkdir()
    return (directory / "log").open("wb")


async def play_all(directory: Path, cells: Sequence[Cell]) -> Run:
    """Play ``cells``, and once more by themselves those that did not go as expected.

    Their timeouts are short, so a machine that stands still for half a second makes one fail. What fails twice is
    wrong; what fails once is said to have been played twice.
    """
    run = await play_once(directory / "first", cells)
    failed = [outcome for outcome in run.outcomes if outcome.problems]
    if not failed or len(failed) > MOST_REPEATED:
        return run
    again = await play_once(directory / "again", [outcome.cell for outcome in failed])
    for before, after in zip(failed, again.outcomes, strict=True):
        after.first_problems = before.problems
        run.outcomes[run.outcomes.index(before)] = after
    # The sums of the first run are off by what its failed cells did; those of the second must hold.
    run.problems = again.problems
    run.took_s += again.took_s
    return run


async def play_once(directory: Path, cells: Sequence[Cell]) -> Run:
    """Play ``cells`` and return what has happened, the proxy's own account of it compared."""
    run, began = Run(), monotonic()
    async with _running(directory, cells) as (proxy, stages, well):
        host, port = proxy.listen.removeprefix("http://").split(":")
        worker = (await proxy.status())["workers"][0]["pid"]
        memory, files = _memory(worker), _files(worker)
        gate = asyncio.Semaphore(AT_TIME)

        async def one(stage: Stage) -> Outcome:
            async with gate:
                return await stage.play(host, int(port))

        run.outcomes = list(await asyncio.gather(*map(one, stages)))
        run.connections = len(stages)
        await _settled(proxy, run)
        samples = await _samples(proxy)
        for outcome in run.outcomes:
            _compare_counts(outcome, samples)
        _compare_sums(run, samples)
        grown = _memory(worker) - memory
        if grown > MAX_GROWTH:
            run.problems.append(f"the worker has grown by {grown >> 20} MiB")
        kept = sum(stage.kept for stage in stages) + len(well.lines)
        if (more := _files(worker) - files) > kept + OWN_FILES:
            run.problems.append(
                f"the worker has {more} files more than before, for {kept} idle connections to models"
            )
    log = (directory / "log").read_text(errors="replace")
    if "Traceback" in log or " ERROR " in log:
        run.problems.append(f"the proxy's log names a bug: {log[-2000:]}")
    run.took_s = monotonic() - began
    return run


OWN_FILES = 4
"""A pipe to the observer and the like, opened after the first look."""
MAX_GROWTH = 64 << 20
"""Of the worker's resident memory over the whole matrix: far less than one cell of a megabyte each would take."""


def _memory(pid: int) -> int:
    """Return the resident bytes of a process; 0 where there is no /proc."""
    statm = Path(f"/proc/{pid}/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if statm.exists() else 0


def _files(pid: int) -> int:
    """Return how many files a process has open; 0 where there is no /proc."""
    descriptors = Path(f"/proc/{pid}/fd")
    return len(list(descriptors.iterdir())) if descriptors.exists() else 0


async def _settled(proxy: Running, run: Run) -> None:
    try:
        await proxy.settled()
    except AssertionError as error:
        run.problems.append(f"left open: {error}")


class Samples:
    """What ``/metrics`` says, read once: thousands of routes' worth of histograms are left out."""

    _LINE = re.compile(r"(modelproxy_\w+(?<!_bucket)(?<!_sum)(?<!_count))(?:\{(.*)\})? ([0-9.e+-]+)")
    _LABEL = re.compile(r'(\w+)="([^"]*)"')

    def __init__(self, text: str) -> None:
        self._by_name: dict[str, list[tuple[dict[str, str], int]]] = {}
        for name, labels, value in self._LINE.findall(text):
            if count := int(float(value)):
                self._by_name.setdefault(name, []).append((dict(self._LABEL.findall(labels)), count))
        self._by_owner: dict[tuple[str, str], list[tuple[dict[str, str], int]]] = {}
        for name, samples in self._by_name.items():
            for sample in samples:
                owner = sample[0].get("route") or sample[0].get("model", "")
                self._by_owner.setdefault((name, owner), []).append(sample)

    def counts(self, name: str, label: str, owner: str | None = None) -> dict[str, int]:
        """Return the sums of ``name`` above 0 by ``label``; of one route (or model, where there is no route)."""
        found: Counter[str] = Counter()
        samples = self._by_name.get(name, ()) if owner is None else self._by_owner.get((name, owner), ())
        for labels, value in samples:
            found[labels.get(label, "")] += value
        return dict(found)


async def _samples(proxy: Running) -> Samples:
    """Return what is counted when the last client has gone, or after a while if one stays."""
    for _ in range(20):
        async with proxy.session.get(proxy.admin + "/metrics") as answer:
            samples = Samples(await answer.text())
        if not samples.counts("modelproxy_connections", ""):
            break
        await asyncio.sleep(0.1)
    return samples


def _compare_counts(outcome: Outcome, samples: Samples) -> None:
    """Compare the proxy's counters of a cell with what must have been counted."""
    cell, name = outcome.cell, outcome.name
    counted = samples.counts("modelproxy_requests_total", "code", name)
    faults = samples.counts("modelproxy_upstream_faults_total", "kind", name)
    retries = sum(samples.counts("modelproxy_upstream_retries_total", "variant", name).values())
    fallbacks = sum(samples.counts("modelproxy_fallbacks_total", "variant", name).values())
    copies = samples.counts("modelproxy_shadow_requests_total", "outcome", name)
    checks = (
        (
            "requests by code",
            tuple({str(code): count for code, count in codes.items()} for codes in _any(cell.codes)),
            counted,
        ),
        ("faults of the model", _any(cell.faults), faults),
        ("retries", _any(cell.retries), retries),
        ("fallbacks", (cell.fallbacks,), fallbacks),
        ("copies", (dict(cell.shadow_counts),), {key: copies.get(key, 0) for key in cell.shadow_counts}),
    )
    for what, expected, got in checks:
        if got not in expected:
            outcome.problems.append(f"{what}: expected {' or '.join(map(str, expected))}, got {got}")


def _compare_sums(run: Run, samples: Samples) -> None:
    """Compare what is counted for all cells together."""
    unrouted: Counter[str] = Counter()
    for outcome in run.outcomes:
        unrouted.update({str(code): count for code, count in outcome.cell.unrouted.items()})
    counted = samples.counts("modelproxy_requests_total", "code", "")
    if counted != dict(unrouted):
        run.problems.append(f"requests without a route: expected {dict(unrouted)}, got {counted}")
    probes = sum(outcome.probes for outcome in run.outcomes)
    well = samples.counts("modelproxy_requests_total", "code", "well")
    if well != ({"200": probes} if probes else {}):
        run.problems.append(f"requests behind the cells: expected {probes} × 200, got {well}")
    for gauge in ("modelproxy_connections", "modelproxy_in_flight_requests"):
        if still := sum(samples.counts(gauge, "").values()):
            run.problems.append(f"left open: {gauge} is {still}")
    opened = sum(samples.counts("modelproxy_connections_opened_total", "").values())
    if opened != run.connections:
        run.problems.append(f"connections: {run.connections} were made, {opened} counted")
    _compare_copies(run, samples)


def _compare_copies(run: Run, samples: Samples) -> None:
    """Check the sums that README states for copies, comparisons and records."""
    copies = samples.counts("modelproxy_shadow_requests_total", "outcome")
    dropped = sum(samples.counts("modelproxy_shadow_dropped_total", "reason").values())
    judged = sum(samples.counts("modelproxy_comparisons_total", "result").values())
    records = samples.counts("modelproxy_payload_records_total", "outcome")
    sums = {
        "eligible": ("sent", "dropped"),
        "sent": ("answered", "failed"),
        "answered": ("compared", "uncomparable", "comparison_dropped"),
    }
    for whole, parts in sums.items():
        if copies.get(whole, 0) != sum(copies.get(part, 0) for part in parts):
            run.problems.append(f"{whole} is not the sum of {', '.join(parts)}: {copies}")
    if copies.get("dropped", 0) != dropped or copies.get("compared", 0) != judged:
        run.problems.append(f"copies {copies}, but {dropped} drops by reason and {judged} judged pairs")
    if records.get("sampled", 0) != sum(records.get(part, 0) for part in ("written", "dropped", "failed")):
        run.problems.append(f"sampled is not the sum of written, dropped and failed: {records}")
