"""What the demo makes of a replay's report."""

import orjson

from proxy.demo.rehearsal import read_rehearsal

LOGGED = {"replay-demo-000001": 7}


def test_a_report() -> None:
    """Counts, interval and exit code are taken over, and put into a sentence."""
    report = {
        "sent": 40,
        "agree": 30,
        "disagree": 10,
        "disagreement": {"share": 0.25, "low": 0.1, "high": 0.4},
    }
    found = read_rehearsal("v3", 1, orjson.dumps(report), LOGGED)
    assert (found.sent, found.agree, found.disagree, found.logged) == (40, 30, 10, LOGGED)
    assert not found.has_passed
    assert "of 40 requests 25.0% were answered otherwise" in found.sentence()
    assert found.sentence().endswith("refused")


def test_nothing_compared() -> None:
    """A replay that compared nothing has no share."""
    report = {"sent": 0, "agree": 0, "disagree": 0, "disagreement": None}
    found = read_rehearsal("v5", 1, orjson.dumps(report), {})
    assert (found.low, found.high, found.has_passed) == (0.0, 1.0, False)


def test_no_report() -> None:
    """A replay that could not run has an exit code and nothing else; it has passed nothing."""
    found = read_rehearsal("v3", 2, b"", LOGGED)
    assert (found.exit_code, found.sent, found.has_passed) == (2, 0, False)
