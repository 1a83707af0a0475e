"""What a record says of comparisons: figures, places as far as they may be named, and the champion's second answer."""

from typing import Any

import orjson
import pytest

from proxy.compare import Comparison, Difference
from proxy.exchange import ShadowPart
from proxy.model import Fault
from proxy.observer.record import build_line, build_record, compile_record_rule
from proxy.observer.record_comparisons import comparison_document
from tests.observer.exchanges import BASE_CONFIG, primary_part, shadow_part, table_of

AGREE = Comparison("agree", 0.0, None, "json", 2, 0)
DIFFERENT = (
    Difference("/outputs/0/score", "1", "2"),
    Difference("/outputs/7/score", "1", "2"),
    Difference("/by/ada@example.org", "1", "2"),
    Difference("", "a", "b"),
)
DISAGREE = Comparison("disagree", 0.5, "fields", "json", 2, 1, DIFFERENT, (), (("max_abs", 1.0),))
NOISY = BASE_CONFIG.replace("as: classification", "as: json, noise: 50")


def record_of(
    shadows: dict[int, ShadowPart], comparisons: dict[int, Comparison], config: str = NOISY
) -> dict[str, Any]:
    route = table_of(config).routes[0]
    record = build_record(compile_record_rule(route, b"k" * 32), route, primary_part(), shadows, comparisons)
    parsed: dict[str, Any] = orjson.loads(build_line(record))
    return parsed


def test_figures_and_places() -> None:
    """Scores stand under their names; places are those of the differences, each once, without what detectors find."""
    document = comparison_document(DISAGREE, tells_fields=True)
    assert document is not None
    assert document["scores"] == {"max_abs": 1.0}
    assert document["fields"] == ["/outputs/*/score", "(other)"]
    assert "fields" not in (comparison_document(DISAGREE, tells_fields=False) or {})


def test_nothing_to_say() -> None:
    """What agrees, has no other figure, or differs as a whole says no more than it did."""
    whole = Comparison("disagree", 1.0, "status", "json", 1, 1, (Difference("", "status 200", "status 500"),))
    for comparison in (AGREE, whole):
        assert list(comparison_document(comparison, tells_fields=True) or {}) == [
            "result", "distance", "reason", "method", "rows", "rows_disagreeing",
        ]  # fmt: skip
    assert comparison_document(None, tells_fields=True) is None


def test_the_champion_asked_twice() -> None:
    """A record of a triple says how the second answer compares; what it was, and that it is a copy, it does not say."""
    shadows = {0: shadow_part(), 2: shadow_part(shadow=2, response_body=b'{"of the champion":2}')}
    record = record_of(shadows, {0: DISAGREE, 2: AGREE})
    assert [shadow["comparison"]["result"] for shadow in record["shadows"]] == ["disagree"]
    assert record["noise"] == {
        "status": 200,
        "fault": None,
        "duration_ms": 4.0,
        "comparison": {
            "result": "agree", "distance": 0.0, "reason": None, "method": "json", "rows": 2, "rows_disagreeing": 0,
        },
    }  # fmt: skip
    assert "of the champion" not in str(record)


def test_a_second_answer_that_failed() -> None:
    """It is said, and compared with nothing."""
    failed = shadow_part(shadow=2, status=0, fault=Fault.RESET)
    noise = record_of({2: failed}, {})["noise"]
    assert (noise["status"], noise["fault"], noise["comparison"]) == (None, "reset", None)


@pytest.mark.parametrize("config", [NOISY, BASE_CONFIG])
def test_asked_once(config: str) -> None:
    """Without a second answer a record has no word of it."""
    assert "noise" not in record_of({0: shadow_part()}, {0: AGREE}, config)


HIDING = {
    "redaction": "{percent: 50, redact: [{json: /nothing}]}",
    "no content": "{percent: 50, content: false}",
}


@pytest.mark.parametrize("log", HIDING.values(), ids=HIDING)
def test_places_that_may_not_be_named(log: str) -> None:
    """Where something must not be written, the name of a place may be just that."""
    config = NOISY.replace("log: {percent: 50, body: 1KiB}", f"log: {log}")
    record = record_of({0: shadow_part(), 2: shadow_part(shadow=2)}, {0: DISAGREE, 2: DISAGREE}, config)
    assert "/outputs" not in str([record["shadows"][0]["comparison"], record["noise"]])
    shown = record_of({0: shadow_part(), 2: shadow_part(shadow=2)}, {0: DISAGREE, 2: DISAGREE})
    assert "/outputs" in str([shown["shadows"][0]["comparison"], shown["noise"]])
