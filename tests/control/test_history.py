"""What the journal tells about one route."""

from pathlib import Path

import orjson

from proxy.control.history import MOST_BYTES, read_history
from proxy.control.journal import Journal


def write(path: Path, *lines: dict[str, object] | bytes) -> None:
    rows = [each if isinstance(each, bytes) else orjson.dumps(each) for each in lines]
    path.write_bytes(b"\n".join(rows) + b"\n")


def test_only_its_own(tmp_path: Path) -> None:
    """Moves, words of people and notes of the route are told in order, over both files; of a publish its changes."""
    line = {"ts": "2026-01-01T00:00:00Z", "route": "wine"}
    write(
        tmp_path / "journal.1.jsonl",
        {**line, "event": "verb", "by": "anna"},
        {"ts": "x", "event": "publish", "changes": ["routes[beer]: added", "routes[wine].salt: 'a' → 'b'"]},
    )
    write(
        tmp_path / "journal.jsonl",
        b"{torn wine",
        b"[]",
        b'"wine"',
        {"ts": "x", "event": "publish", "changes": ["routes[beer]: wine is gone"]},
        {**line, "route": "wine-2", "event": "decision"},
        {**line, "event": "decision", "by": "engine"},
        {**line, "event": "note"},
        {**line, "event": "refused", "problems": []},
    )
    found = read_history(tmp_path, "wine")
    assert [each["event"] for each in found] == ["verb", "publish", "decision", "note"]
    assert found[1]["changes"] == ["routes[wine].salt: 'a' → 'b'"]
    assert [each["event"] for each in read_history(tmp_path, "wine", limit=1)] == ["note"]


def test_long_lines_are_fewer(tmp_path: Path) -> None:
    """The last lines are told, as many as fit; a long publish counts with what is told of it."""
    long = "x" * (MOST_BYTES // 10)
    lines: list[dict[str, object]] = [
        {"ts": "x", "event": "note", "route": "wine", "number": number, "sentence": long}
        for number in range(15)
    ]
    publish: dict[str, object] = {
        "ts": "x",
        "event": "publish",
        "changes": ["routes[wine]: added", *["y" * MOST_BYTES] * 2],
    }
    write(tmp_path / "journal.jsonl", *lines, publish)
    found = read_history(tmp_path, "wine")
    assert [each.get("number") for each in found] == [*range(6, 15), None]


def test_nothing_to_read(tmp_path: Path) -> None:
    """No journal tells nothing."""
    assert read_history(tmp_path, "wine") == []


def test_as_it_is_written(tmp_path: Path) -> None:
    """What the journal writes is found again, whatever the route is called."""
    name = 'a "quoted" route – ü'
    facts = {"route": name, "verdict": "abort"}
    Journal(tmp_path).steered(wall_ns=0, event="verb", version=3, by="anna", digest="d", facts=facts)
    assert [each["verdict"] for each in read_history(tmp_path, name)] == ["abort"]
    assert read_history(tmp_path, "quoted") == []
