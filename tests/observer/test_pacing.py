"""The pace of streamed answers, from the frames to the counts and the record."""

from array import array
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.compare.pace import Pace
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.model import Fault
from proxy.observer.accounting import build_accounts
from proxy.observer.pacing import pace_document, pace_of
from tests.observer.exchanges import BASE_CONFIG, primary_part, shadow_part
from tests.observer.test_outcomes import Bench

MS = 1_000_000
LINES = b"content-type: text/event-stream\r\n"


def streamed(times_ms: Iterable[int]) -> dict[str, Any]:
    """Return what a part has of a chat whose events came at these times, one token each."""
    body, blob = b"", array("Q")
    for number, at in enumerate(times_ms):
        body += b"data: " + orjson.dumps({"choices": [{"delta": {"content": str(number)}}]}) + b"\n\n"
        blob.extend((at * MS, len(body)))
    return {"response_body": body + b"data: [DONE]\n\n", "response_lines": LINES, "arrivals": blob.tobytes()}


PRIMARY = primary_part(**streamed([50, 60, 90]))
SHADOW = shadow_part(**streamed([200, 240]))


@pytest.mark.parametrize("part", [PRIMARY, SHADOW], ids=["client", "shadow"])
def test_of_a_streamed_answer(part: Primary | ShadowPart) -> None:
    """Times since the start, and what lies between."""
    pace = pace_of(part)
    assert pace is not None
    assert pace.first_token_ns == (50 if isinstance(part, Primary) else 200) * MS


def test_of_an_answer_longer_than_its_copy() -> None:
    """What was copied has a pace, which says that it is of a part."""
    whole = pace_of(PRIMARY)
    cut = pace_of(replace(PRIMARY, flags=PRIMARY.flags | Flag.RESPONSE_TRUNCATED))
    assert whole is not None
    assert cut == whole._replace(is_partial=True)


NONE: dict[str, Primary | ShadowPart] = {
    "in one piece": replace(PRIMARY, arrivals=b""),
    "an error": replace(PRIMARY, status=500),
    "compressed": replace(PRIMARY, response_lines=LINES + b"content-encoding: gzip\r\n"),
    "no stream": replace(SHADOW, response_lines=b"content-type: application/json\r\n"),
    "nothing that was generated": replace(SHADOW, response_body=b"data: 1\n\n"),
}


@pytest.mark.parametrize("name", NONE)
def test_of_others(name: str) -> None:
    """What is not a stream of generated text, or cannot be read as it came, has none."""
    assert pace_of(NONE[name]) is None


def test_the_document() -> None:
    """Milliseconds and tokens per second, null where there is nothing to say."""
    assert pace_document(Pace(50 * MS, 90 * MS, 3, 5, 10 * MS, 30 * MS, 30 * MS, False)) == {
        "time_to_first_token_ms": 50.0,
        "time_to_last_token_ms": 90.0,
        "tokens": 5,
        "tokens_per_second": 100.0,
        "parts": 3,
        "gap_p50_ms": 10.0,
        "gap_p99_ms": 30.0,
        "gap_max_ms": 30.0,
        "is_partial": False,
    }
    alone = pace_document(Pace(5, 5, 1, 1, None, None, None, False))
    assert {alone[name] for name in ("tokens_per_second", "gap_p50_ms", "gap_p99_ms", "gap_max_ms")} == {None}


def paces(bench: Bench) -> dict[tuple[str, str, str], tuple[int, float, int, float]]:
    """Return count and sum (ms) of both histograms of each arm."""
    accounts = build_accounts(bench.counts(), bench.table)
    return {
        arm: (
            pace.first_token.count,
            pace.first_token.total / MS,
            pace.per_token.count,
            pace.per_token.total / MS,
        )
        for arm, pace in accounts.paces.items()
    }


def test_both_arms_are_counted_and_recorded(tmp_path: Path) -> None:
    """The client's answer by its variant, the copy's without one; the record has both."""
    bench = Bench(tmp_path)
    bench.settle(PRIMARY, SHADOW)
    assert paces(bench) == {
        ("wine", "v1", "wine-v1"): (1, 50, 1, 20),
        ("wine", "", "wine-v4"): (1, 200, 1, 40),
    }
    (record,) = bench.sink.records
    assert record["response"]["pace"]["time_to_first_token_ms"] == 50.0
    assert record["shadows"][0]["pace"]["tokens"] == 2


def test_an_answer_in_one_piece_has_no_series(tmp_path: Path) -> None:
    """Models that stream nothing are not shown with zeros."""
    bench = Bench(tmp_path)
    bench.settle(primary_part(), shadow_part())
    assert paces(bench) == {}
    (record,) = bench.sink.records
    assert "pace" not in record["response"]


def test_what_says_nothing_of_the_arm_is_not_counted(tmp_path: Path) -> None:
    """A fallback's answer is the champion's, a failed copy is none, and what is shed is not read."""
    bench = Bench(tmp_path)
    bench.settle(replace(PRIMARY, served_by=1), replace(SHADOW, fault=int(Fault.RESET)))
    bench.settle(PRIMARY, SHADOW, shed=True)
    assert paces(bench) == {}
    assert bench.sink.records[0]["response"]["pace"]["tokens"] == 3


def test_a_bug_in_the_pace_spoils_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair is compared and recorded all the same, and the fault is counted."""

    def fail(part: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("proxy.observer.outcomes.pace_of", fail)
    bench = Bench(tmp_path, BASE_CONFIG)
    bench.settle(replace(PRIMARY, flags=Flag.MIRRORED | Flag.LOGGED), SHADOW)
    assert bench.outcomes.errors == 2
    assert len(bench.sink.records) == 1
    assert paces(bench) == {}
