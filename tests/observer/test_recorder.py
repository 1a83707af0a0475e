"""An exchange → a record: for a reason, within the budget, and each counted once."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.compare import Comparison
from proxy.exchange import Flag, Primary
from proxy.observer.blocks import Blocks
from proxy.observer.recorder import Recorder
from proxy.observer.route_rules import RouteRules
from proxy.records.budget import hard_cap
from proxy.records.weights import Sample, weighting_of
from proxy.sinks.sink import Token
from proxy.tally import block_path, read_slots
from tests.observer.exchanges import BASE_CONFIG, primary_part, shadow_part, table_of

AGREE = Comparison("agree", 0.0, None, "classification", 1, 0)
DISAGREE = Comparison("disagree", 1.0, "label", "classification", 1, 1)
SECOND_NS = 1_000_000_000


def config(log: str) -> str:
    return BASE_CONFIG.replace("log: {percent: 50, body: 1KiB}", f"log: {log}")


class Bench:
    """A recorder with its surroundings, and a clock to be set."""

    def __init__(self, run_dir: Path, log: str = "{percent: 50}") -> None:
        self.run_dir = run_dir
        self.records: list[dict[str, Any]] = []
        self.room = 10**9
        self.dropped = 0
        self.faults: list[str] = []
        self.now_ns = 0
        self.blocks = Blocks(run_dir)
        self.recorder = Recorder(
            self.blocks, self, lambda what, _: self.faults.append(what), lambda: self.now_ns
        )
        self.take(log)

    def take(self, log: str, version: int = 1) -> None:
        self.table = table_of(config(log), version)
        self.blocks.admit(self.table, [0])
        self.recorder.admit(self.table)
        self.rules = RouteRules(self.table.routes[0], b"k" * 32)

    def has_room(self) -> bool:
        return self.room > 0

    def submit(self, line: bytes, token: Token) -> bool:
        self.room -= 1
        self.records.append(orjson.loads(line))
        self.blocks.settle_sink(*token, "written")
        return True

    def drop(self) -> None:
        self.dropped += 1

    def offer(self, comparison: Comparison | None = None, index: int = 0, **changes: Any) -> None:
        primary: Primary = primary_part(**{"flags": Flag.MIRRORED, "version": self.table.version, **changes})
        comparisons = {} if comparison is None else {index: comparison}
        self.recorder.offer(self.rules, primary, {0: shadow_part()}, comparisons, {})

    def counts(self) -> dict[str, int]:
        layout, version = self.table.observer_layout, self.table.version
        named = layout.counts(read_slots(block_path(self.run_dir, "o0", version), layout.size))
        return {name: number for (kind, name, *_), number in named.items() if kind == "sink"}


WHEN = '{keep: [{when: "response.status == `418`"}]}'

REASONS: dict[str, tuple[str, dict[str, Any], Comparison | None, list[str]]] = {
    "the sample": ("{percent: 50}", {"flags": Flag.LOGGED}, None, ["sample"]),
    "nothing": ("{percent: 50}", {"flags": Flag.SHOWN}, DISAGREE, []),
    "an error": ("{keep: [errors]}", {"flags": Flag.ERRORS}, None, ["errors"]),
    "a disagreement": ("{keep: [disagreement]}", {"flags": Flag.SHOWN}, DISAGREE, ["disagreement"]),
    "an agreement": ("{keep: [disagreement]}", {"flags": Flag.SHOWN}, AGREE, []),
    "an expression": (WHEN, {"flags": Flag.OFFERED, "status": 418}, None, ["when"]),
    "another answer": (WHEN, {"flags": Flag.OFFERED}, None, []),
    "several": (
        "{percent: 50, keep: [{slow: 1s}, disagreement, {when: request_id}]}",
        {"flags": Flag.LOGGED | Flag.SLOW},
        DISAGREE,
        ["sample", "slow", "disagreement", "when"],
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_reasons(tmp_path: Path, name: str) -> None:
    """A record is there for a reason, which it says; with a rule among them it was certain."""
    log, changes, comparison, reasons = REASONS[name]
    bench = Bench(tmp_path, log)
    bench.offer(comparison, **changes)
    assert [record["kept_by"] for record in bench.records] == [reasons] * bool(reasons)
    for record in bench.records:
        assert record["inclusion_probability"] == (0.5 if reasons == ["sample"] else 1.0)
        assert record["budget_probability"] == 1.0
    expected = {"written": 1} if reasons else {}
    if reasons and reasons[0] in ("disagreement", "when"):
        expected["chosen"] = 1
    assert bench.counts() == expected


def test_the_champion_asked_again_is_no_disagreement(tmp_path: Path) -> None:
    """What lies beyond the route's shadows is the measure of noise, and keeps nothing."""
    bench = Bench(tmp_path, "{keep: [disagreement]}")
    bench.offer(DISAGREE, index=2, flags=Flag.SHOWN)
    assert bench.records == []


def test_what_else_a_record_says(tmp_path: Path) -> None:
    """The request's slices are in it, and that the champion was asked twice; an expression may ask for both."""
    bench = Bench(tmp_path)
    noisy = config("{percent: 50, keep: [{when: slices.user}, {when: noise.comparison}]}")
    bench.table = table_of(
        noisy.replace("as: classification", "as: json, noise: 100, slices: {user: header:host}")
    )
    rules = RouteRules(bench.table.routes[0], b"k" * 32)
    shadows = {0: shadow_part(), 2: shadow_part(shadow=2)}
    bench.recorder.offer(rules, primary_part(), shadows, {0: DISAGREE, 2: AGREE}, {})
    (record,) = bench.records
    assert record["slices"] == {"user": "model"}
    assert record["noise"]["comparison"]["result"] == "agree"
    assert record["kept_by"] == ["sample", "when"]
    assert [shadow["model"] for shadow in record["shadows"]] == ["wine-v4"]


def test_an_expression_that_fails_keeps_nothing(tmp_path: Path) -> None:
    """It is counted; what another reason keeps is kept."""
    bench = Bench(tmp_path, "{percent: 50, keep: [{when: abs(request_id)}]}")
    bench.offer(flags=Flag.OFFERED)
    bench.offer(flags=Flag.OFFERED | Flag.LOGGED)
    assert [record["kept_by"] for record in bench.records] == [["sample"]]
    assert bench.counts() == {"rule_failed": 2, "written": 1}
    assert bench.faults == []


def test_without_room(tmp_path: Path) -> None:
    """Without room in any sink the record is not built, and dropped."""
    bench = Bench(tmp_path)
    bench.room = 0
    bench.offer(flags=Flag.LOGGED, details=None)
    lost = {"dropped": 1, "lost_thousandths": 2000}
    assert (bench.counts(), bench.dropped, bench.faults) == (lost, 1, [])


def test_a_fault_of_ours(tmp_path: Path) -> None:
    """What cannot be built is failed and noted."""
    bench = Bench(tmp_path)
    bench.offer(flags=Flag.LOGGED, details=None)
    assert (bench.counts(), bench.faults) == ({"failed": 1}, ["record"])
    bench.take(WHEN, version=2)
    bench.offer(flags=Flag.OFFERED, details=None)
    assert (bench.counts(), bench.faults) == ({}, ["record"] * 2)


class Rush(Bench):
    """Many errors and a sample, offered at some rate."""

    LOG = "{percent: 50, keep: [errors], budget: 20}"

    def __init__(self, run_dir: Path, log: str = LOG) -> None:
        super().__init__(run_dir, log)
        self.number = 0

    def run(self, per_second: int, seconds: float) -> None:
        for _ in range(int(per_second * seconds)):
            self.number += 1
            self.now_ns += SECOND_NS // per_second
            flag = Flag.ERRORS if self.number % 3 == 0 else Flag.LOGGED
            self.offer(flags=flag, number=self.number, request_id=b"r-%d" % self.number)


def test_a_rush_is_thinned(tmp_path: Path) -> None:
    """Beyond the budget a share is left out, and what is there says how likely it was: the total is right again."""
    rush = Rush(tmp_path)
    rush.run(per_second=2000, seconds=6)
    counts = Counter(rush.counts())
    assert counts["written"] == len(rush.records) <= 20 * 6 + hard_cap(20)
    assert counts["written"] + counts["thinned"] + counts["dropped"] == rush.number
    late = [record for record in rush.records if record["budget_probability"] < 1]
    assert {
        record["budget_probability"] * (1.0 if "errors" in record["kept_by"] else 0.5) for record in late
    } == {record["inclusion_probability"] for record in late}
    errors = Sample()
    for record in rush.records:
        errors.add(weighting_of(record), float("errors" in record["kept_by"]))
    estimate = errors.total()
    assert counts["dropped"] < 200  # of the first second
    low, high = estimate.interval(0.9999)
    assert low <= rush.number / 3 <= high


def test_what_the_cap_takes_is_counted_by_its_weight(tmp_path: Path) -> None:
    """Where much is lost, what is there and what was lost stand together for all there was, on average over rushes."""
    shares, lost = [], 0
    for seed in range(12):
        (tmp_path / str(seed)).mkdir()
        rush = Rush(tmp_path / str(seed), "{percent: 50, keep: [errors], budget: 2}")
        rush.number = offered = seed * 10_000
        weight = 0.0
        for _ in range(8):
            rush.now_ns += 3 * SECOND_NS
            rush.run(per_second=1500, seconds=0.4)  # out of nothing, again and again
        counts = Counter(rush.counts())
        weight = sum(1 / record["inclusion_probability"] for record in rush.records)
        # Of each three one is an error, which stands for itself; two are of the sample and stand for two.
        shares.append((weight + counts["lost_thousandths"] / 1000) / ((rush.number - offered) * 5 / 3))
        lost += counts["dropped"]
    assert lost > 1000
    assert sum(shares) / len(shares) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("flag", "requests"), [(Flag.LOGGED, 2000), (Flag.ERRORS, 1000)])
def test_without_room_the_weight_is_counted(tmp_path: Path, flag: Flag, requests: int) -> None:
    """A record that no sink takes is dropped, with the requests that it would have stood for."""
    bench = Bench(tmp_path, "{percent: 50, keep: [errors]}")
    bench.room = 0
    bench.offer(flags=flag)
    assert bench.counts() == {"dropped": 1, "lost_thousandths": requests}


def test_below_the_budget_all_are_there(tmp_path: Path) -> None:
    """A route that is not in a rush is not thinned."""
    rush = Rush(tmp_path)
    rush.run(per_second=10, seconds=20)
    assert rush.counts() == {"written": 200}
    assert {record["budget_probability"] for record in rush.records} == {1.0}


def test_a_reload_is_no_new_second(tmp_path: Path) -> None:
    """With the same budget the next version goes on where the one before was; with another it begins anew."""
    rush = Rush(tmp_path)
    rush.run(per_second=2000, seconds=2)
    rush.take(rush.LOG, version=2)
    rush.offer(flags=Flag.LOGGED)
    before = len(rush.records)
    rush.run(per_second=2000, seconds=1)
    assert len(rush.records) - before < 40
    rush.take("{percent: 50}", version=3)
    rush.run(per_second=2000, seconds=0.1)
    assert len(rush.records) - before >= 200


@pytest.mark.parametrize("told", ["number", "started_wall_ns"])
def test_the_draw_is_nobodys_choice(tmp_path: Path, told: str) -> None:
    """A client that always sends one request id is thinned like any other, and so are the numbers of a new worker."""
    rush = Rush(tmp_path)
    rush.run(per_second=2000, seconds=2)
    before = len(rush.records)
    for _ in range(4000):
        rush.number += 1
        rush.now_ns += SECOND_NS // 2000
        changes: dict[str, Any] = {told: rush.number}
        rush.offer(flags=Flag.LOGGED, request_id=b"always-one", **changes)
    assert 10 < len(rush.records) - before < 100
