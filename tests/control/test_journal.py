"""The journal: what was written is read again, whatever happened to the disk."""

import os
import stat
from pathlib import Path

import orjson
import pytest

from proxy.control.journal import Journal

NOON_NS = 1_767_268_800_000_000_000


def publish(journal: Journal, version: int) -> bool:
    """Write a publish of ``version``."""
    return journal.published(
        wall_ns=NOON_NS + 123_000_000,
        version=version,
        before=version - 1,
        by="file",
        why="the file changed",
        digest="d1",
        changes=("routes[wine].variants[v3].weight: 5 → 20",),
    )


def refuse(journal: Journal, problems: tuple[str, ...] = ("a.yaml:1:2: x",)) -> bool:
    """Write a refusal."""
    return journal.refused(
        wall_ns=NOON_NS, running=3, by="signal", why="SIGHUP", digest="d2", problems=problems
    )


def lines(journal: Journal) -> list[bytes]:
    """Return the file's lines."""
    return journal.path.read_bytes().splitlines()


def test_a_line_says_who_what_and_why(tmp_path: Path) -> None:
    """The two kinds of lines have these fields and no others."""
    journal = Journal(tmp_path / "state")
    assert publish(journal, 4)
    assert refuse(journal)
    first, second = map(orjson.loads, lines(journal))
    assert first == {
        "ts": "2026-01-01T12:00:00.123Z",
        "event": "publish",
        "version": 4,
        "from": 3,
        "by": "file",
        "why": "the file changed",
        "digest": "d1",
        "changes": ["routes[wine].variants[v3].weight: 5 → 20"],
    }
    assert second == {
        "ts": "2026-01-01T12:00:00.000Z",
        "event": "refused",
        "running": 3,
        "by": "signal",
        "why": "SIGHUP",
        "digest": "d2",
        "problems": ["a.yaml:1:2: x"],
    }


def test_a_line_about_a_rollout(tmp_path: Path) -> None:
    """It has what is said of it, which cannot take the place of who and when; its version counts as used."""
    journal = Journal(tmp_path / "state")
    facts = {"route": "wine", "verdict": "abort", "from_weight": 25.0, "by": "nobody", "ts": "never"}
    assert journal.steered(wall_ns=NOON_NS, event="verb", version=9, by="admin ::1", digest="d1", facts=facts)
    assert orjson.loads(lines(journal)[0]) == {
        "ts": "2026-01-01T12:00:00.000Z",
        "event": "verb",
        "version": 9,
        "by": "admin ::1",
        "digest": "d1",
        "route": "wine",
        "verdict": "abort",
        "from_weight": 25.0,
    }
    assert Journal(tmp_path / "state").last_version().version == 9


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The directory is 0700 and the file 0600, whatever the umask."""
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "state")
        publish(journal, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_versions_go_on_after_a_restart(tmp_path: Path) -> None:
    """The highest version is found, also when the last lines are refusals."""
    for version in (1, 2, 9):
        publish(Journal(tmp_path), version)
    refuse(Journal(tmp_path))
    assert (Journal(tmp_path).last_version().version, Journal(tmp_path).last_version().warning) == (9, "")


def test_no_journal_yet_is_no_trouble(tmp_path: Path) -> None:
    """Without a file the last version is 0, without a warning."""
    last = Journal(tmp_path / "none").last_version()
    assert (last.version, last.warning) == (0, "")


def test_a_torn_last_line_is_skipped(tmp_path: Path) -> None:
    """Every way a crash can tear the last line leaves the versions before it readable, and what follows too."""
    whole = Journal(tmp_path / "whole")
    publish(whole, 1)
    publish(whole, 2)
    text = whole.path.read_bytes()
    second = text.index(b"\n") + 1
    for cut in range(second + 1, len(text) - 1):
        journal = Journal(tmp_path / str(cut))
        journal.path.parent.mkdir()
        journal.path.write_bytes(text[:cut])
        last = journal.last_version()
        assert (last.version, last.warning) == (1, "")
        publish(journal, 2)
        assert journal.last_version().version == 2


def test_broken_lines_are_skipped_with_a_warning(tmp_path: Path) -> None:
    """A line in the middle that is no entry is told of, and the others count."""
    journal = Journal(tmp_path)
    publish(journal, 5)
    with journal.path.open("ab") as file:
        file.write(
            b'nonsense\n[]\n{"version":"x"}\n\n{"version":2147483648}\n{"version":-1}\n{"version":true}\n'
        )
    publish(journal, 6)
    last = journal.last_version()
    assert last.version == 6
    assert "6 unreadable lines" in last.warning


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Where somebody can write beside us, what they link to is neither read nor appended to."""
    target = tmp_path / "target"
    target.write_bytes(b'{"version":7}\n')
    journal = Journal(tmp_path / "state")
    journal.path.parent.mkdir()
    journal.path.symlink_to(target)
    last = journal.last_version()
    assert last.version == 0
    assert "cannot read" in last.warning
    assert not publish(journal, 1)
    assert target.read_bytes() == b'{"version":7}\n'


def test_an_unreadable_journal_is_a_warning(tmp_path: Path) -> None:
    """A journal that cannot be read gives version 0 and says so."""
    journal = Journal(tmp_path)
    journal.path.mkdir()
    last = journal.last_version()
    assert last.version == 0
    assert "cannot read" in last.warning


def test_a_failed_write_is_counted_and_raises_nothing(tmp_path: Path) -> None:
    """Where nothing can be written the change goes on and the failure is counted."""
    (tmp_path / "state").write_text("a file where the directory should be")
    journal = Journal(tmp_path / "state")
    assert not publish(journal, 1)
    assert not refuse(journal)
    assert journal.failures == 2


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a full disk cuts short is taken away again, so that the file keeps whole lines only."""
    journal = Journal(tmp_path)
    publish(journal, 1)
    before = journal.path.read_bytes()
    write = os.write

    def short_write(fd: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) - 20])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short_write)
        assert not publish(journal, 2)
    assert before == journal.path.read_bytes()
    assert publish(journal, 2)
    assert journal.last_version().version == 2
    assert journal.failures == 1


def test_a_flood_of_problems_is_cut_short(tmp_path: Path) -> None:
    """A refusal's line is bounded, however many problems the file has."""
    journal = Journal(tmp_path)
    refuse(journal, tuple(f"problem {i}" for i in range(10_000)))
    assert journal.path.stat().st_size < 10_000


def test_it_is_rolled_and_versions_go_on(tmp_path: Path) -> None:
    """A long journal becomes the predecessor, of which there is one, and the new one knows the version."""
    journal = Journal(tmp_path / "state", roll_bytes=400)
    for version in range(1, 21):
        assert publish(journal, version)
    assert sorted(path.name for path in journal.path.parent.iterdir()) == ["journal.1.jsonl", "journal.jsonl"]
    first = orjson.loads(lines(journal)[0])
    assert (first["event"], first["version"]) == ("rolled", orjson.loads(lines(journal)[1])["version"])
    assert all(path.stat().st_size < 800 for path in journal.path.parent.iterdir())
    journal.previous_path.unlink()
    assert Journal(tmp_path / "state").last_version().version == 20


def test_a_version_survives_a_roll_of_refusals(tmp_path: Path) -> None:
    """A journal that holds nothing but refusals any more still knows the version, also after a restart."""
    publish(Journal(tmp_path / "state"), 7)
    journal = Journal(tmp_path / "state", roll_bytes=300)
    assert journal.last_version().version == 7
    for _ in range(20):
        assert refuse(journal)
    assert Journal(tmp_path / "state").last_version().version == 7


def test_a_crash_while_it_is_rolled_loses_no_version(tmp_path: Path) -> None:
    """Between the two renames there is no current file; the predecessor tells the version."""
    journal = Journal(tmp_path / "state")
    publish(journal, 7)
    journal.path.rename(journal.previous_path)
    again = Journal(tmp_path / "state")
    assert again.last_version().version == 7
    assert publish(again, 8)
    assert Journal(tmp_path / "state").last_version().version == 8


def test_what_cannot_be_rolled_grows_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The line is written all the same."""
    journal = Journal(tmp_path / "state", roll_bytes=100)
    publish(journal, 1)
    (journal.previous_path / "in the way").mkdir(parents=True)
    assert publish(journal, 2)
    assert len(lines(journal)) == 2
    assert "cannot begin a new file" in caplog.text
