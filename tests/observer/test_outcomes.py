"""A pair's end: what is compared, counted, recorded and remembered."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from proxy.compare.verdicts import DISAGREEMENTS
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.model import DISAGREEMENT_REASONS, Fault
from proxy.observer.blocks import Blocks
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import Pair
from proxy.observer.route_rules import RouteRules
from proxy.privacy.actions import key_id, keyed_hash
from proxy.routing.table import Table
from proxy.sinks.sink import Token
from proxy.tally import Key, block_path, read_slots
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part, table_of


class ListSink:
    """Keeps the records; takes so many."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.dropped = 0
        self.records: list[dict[str, Any]] = []
        self.lies = False

    def has_room(self) -> bool:
        return self.lies or len(self.records) < self.room

    def submit(self, line: bytes, token: Token) -> bool:
        assert line.endswith(b"\n")
        if len(self.records) >= self.room:
            return False
        self.records.append(orjson.loads(line))
        return True

    def drop(self) -> None:
        self.dropped += 1


class ListTracer:
    """Keeps the pairs."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.error: Exception | None = None

    def trace(self, table: Table, pair: Pair) -> None:
        if self.error is not None:
            raise self.error
        self.pairs.append(pair)


class Bench:
    """Outcomes with their surroundings."""

    def __init__(self, run_dir: Path, config: str = BASE_CONFIG, judge: Any = compare) -> None:
        self.run_dir = run_dir
        self.table = table_of(config)
        self.blocks = Blocks(run_dir)
        self.sink = ListSink()
        self.tracer = ListTracer()
        self.outcomes = Outcomes(self.blocks, self.sink, self.tracer, b"k" * 32, judge)
        self.blocks.admit(self.table, [0])
        self.outcomes.admit(self.table)

    def settle(self, primary: Primary | None, *shadows: ShadowPart, shed: bool = False) -> None:
        pair = Pair(0, primary, {part.shadow: part for part in shadows})
        self.outcomes.settle(pair, shed=shed)

    def counts(self) -> Counter[Key]:
        return Counter(
            {key: n for key, n in self._all().items() if not key[1].startswith(("distance", "reason"))}
        )

    def reasons(self) -> dict[str, int]:
        return {key[1]: n for key, n in self._all().items() if key[1].startswith("reason")}

    def _all(self) -> Counter[Key]:
        layout = self.table.observer_layout
        return layout.counts(read_slots(block_path(self.run_dir, "o0", 1), layout.size))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def comparison_key(outcome: str, shadow: str = "wine-v4", variant: str = "v1") -> Key:
    return ("comparison", outcome, "wine", variant, shadow)


def test_agreement_and_disagreement(bench: Bench) -> None:
    """Each answered shadow is judged on its own, and the record says how."""
    bench.settle(
        primary_part(shadows_sent=3), shadow_part(), shadow_part(shadow=1, response_body=agreeing(2))
    )
    assert bench.counts() == {comparison_key("agree"): 1, comparison_key("disagree", "wine-v5"): 1}
    (record,) = bench.sink.records
    assert [shadow["comparison"]["result"] for shadow in record["shadows"]] == ["agree", "disagree"]


def test_counts_are_by_assigned_variant(bench: Bench) -> None:
    """A challenger's disagreement is the challenger's."""
    bench.settle(primary_part(variant=1, flags=0), shadow_part(variant=1, response_body=agreeing(2)))
    assert bench.counts() == {comparison_key("disagree", variant="v2"): 1}


UNCOMPARABLE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "request's answer cut": ({"flags": Flag.RESPONSE_TRUNCATED | Flag.LOGGED}, {}, "truncated"),
    "shadow's answer cut": ({}, {"flags": Flag.RESPONSE_TRUNCATED}, "truncated"),
    "answer broke off": ({"fault": Fault.RESET, "flags": Flag.CUT | Flag.LOGGED}, {}, "truncated"),
    "champion answered for it": ({"variant": 1, "served_by": 0, "fault": Fault.CONNECT}, {}, "fallback"),
    "client left": ({"flags": Flag.CLIENT_LEFT | Flag.LOGGED, "status": 499}, {}, "client_left"),
    "both failed": ({"status": 500}, {"status": 503}, "both_failed"),
}


@pytest.mark.parametrize("name", UNCOMPARABLE)
def test_uncomparable(bench: Bench, name: str) -> None:
    """What we did not see whole is no disagreement."""
    primary, shadow, reason = UNCOMPARABLE[name]
    shadow = {"variant": primary.get("variant", 0), **shadow}
    bench.settle(primary_part(**primary), shadow_part(**shadow))
    assert [(key[1], number) for key, number in bench.counts().items()] == [("uncomparable", 1)]
    assert bench.sink.records[0]["shadows"][0]["comparison"]["reason"] == reason


def test_a_failed_shadow_is_not_compared(bench: Bench) -> None:
    """A shadow's fault was counted by the worker; here it has no outcome."""
    bench.settle(primary_part(flags=0), shadow_part(fault=Fault.TIMEOUT, status=0))
    assert bench.counts() == {}


def test_a_shadow_without_its_primary_is_dropped(bench: Bench) -> None:
    """Nothing to compare with: dropped."""
    bench.settle(None, shadow_part(), shadow_part(shadow=1, fault=Fault.RESET))
    assert bench.counts() == {comparison_key("dropped"): 1}


def test_shedding_drops_comparisons_and_still_records(bench: Bench) -> None:
    """An evicted pair's shadows are dropped, its record is written with what is there."""
    bench.settle(primary_part(), shadow_part(), shed=True)
    assert bench.counts() == {comparison_key("dropped"): 1}
    assert bench.sink.records[0]["shadows"][0]["comparison"] is None


def test_a_record_without_its_shadow(bench: Bench) -> None:
    """A primary whose shadow part never came is recorded without it."""
    bench.settle(primary_part())
    assert bench.sink.records[0]["shadows"] == []


@pytest.mark.parametrize("lies", [False, True])
def test_a_full_sink_is_counted(bench: Bench, lies: bool) -> None:
    """A record that the sink does not take is dropped, with the two requests it stands for; the comparison stands."""
    bench.sink.room, bench.sink.lies = 0, lies
    bench.settle(primary_part(), shadow_part())
    dropped, lost = ("sink", "dropped", "wine"), ("sink", "lost_thousandths", "wine")
    assert bench.counts() == {comparison_key("agree"): 1, dropped: 1, lost: 2000}


PARTS_OF_OTHERS = {
    "another version": {"version": 2},
    "another variant": {"variant": 1},
    "another route": {"route": 1},
    "a shadow that is none": {"shadow": 9},
}


@pytest.mark.parametrize("name", PARTS_OF_OTHERS)
def test_a_part_that_does_not_belong_is_dropped(bench: Bench, name: str) -> None:
    """A part whose place differs from its primary's is not compared, nor does it break the record."""
    bench.settle(primary_part(), shadow_part(**PARTS_OF_OTHERS[name]))
    assert comparison_key("agree") not in bench.counts()
    assert len(bench.sink.records) == 1


@pytest.mark.parametrize("changes", [{"route": 7}, {"variant": 7}, {"served_by": 7}, {"version": 9}])
def test_a_primary_that_no_table_explains(bench: Bench, changes: dict[str, int]) -> None:
    """A primary with indexes that name nothing is dropped with its shadows."""
    bench.settle(primary_part(**changes), shadow_part())
    assert bench.counts()[comparison_key("dropped")] == 1
    assert bench.sink.records == []


def failing(rule: ComparisonRule, primary: Answer, shadow: Answer) -> Comparison:
    raise ValueError(f"could not read {primary.body!r}")


def test_a_bug_in_the_comparison_is_uncomparable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A comparison that raises counts as uncomparable, is logged once per kind, and quotes no answer."""
    bench = Bench(tmp_path, judge=failing)
    for _ in range(3):
        bench.settle(primary_part(response_body=b"s3cr3t"), shadow_part())
    assert bench.counts() == {comparison_key("uncomparable"): 3}
    assert bench.sink.records[0]["shadows"][0]["comparison"]["reason"] == "error"
    assert bench.outcomes.errors == 3
    assert len(caplog.records) == 1
    assert "ValueError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_bug_in_the_record_is_a_failed_record(bench: Bench) -> None:
    """A record that cannot be built is counted as failed and stops nothing."""
    bench.settle(primary_part(unit_source=200), shadow_part())
    assert bench.counts() == {comparison_key("agree"): 1, ("sink", "failed", "wine"): 1}


def test_tracing(bench: Bench) -> None:
    """Traced exchanges go to the tracer, others do not; its faults stop nothing."""
    bench.settle(primary_part(flags=Flag.TRACED))
    bench.settle(primary_part(flags=0))
    assert len(bench.tracer.pairs) == 1
    bench.tracer.error = RuntimeError("x")
    bench.settle(primary_part(flags=Flag.TRACED))
    assert bench.outcomes.errors == 1


def test_every_judged_pair_is_told(bench: Bench) -> None:
    """Whoever keeps book of disagreement hears of each pair that was judged, and of no other."""
    heard: list[tuple[int, str]] = []

    class Book:
        def note(self, rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison) -> None:
            heard.append((part.shadow, comparison.result))

    bench.outcomes = Outcomes(bench.blocks, bench.sink, bench.tracer, b"k" * 32, witness=Book())
    bench.outcomes.admit(bench.table)
    bench.settle(primary_part(), shadow_part(), shadow_part(shadow=1, response_body=agreeing(2)))
    bench.settle(primary_part(), shadow_part(flags=Flag.RESPONSE_TRUNCATED))
    bench.settle(primary_part(), shadow_part(fault=Fault.TIMEOUT), shadow_part(shadow=7))
    bench.settle(primary_part(), shadow_part(), shed=True)
    assert heard == [(0, "agree"), (1, "disagree"), (0, "uncomparable")]


def test_a_book_that_fails_stops_nothing(bench: Bench) -> None:
    """A fault in keeping book is counted; the pair is counted and recorded all the same."""

    class Broken:
        def note(self, *_: object) -> None:
            raise RuntimeError("x")

    bench.outcomes = Outcomes(bench.blocks, bench.sink, bench.tracer, b"k" * 32, witness=Broken())
    bench.outcomes.admit(bench.table)
    bench.settle(primary_part(), shadow_part())
    assert bench.outcomes.errors == 1
    assert bench.counts() == {comparison_key("agree"): 1}
    assert len(bench.sink.records) == 1


REASONS = {
    "label": shadow_part(response_body=agreeing(2)),
    "status": shadow_part(status=500),
    "format": shadow_part(response_body=b"{"),
    "other": shadow_part(response_body=agreeing(2)),
}


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_are_counted(tmp_path: Path, reason: str) -> None:
    """Each disagreement is counted under its reason, one that has no name yet among the others."""

    def judge(*arguments: Any) -> Comparison:
        found = compare(*arguments)
        return found._replace(reason="made up") if reason == "other" else found

    bench = Bench(tmp_path, judge=judge)
    bench.settle(primary_part(flags=0), REASONS[reason])
    bench.settle(primary_part(flags=0), shadow_part())
    assert bench.reasons() == {f"reason_{reason}": 1}


def test_a_reload_changes_only_new_exchanges(bench: Bench) -> None:
    """What is compared and how follows the version of the exchange."""
    later = table_of(BASE_CONFIG.replace("as: classification", "as: exact"), version=2)
    bench.blocks.admit(later, [0])
    bench.outcomes.admit(later)
    other = agreeing(1).replace(b'"wine"', b'"another"')
    bench.settle(primary_part(), shadow_part(response_body=other))
    bench.settle(primary_part(version=2), shadow_part(version=2, response_body=other))
    assert [r["shadows"][0]["comparison"]["result"] for r in bench.sink.records] == ["agree", "disagree"]
    bench.outcomes.retire([1])
    bench.blocks.retire([1])


def test_the_vocabulary_of_reasons_is_that_of_the_comparison() -> None:
    """Every reason to disagree has a place among the counts, and no place is for a reason that there is not."""
    assert (*DISAGREEMENTS, "other") == DISAGREEMENT_REASONS


def test_another_key(bench: Bench) -> None:
    """With another key of hashes every record is written with it, of the tables that are known already too."""
    bench.settle(primary_part(), shadow_part())
    bench.outcomes.rekey(b"k" * 32)
    bench.settle(primary_part(), shadow_part())
    bench.outcomes.rekey(b"l" * 32)
    bench.settle(primary_part(), shadow_part())
    first, second, third = ((record["unit_key_id"], record["unit"]) for record in bench.sink.records)
    assert first == second == (key_id(b"k" * 32), keyed_hash(b"k" * 32, b"ada@example.org"))
    assert third == (key_id(b"l" * 32), keyed_hash(b"l" * 32, b"ada@example.org"))
