"""What is told, and what fails a build."""

from typing import Any

import orjson
import pytest

from proxy.compare import Comparison, Difference
from proxy.records.reading import Reading
from proxy.replay.document import Limit, build_document, build_line, judge_limit
from proxy.replay.judging import Outcome
from proxy.replay.results import Results
from tests.replay.asking import asked, record_of

AGREE = Comparison("agree", 0.0, None, "json", 1, 0)
DISAGREE = Comparison("disagree", 0.5, "fields", "json", 1, 1, (Difference("/a", "1", "2"),))


def results_of(agree: int = 0, disagree: int = 0, failed: int = 0, *, shows_values: bool = True) -> Results:
    results = Results()
    outcomes = [(AGREE, asked())] * agree + [(DISAGREE, asked())] * disagree
    every: list[tuple[Comparison | None, Any]] = [*outcomes, *[(None, asked(fault="reset"))] * failed]
    for number, (comparison, new) in enumerate(every):
        record = record_of(number % 1000, unit=f"u{number}", inclusion_probability=1.0)
        results.add(Outcome(record, new, None, 0, comparison), shows_values=shows_values)
    return results


VERDICTS: dict[str, tuple[Results, Limit, str]] = {
    "all agree": (results_of(10), Limit(0.0), "passed"),
    "at the limit": (results_of(98, 2), Limit(0.02), "passed"),
    "over it": (results_of(97, 3), Limit(0.02), "over"),
    "over it, not surely": (results_of(97, 3), Limit(0.02, is_confident=True), "doubtful"),
    "surely over it": (results_of(80, 20), Limit(0.02, is_confident=True), "over"),
    "what failed counts": (results_of(97, 0, 3), Limit(0.02), "over"),
    "nothing": (results_of(), Limit(1.0), "nothing compared"),
    "everything failed": (results_of(0, 0, 5), Limit(1.0), "nothing compared"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts(name: str) -> None:
    """The share decides; with ``confident`` the whole interval; nothing compared never passes."""
    results, limit, verdict = VERDICTS[name]
    assert judge_limit(limit, results)[0] == verdict


@pytest.mark.parametrize("probability", [1.0, 0.3, 0.07, 1 / 3])
@pytest.mark.parametrize("count", [3, 7, 49, 300])
def test_a_share_at_the_limit_is_not_over_it(probability: float, count: int) -> None:
    """Whatever records weigh, and in whatever order they come: the last digit of a sum decides nothing."""
    for wrong in range(3):
        results = Results()
        for number in range(count):
            record = record_of(number, unit=f"u{number}", inclusion_probability=probability)
            comparison = DISAGREE if number >= count - wrong else AGREE
            results.add(Outcome(record, asked(), None, 0, comparison), shows_values=True)
        assert judge_limit(Limit(float(f"{wrong / count * 100:.14g}") / 100), results)[0] == "passed"
        if wrong:
            assert judge_limit(Limit(wrong / count * 0.999), results)[0] == "over"


def test_the_document() -> None:
    """It holds every count, the share with its interval, and what went into it."""
    results = results_of(90, 9, 1)
    results.refuse("query")
    reading = Reading(files=2, records=101, damaged=1, problems=["a:1: no JSON"])
    document = orjson.loads(orjson.dumps(build_document(results, reading, Limit(0.2))))
    assert (document["sent"], document["answered"], document["failed"]) == (100, 99, {"reset": 1})
    assert (document["compared"], document["agree"], document["disagree"]) == (99, 90, 9)
    assert document["reasons"] == [{"method": "json", "reason": "fields", "count": 9}]
    assert document["not_replayed"] == {"query": 1}
    assert document["log"]["problems"] == ["a:1: no JSON"]
    share = document["disagreement"]
    assert share["share"] == pytest.approx(9 / 99)
    assert 0.04 < share["low"] < share["share"] < share["high"] < 0.17
    assert document["limit"]["wrong"]["share"] == pytest.approx(0.1)
    assert document["limit"]["verdict"] == "passed"
    assert document["latency"]["ratio"]["p50"] == pytest.approx(1 / 2.5, rel=0.1)
    assert [group["route"] for group in document["groups"]] == ["wine"]
    (first, *_) = document["examples"]
    assert first["differences"] == [{"path": "/a", "reference": "1", "new": "2"}]


def test_requests_of_one_unit_count_together() -> None:
    """An interval from few units is wide, however many requests they sent."""
    many, few = Results(), Results()
    for number in range(200):
        comparison = DISAGREE if number % 20 < 2 else AGREE
        for results, unit in ((many, f"u{number}"), (few, f"u{number % 20}")):
            record = record_of(number, unit=unit, inclusion_probability=1.0)
            results.add(Outcome(record, asked(), None, 0, comparison), shows_values=True)
    wide, narrow = (build_document(results, Reading(), None)["disagreement"] for results in (few, many))
    assert wide["share"] == narrow["share"] == pytest.approx(0.1)
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_nothing_at_all() -> None:
    """A log without a record gives a document too."""
    document = build_document(Results(), Reading(), None)
    assert (document["disagreement"], document["limit"], document["latency"]["new_ms"]) == (None, None, {})
    orjson.dumps(document)


def test_values_that_must_not_be_shown() -> None:
    """Where values are hidden neither they nor the names of their places are told, only how many."""
    (example, *_) = build_document(results_of(0, 1, shows_values=False), Reading(), None)["examples"]
    assert (example["differences"], example["differences_hidden"]) == ([], 1)
    line = build_line(Outcome(record_of(), asked(), None, 0, DISAGREE), shows_values=False)
    assert b"/a" not in line.replace(b"/v2", b"")


def test_a_line() -> None:
    """A line says what came of one request; of one that failed, how."""
    line = orjson.loads(
        build_line(Outcome(record_of(), asked(), None, 2_000_000, DISAGREE), shows_values=True)
    )
    assert (line["request_id"], line["status"], line["fault"], line["late_ms"]) == ("r0", 200, None, 2.0)
    assert (line["reference_status"], line["reference_fault"]) == (200, None)
    comparison = line["comparison"]
    assert (comparison["result"], comparison["reason"], comparison["method"]) == (
        "disagree",
        "fields",
        "json",
    )
    failed = Outcome(record_of(), asked(fault="timeout"), asked(fault="reset"), 0, None)
    line = orjson.loads(build_line(failed, shows_values=True))
    assert (line["status"], line["fault"], line["comparison"]) == (None, "timeout", None)
    assert (line["reference_status"], line["reference_fault"]) == (None, "reset")


def test_mean_distance() -> None:
    """The mean distance is of what was compared, weighted like the share that disagrees."""
    results = Results()
    assert build_document(results, Reading(), None)["mean_distance"] is None
    judged = Comparison("agree", 0.0, None, "json", 1, 0)
    for number, distance in enumerate((0.0, 0.25, 0.5)):
        outcome = Outcome(record_of(number), asked(), None, 0, judged._replace(distance=distance))
        results.add(outcome, shows_values=True)
    cut = Comparison("uncomparable", None, "truncated", "auto", 0, 0)
    results.add(Outcome(record_of(4), asked(), None, 0, cut), shows_values=True)
    found = build_document(results, Reading(), None)["mean_distance"]
    assert found["mean"] == pytest.approx(0.25)
    assert 0.0 <= found["low"] <= 0.25 <= found["high"] <= 1.0
