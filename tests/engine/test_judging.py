"""One judgement: what is shown of it, what is kept of it, and that it can be made again."""

from dataclasses import replace
from math import inf

import numpy as np
import orjson

from proxy.engine.judging import Judgement, gist, gist_of_bytes, held_back, judge, point
from proxy.evidence.layout import ERRORS, EVENTS, FIELDS, FIRST_EVENTS, FIRST_LATENCY, LATENCY, REQUEST_EVENTS
from proxy.rollout import record
from proxy.rollout.plan import Plan, plan_of
from proxy.rollout.slices import Health, Slices, no_slices
from proxy.rollout.transitions import begin
from proxy.settings import parse

CONFIG = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/*"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v3, model: two, role: canary, rollout: {dry_run: DRY}}
"""
NOW_NS = 1_000 * 1_000_000_000


def plan(*, dry_run: bool = False) -> Plan:
    settings = parse(CONFIG.replace("DRY", str(dry_run).lower()), environ={})
    found = plan_of(settings, settings.routes[0])
    assert found is not None
    return found


def row(requests: int, errors: int) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    made = np.zeros((1, FIELDS), np.int64)
    made[0, :2] = requests
    for column in (REQUEST_EVENTS, FIRST_EVENTS, EVENTS):
        made[0, column + ERRORS] = errors
    made[0, LATENCY + 200] = made[0, FIRST_LATENCY + 200] = requests
    return made


def judged(errors: int = 0, *, dry_run: bool = False) -> Judgement:
    state = begin(plan(dry_run=dry_run), "ab" * 8, NOW_NS)
    one = np.ones(1, np.int64)
    slices = Slices(
        ("e1",),
        one * NOW_NS,
        one,
        np.array([0.01]),
        row(20, errors),
        row(1980, 0),
        -one,
        health=Health(read_ns=NOW_NS),
    )
    return judge(plan(dry_run=dry_run), state, slices, NOW_NS + 10**9)


def test_harm_moves() -> None:
    """A canary that fails is to be taken off, and everything needed to see why is there."""
    found = judged(errors=20)
    assert (found.moves, found.falls, str(found.action)) == (True, True, "rollback")
    assert found.document["verdict"] == "rollback"
    assert found.document["sequence"] == found.state.sequence
    assert record.recompute(found.snapshot) == found.decision_bytes
    assert found.digest == record.digest(found.snapshot)
    assert orjson.loads(found.decision_bytes) == found.document


def test_nothing_moves() -> None:
    """A healthy canary that has to wait moves nothing, and neither does a rehearsal."""
    found = judged()
    assert (found.moves, found.falls, found.document["reason"]) == (False, False, "hold_time")
    rehearsed = judged(errors=20, dry_run=True)
    assert (rehearsed.moves, str(rehearsed.action)) == (False, "rollback")


def test_gists() -> None:
    """Judgements differ when verdict, reason or place do; figures make no difference."""
    first, second = judged(errors=0), judged(errors=1)
    assert gist(first.document) == gist(second.document) == gist_of_bytes(first.decision_bytes)
    assert gist(judged(errors=20).document) != gist(first.document)
    assert gist(first.document | held_back("not_stored", "x")) != gist(first.document)
    assert gist_of_bytes(b"{") is gist_of_bytes(b"[]") is None


def test_points() -> None:
    """A point has powers of ten; what is infinite is null."""
    found = judged(errors=20)
    shown = orjson.loads(point(found))
    assert shown["guardrails"].keys() == {"errors", "client_errors", "latency"}
    assert shown["harm"] > 2
    assert (shown["weight"], shown["verdict"]) == (1.0, "rollback")
    empty = judge(found.plan, found.state, no_slices(), NOW_NS)
    assert empty.evidence.guardrails[0].high == inf
    assert orjson.loads(point(empty))["guardrails"]["errors"]["high"] is None


def test_words_are_made_when_somebody_asks() -> None:
    """What follows is known without them, and the same of a paused, a rehearsed and a failing canary."""
    found = judged(errors=20)
    assert (found.moves, found.falls) == (True, True)
    assert "decision" not in vars(found)
    assert "evidence" not in vars(found.assembly)
    for each in (found, judged(), judged(errors=1), judged(errors=20, dry_run=True)):
        assert each.gist == gist(each.document)
    paused = replace(found.state, paused_by="ann")
    stays = judge(found.plan, paused, found.slices, found.now_ns)
    assert stays.gist == gist(stays.document)
    assert (stays.moves, stays.document["would"]) == (False, "rollback")
