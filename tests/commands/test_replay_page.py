"""The page of a replay: what the document says, and nothing a log holds reaches the terminal as more than text."""

import pytest

from proxy.commands.replay_page import show
from proxy.compare import Comparison, Difference
from proxy.records.reading import Reading
from proxy.replay.calls import REASONS
from proxy.replay.document import Limit, build_document
from proxy.replay.judging import Outcome
from proxy.replay.results import Results
from tests.replay.asking import asked, record_of

HOW = {
    "to": "http://m",
    "against": "recorded",
    "speed": "10x",
    "rate": None,
    "concurrency": 8,
    "config": None,
}
EVIL = Comparison("disagree", 1.0, "fields", "json", 1, 1, (Difference("/\x1b[31m", "\x9b1m", "x\ny"),))


def page(
    results: Results, capsys: pytest.CaptureFixture[str], limit: Limit | None = None, **more: object
) -> str:
    """Return what is printed."""
    document = {"replay": HOW, "interrupted": False} | more
    show(document | build_document(results, Reading(files=1, skipped=3, unfinished=1, repeated=7), limit))
    return capsys.readouterr().out


def test_everything_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Each count of the document stands on the page, every reason with its meaning."""
    results = Results()
    for reason in REASONS:
        results.refuse(reason)
    results.add(Outcome(record_of(unit="a"), asked(), None, 5_000_000, EVIL), shows_values=True)
    results.add(Outcome(record_of(unit="b"), asked(fault="timeout"), None, 0, None), shows_values=True)
    results.add(Outcome(record_of(unit="c"), asked(), asked(fault="reset"), 0, None), shows_values=True)
    nothing = Comparison("uncomparable", None, "both_failed", "auto", 0, 0)
    results.add(Outcome(record_of(unit="d"), asked(), None, 0, nothing), shows_values=False)
    text = page(results, capsys, Limit(0.1), interrupted=True)
    assert all(reason in text and meaning in text for reason, meaning in REASONS.items())
    for part in (
        "timeout",
        "reference failed",
        "both_failed",
        "sent late by",
        "interrupted",
        "3 passed over",
        "7 found in another file too, and taken once",
    ):
        assert part in text
    assert "1 file with half a line at the end" in text
    assert "FAILED: over the limit" in text


def test_a_log_does_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of names, ids and values are spelt out, and no value begins a line."""
    results = Results()
    record = record_of(request_id="r\x1b]0;x\x07", route="w\nine", variant="v\x9b1")
    results.add(Outcome(record, asked(), None, 0, EVIL), shows_values=True)
    text = page(results, capsys)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text.replace("\n", ""))
    assert not any(line.startswith(("ine", "y")) for line in text.splitlines())


def test_hidden_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a route that redacts only the number of places is shown."""
    results = Results()
    results.add(Outcome(record_of(), asked(), None, 0, EVIL), shows_values=False)
    assert "1 place, not shown" in page(results, capsys)


def test_what_has_no_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of the embedder that are missing are told, with the reason."""
    results = Results()
    results.meanings.update({"told": 5, "failed": 3, "withheld": 2})
    text = page(results, capsys)
    assert "the embedder was not asked about 2 comparisons" in text
    assert "the embedder had no answer about 3 comparisons" in text


def test_just_over_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """What is over the limit reads so, however little it is; what is at it is at it."""
    results = Results()
    for number in range(4000):
        comparison = EVIL if number < 81 else EVIL._replace(result="agree")
        results.add(Outcome(record_of(unit=f"u{number}"), asked(), None, 0, comparison), shows_values=False)
    for limit, text in {
        0.0202: "limit 2.02 %: 2.025 % went wrong",
        0.020249: "limit 2.0249 %: 2.025 % went wrong",
        0.02025: "limit 2.025 %: 2.025 % went wrong",
        0.01: "limit 1 %: 2.02 % went wrong",
    }.items():
        assert text in page(results, capsys, Limit(limit))


def test_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that compared nothing says so."""
    assert "nothing was compared" in page(Results(), capsys)
    assert "FAILED: nothing was compared" in page(Results(), capsys, Limit(0.5))
