"""The evidence as a document: plain values, whatever there is of it."""

import numpy as np
import orjson
import pytest

from proxy.engine.dossier import Dossier, Reading
from proxy.engine.evidence_view import SHOWN_EPOCHS, SHOWN_POINTS, Seen, evidence_document
from proxy.engine.ledger import BIN_NS, Epoch
from proxy.engine.store import Recorded, ShadowCounts, Verdict
from proxy.evidence.layout import EVENTS, FIELDS, FIRST_LATENCY, REQUESTS, UNITS
from tests.engine.test_judging import judged

HALF = 1 << 63


def dossier() -> Dossier:
    made = Dossier("ab" * 8, "wine", "v3", "v1")
    made.ledger.admit(Epoch("e1", ("v1", "v3"), (HALF, HALF), 0))
    counts = np.zeros((2, FIELDS), np.int64)
    counts[:, REQUESTS], counts[:, UNITS], counts[1, EVENTS] = 40, 30, 2
    counts[0, FIRST_LATENCY + 284] = 30
    made.take([Reading("run", "e1", counts)], {("run", 1): ShadowCounts(9, 1, 8, 2)}, 5, None)
    made.add_point(BIN_NS, b'{"now_ns":2}')
    made.add_point(5, b'{"now_ns":1}')
    return made


def test_what_is_counted() -> None:
    """Without a judgement there are counts by epoch and variant, points in their order, copies and verdicts."""
    verdict = Verdict("ab" * 8, "wine", 1, 7, "ramp", True, "d", b'{"verdict":"ramp"}', b"")
    document = evidence_document(Seen.of(dossier()), None, [Recorded(3, verdict)], "")
    assert orjson.loads(orjson.dumps(document)) == document
    assert "guardrails" not in document
    champion, canary = document["epochs"][0]["variants"]
    assert (champion["name"], champion["share"], champion["requests"], champion["units"]) == (
        "v1",
        0.5,
        40,
        30,
    )
    assert champion["p50_ms"] == pytest.approx(1000, rel=0.06)
    assert champion["latency"] == [[284], [30]]
    assert (canary["errors"], canary["p50_ms"], canary["latency"]) == (2, None, [[], []])
    assert document["points"] == [{"now_ns": 1}, {"now_ns": 2}]
    copies = {"answered": 9, "failed": 1, "compared": 8, "disagreed": 2}
    none = {"triples": 0, "candidate_odd": 0, "champion_odd": 0, "both_odd": 0}
    assert document["shadow"] == {**copies, **none}
    assert document["decisions"][0]["decision"] == {"verdict": "ramp"}
    assert not document["kept"]


def test_what_is_made_of_it() -> None:
    """With a judgement there are the plan, the state and the guardrails; nothing in it is infinite."""
    document = evidence_document(Seen.of(dossier()), judged(errors=20), [], "the disk is full")
    assert orjson.loads(orjson.dumps(document)) == document
    assert document["problem"] == "the disk is full"
    assert document["plan"]["canary"]["name"] == "v3"
    assert document["state"]["phase"] == "ramping"
    errors = document["guardrails"][0]
    assert (errors["name"], errors["metric"], errors["canary_events"]) == ("errors", "errors", 20)
    assert errors["harm_log10_e"] > 2
    assert document["harm_log10_e"] > 2
    assert document["guardrails"][1]["high"] is None


def test_nothing_yet() -> None:
    """A dossier without any counts is a document too."""
    document = evidence_document(Seen.of(Dossier("ab" * 8, "wine", "", "v1")), None, [], "")
    assert (document["epochs"], document["points"], document["shadow"]) == ([], [], {})


def test_it_is_bounded() -> None:
    """Of many points some are shown, spread evenly, and of old epochs the counts alone; a report from disk has all."""
    made = dossier()
    for at in range(1, 4 * SHOWN_POINTS):
        made.points[at] = b'{"now_ns":%d}' % at
    for number in range(SHOWN_EPOCHS + 3):
        made.ledger.admit(Epoch(f"later-{number}", ("v1", "v3"), (HALF, HALF), number + 1))
    shown, whole = (
        evidence_document(Seen.of(made, is_whole=is_whole), None, [], "") for is_whole in (False, True)
    )
    moments = [each["now_ns"] for each in shown["points"]]
    assert (len(moments), len(whole["points"])) == (SHOWN_POINTS, 4 * SHOWN_POINTS)
    assert (moments[0], moments[-1]) == (1, 4 * SHOWN_POINTS - 1)
    assert moments == sorted(set(moments))
    first, first_of_all = (each["epochs"][0]["variants"][0] for each in (shown, whole))
    assert (first["latency"], first_of_all["latency"]) == ([[], []], [[284], [30]])
    assert first["requests"] == first_of_all["requests"] == 40


def test_what_was_seen_does_not_change() -> None:
    """It is put into words while more is counted."""
    made = dossier()
    seen = Seen.of(made)
    before = evidence_document(seen, None, [], "")
    more = np.zeros((2, FIELDS), np.int64)
    more[:, REQUESTS] = 99
    made.take([Reading("run", "e1", more)], {("run", 2): ShadowCounts(1, 1, 1, 1)}, 2 * BIN_NS, None)
    made.ledger.admit(Epoch("e2", ("v1", "v3"), (HALF, HALF), 5))
    made.add_point(9 * BIN_NS, b"{}")
    assert evidence_document(seen, None, [], "") == before
