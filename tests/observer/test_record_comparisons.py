"""What a record says of comparisons: figures, places as far as they may be named, and the champion's second answer."""

from typing import Any

import orjson
import pytest

from proxy.compare import Answer, Comparison, ComparisonRule, Difference, compare
from proxy.exchange import ShadowPart
from proxy.model import Fault
from proxy.observer.record import build_line, build_record, compile_record_rule
from proxy.observer.record_comparisons import comparison_document, hashed_label
from tests.observer.exchanges import BASE_CONFIG, primary_part, shadow_part, table_of

KEY = b"k" * 32
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


ANSWERS = b'{"predictions":[[0.25,0.75],[0.5,0.5]]}', b'{"predictions":[[0.75,0.25],[0.5,0.5]]}'
NUMBERS = b'{"predictions":[1.5,2]}', b'{"predictions":[1.5,3]}'


def judged(answers: tuple[bytes, bytes] = ANSWERS, method: str = "classification") -> Comparison:
    primary, shadow = (Answer(200, b"application/json", None, body) for body in answers)
    return compare(ComparisonRule(method), primary, shadow)


def with_rows(
    log: str, answers: tuple[bytes, bytes] = ANSWERS, method: str = "classification"
) -> dict[str, Any]:
    """Return the record of one pair of answers under a configuration of ``log``."""
    config = BASE_CONFIG.replace("log: {percent: 50, body: 1KiB}", f"log: {log}")
    route = table_of(config).routes[0]
    rule, primary = compile_record_rule(route, KEY), primary_part(response_body=answers[0])
    shadows = {0: shadow_part(response_body=answers[1])}
    record = build_record(rule, route, primary, shadows, {0: judged(answers, method)})
    parsed: dict[str, Any] = orjson.loads(build_line(record))
    return parsed


def test_rows() -> None:
    """Each row stands with both values, those that disagree first; without a bound on them there are none."""
    record = with_rows("{percent: 50}")
    assert record["rows"] == [
        {
            "shadow": "wine-v4", "row": 0, "agrees": False, "reason": "label", "distance": 0.5,
            "primary_label": "1", "primary_score": 0.75, "shadow_label": "0", "shadow_score": 0.75,
        },
        {
            "shadow": "wine-v4", "row": 1, "agrees": True, "distance": 0.0,
            "primary_label": "0", "primary_score": 0.5, "shadow_label": "0", "shadow_score": 0.5,
        },
    ]  # fmt: skip
    assert record["rows_omitted"] == 0
    assert not {"rows", "rows_omitted"} & with_rows("{percent: 50, rows: 0}").keys()


def test_numbers() -> None:
    """Predicted numbers are numbers."""
    first, second = with_rows("{percent: 50}", NUMBERS, "regression")["rows"]
    assert (first["primary_number"], first["shadow_number"], first["agrees"]) == (2.0, 3.0, False)
    assert (second["primary_number"], second["shadow_number"], second["agrees"]) == (1.5, 1.5, True)


def test_rows_are_bounded() -> None:
    """Beyond the bound rows are counted, and what two shadows say is cut alike."""
    assert (
        len(with_rows("{percent: 50, rows: 1}")["rows"])
        == with_rows("{percent: 50, rows: 1}")["rows_omitted"]
        == 1
    )
    route = table_of(BASE_CONFIG.replace("body: 1KiB", "rows: 3")).routes[0]
    shadows = {0: shadow_part(), 1: shadow_part(shadow=1)}
    record = build_record(
        compile_record_rule(route, KEY), route, primary_part(), shadows, {0: judged(), 1: judged()}
    )
    assert [(row["shadow"], row["row"], row["agrees"]) for row in record["rows"]] == [
        ("wine-v4", 0, False), ("wine-v5", 0, False), ("wine-v4", 1, True),
    ]  # fmt: skip
    assert record["rows_omitted"] == 1


def test_no_rows() -> None:
    """What was not compared has none, and the champion's second answer has none."""
    uncomparable = Comparison("uncomparable", None, "truncated", "auto", 0, 0)
    record = record_of({0: shadow_part(), 2: shadow_part(shadow=2)}, {0: uncomparable, 2: judged()})
    assert not {"rows", "rows_omitted"} & record.keys()


CONCEALED = {
    "something of the answers is left out": "{percent: 50, redact: [{json: /predictions/0}]}",
    "no content": "{percent: 50, content: false}",
    "no body": "{percent: 50, body: 0B}",
}


@pytest.mark.parametrize("log", CONCEALED.values(), ids=CONCEALED)
def test_values_that_may_not_be_written(log: str) -> None:
    """Where an answer is not written as it was, labels are hashes as in the table of confusions and numbers are not
    there; whether the two agree stays.
    """
    record = with_rows(log)
    assert record["rows"] == [
        {
            "shadow": "wine-v4", "row": 0, "agrees": False, "reason": "label",
            "primary_label": hashed_label(KEY, "1"), "shadow_label": hashed_label(KEY, "0"),
        },
        {
            "shadow": "wine-v4", "row": 1, "agrees": True,
            "primary_label": hashed_label(KEY, "0"), "shadow_label": hashed_label(KEY, "0"),
        },
    ]  # fmt: skip
    for row in with_rows(log, NUMBERS, "regression")["rows"]:
        assert not {"primary_number", "shadow_number", "distance"} & row.keys()


def test_one_answer_that_is_not_written_conceals_both() -> None:
    """Of two values and whether they are the same, one tells the other."""
    log = "{percent: 50, redact: [{json: /extra}]}"
    answers = (b'{"predictions":["a"]}', b'{"predictions":["a"],"extra":1}')
    for pair in (answers, answers[::-1]):
        (row,) = with_rows(log, pair)["rows"]
        assert row["primary_label"] == row["shadow_label"] == hashed_label(KEY, "a")
    (row,) = with_rows(log, (answers[0], answers[0]))["rows"]
    assert row["primary_label"] == "a"


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
