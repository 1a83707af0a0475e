"""What lies on the disk after a run: the payload log and the journal, read line by line."""

from pathlib import Path

import orjson
import pytest

from proxy.demo.collect import read_journal, read_log, steered
from proxy.demo.processes import DemoError

RECORD = {
    "request_id": "demo-1",
    "variant": "v1",
    "unit": "hash",
    "config_version": 2,
    "response": {"body": '{"outputs": [{"name": "label", "data": [7]}]}'},
}
DECISION = {
    "ts": "2026-11-21T10:18:13.545Z", "event": "decision", "version": 5, "by": "engine", "digest": "c7",
    "route": "parcels", "rollout": "6e", "verdict": "rollback", "reason": "harm", "evidence": "09",
    "log_e": {"harm": 10.2}, "requests_exposed": 21, "units_exposed": 20, "from_weight": 5.0, "to_weight": 0.0,
}  # fmt: skip


def test_the_log_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    """A line without its end is still being written and is left out."""
    line = orjson.dumps(RECORD)
    (tmp_path / "1.jsonl").write_bytes(line + b"\n" + line[:20])
    (found,) = read_log(tmp_path)
    assert (found.request_id, found.variant, found.unit) == ("demo-1", "v1", "hash")
    assert (found.config_version, found.body_label) == (2, 7)
    assert read_log(tmp_path / "none") == []


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    """What cannot be checked is an error with its place."""
    (tmp_path / "1.jsonl").write_bytes(b'{"variant": "v1"}\n')
    with pytest.raises(DemoError, match=r"1\.jsonl:1 is not a payload record"):
        read_log(tmp_path)


def test_a_decision_is_read_whole() -> None:
    """Every fact that a check is about comes from the line."""
    line = steered(DECISION)
    assert (line.event, line.verdict, line.reason, line.by) == ("decision", "rollback", "harm", "engine")
    assert (line.rollout, line.version, line.from_weight, line.to_weight) == ("6e", 5, 5.0, 0.0)
    assert (line.config_digest, line.evidence_digest, line.harm) == ("c7", "09", 10.2)
    assert (line.requests_exposed, line.units_exposed) == (21, 20)
    assert line.wall_s % 60 == pytest.approx(13.545)


def test_a_persons_word_has_no_evidence() -> None:
    """What only the engine writes is absent, not an error."""
    line = steered(
        {name: DECISION[name] for name in ("ts", "version", "digest")} | {"event": "verb", "by": "me"}
    )
    assert (line.by, line.evidence_digest, line.from_weight, line.harm) == ("me", "", None, 0.0)
    assert steered(DECISION | {"log_e": {"harm": None}}).harm == 0.0


def test_a_journal_that_cannot_be_read_ends_the_demo(tmp_path: Path) -> None:
    """Without it nothing could be said of the decisions."""
    path = tmp_path / "journal.jsonl"
    with pytest.raises(DemoError, match="cannot read the journal"):
        read_journal(path)
    path.write_bytes(orjson.dumps(DECISION) + b"\n")
    assert read_journal(path) == [DECISION]
    path.write_bytes(b"{\n")
    with pytest.raises(DemoError, match="cannot read the journal"):
        read_journal(path)
