"""The guard over the hot path's instructions: its arithmetic and its words. No instruction is counted here."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.counted import COUNTED, PARTS_EACH, REQUESTS
from benchmarks.instructions import ALLOWED, accepted, judged, per_request, total
from benchmarks.micro_observer import PAIR_SCRIPTS, PairScript, PairStage
from benchmarks.micro_road import EVENT_CHUNK, SCRIPTS, Script, Stage

HERE = {"python": "CPython 3.11.2", "interpreter": "aa", "httptools": "0.9.0"}
THERE = {"python": "CPython 3.12.1", "interpreter": "bb", "httptools": "0.9.0"}
RECORDS = [{"build": HERE, "instructions": {"split": 1000, "mirror": 2000}, "reason": "the first"}]


def test_what_is_counted_exists() -> None:
    """Every counted stage is one of the road's or one of the observer's."""
    assert set(COUNTED) <= {script.name for script in (*SCRIPTS, *PAIR_SCRIPTS)}


@pytest.mark.parametrize(
    "script", [each for each in SCRIPTS if not each.is_stream], ids=lambda script: script.name
)
async def test_each_script_is_answered(script: Script) -> None:
    """Every request of a script gets the model's answer: none is refused, none is left over."""
    stage = Stage(script, asyncio.get_running_loop())
    stage.run(20)
    counts = dict(stage.table.layout.counts(stage.table.slots))
    assert sum(number for key, number in counts.items() if key[:2] == ("variant", "code_200")) == 20
    assert stage.in_flight == 0


@pytest.mark.parametrize("script", PAIR_SCRIPTS, ids=lambda script: script.name)
async def test_each_pair_is_compared(script: PairScript, tmp_path: Path) -> None:
    """Every pair of a script is compared, and one of a hundred disagrees."""
    stage = PairStage(script, tmp_path, 100)
    await stage.run(list(stage.reads(100)))
    assert stage.compared() == {"agree": 99, "disagree": 1}
    await stage.close()


@pytest.mark.parametrize(
    "script", [each for each in SCRIPTS if each.is_stream], ids=lambda script: script.name
)
async def test_each_event_of_a_stream_is_passed_on(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event reaches the client in a write of its own, and the stream goes on."""
    written: list[bytes] = []
    stage = Stage(script, asyncio.get_running_loop())
    monkeypatch.setattr(stage.client.transport, "write", written.append, raising=False)
    stage.run(20)
    stage.run(1)
    assert written[-21:] == [EVENT_CHUNK % number for number in range(21)]
    assert stage.in_flight == 1


def test_start_up_cancels() -> None:
    """A request's instructions are the second run's beyond the first's, divided by the requests it had more."""
    parts = [7_000_000]
    for number in range(len(COUNTED)):
        once = 5_000 + (number + 1) * REQUESTS
        parts[PARTS_EACH * number :] = [999_999, once, once + (number + 1) * REQUESTS]
    assert list(per_request(parts).values()) == [number + 1 for number in range(len(COUNTED))]


def test_sum_of_a_part_is_read() -> None:
    """The sum is read from callgrind's own line, and its absence is an error."""
    assert total("events: Ir\nsummary: 1234\n\nfn=(1)\n") == 1234
    with pytest.raises(ValueError, match="summary"):
        total("events: Ir\n")


@pytest.mark.parametrize(
    ("split", "is_failure", "word"),
    [
        pytest.param(1000 * (1 + ALLOWED) - 1, False, "+4.9%", id="as much as is allowed"),
        pytest.param(1060, True, "split by 6.0%", id="more"),
        pytest.param(900, False, "cheaper than the record: split", id="less"),
    ],
)
def test_rise_fails(split: float, is_failure: bool, word: str) -> None:
    """Only a rise over the allowed one fails, and says how to accept it."""
    judgement = judged(HERE, {"split": round(split), "mirror": 2000}, RECORDS)
    said = "\n".join(judgement.lines)
    assert judgement.is_failure == is_failure
    assert word in said
    assert ("--accept" in said) == (word[0] != "+")


def test_new_stage_has_to_be_accepted() -> None:
    """A stage that no record knows fails until it is in one."""
    judgement = judged(HERE, {"split": 1000, "mirror": 2000, "chat": 5}, RECORDS)
    assert judgement.is_failure
    assert "chat (new)" in judgement.lines[-1]


def test_stage_accepted_on_another_build_is_shown() -> None:
    """A stage that only another build's record knows is told and does not fail: nobody could count it here."""
    other = {"build": THERE, "instructions": {"chat": 7}, "reason": "chats"}
    judgement = judged(HERE, {"split": 1000, "mirror": 2000, "chat": 5}, [*RECORDS, other])
    assert not judgement.is_failure
    assert "chat: 5 instructions a request, not in the record of this build" in judgement.lines


def test_another_build_is_not_judged() -> None:
    """Figures of another build are shown, not judged, and it says what differs."""
    judgement = judged(THERE, {"split": 9000}, RECORDS)
    assert not judgement.is_failure
    assert "a record has python CPython 3.11.2, interpreter aa" in judgement.lines[-1]
    assert "there is none yet" in judged(THERE, {"split": 9000}, []).lines[-1]


def test_accepting_scales_other_builds() -> None:
    """Accepted figures replace this build's record; those of other builds rise by the same factor and reason."""
    other = {"build": THERE, "instructions": {"split": 3000, "mirror": 4000}, "reason": "the first"}
    records = accepted(HERE, {"split": 1100, "mirror": 2000}, "retries", [*RECORDS, other])
    assert [record["build"] for record in records] == [HERE, THERE]
    assert records[0]["instructions"] == {"split": 1100, "mirror": 2000}
    assert records[1]["instructions"] == {"split": 3300, "mirror": 4000}
    assert records[0]["reason"] == "retries"
    assert records[1]["reason"] == "retries (scaled from CPython 3.11.2)"
