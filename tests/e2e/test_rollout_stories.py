"""What canaries do to whom, in a whole proxy with real models and clients: the good, the bad and the dead."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import wall_ns
from tests.e2e.running import Running, eventually, model_server, serve, waited_s
from tests.e2e.trial import (
    EVENTS,
    Crowd,
    config,
    counts,
    decided,
    decisions,
    is_in,
    journal,
    models,
    receiver,
    recomputed,
    rollout,
    unruly_server,
    verdicts,
    who_joins,
)

pytestmark = pytest.mark.slow

USERS = [f"user-{i}" for i in range(40_000)]


def number(user: str) -> int:
    return int(user.rpartition("-")[2])


async def test_a_defective_canary_goes_by_itself(tmp_path: Path) -> None:
    """It fails three of ten, no client is failed, nobody reaches it afterwards, and everybody is told the same."""
    async with models() as (one, two), receiver() as (hooks, told):
        two.fails = lambda user: number(user) % 10 < 3
        text = config(tmp_path, (one.url, two.url), "rollout: {steps: [10, 50], hold: 10s}", more=hooks)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask_until(USERS, lambda: verdicts(proxy), "the rollback")
            found = await eventually(lambda: is_in(proxy, "rolled_back"), "it to be shown")
            await proxy.everywhere(decisions(proxy)[0]["version"])
            reached = two.primary
            await crowd.ask(USERS[:400])
            assert two.primary == reached, "nobody is left on it"
            assert crowd.statuses.keys() == {200}, "the champion answered for it"
            assert crowd.broken == 0

            (line,) = decisions(proxy)
            assert (line["verdict"], line["reason"], line["by"]) == ("rollback", "harm", "engine")
            assert (line["from_weight"], line["to_weight"]) == (10.0, 0.0)
            assert line["sentence"].startswith("v2 is rolled back: v2 failed ")
            assert line["log_e"]["harm"] > 4.6
            assert line["requests_exposed"] <= reached
            assert (found["by"], found["weight"]) == ("engine", 0.0)
            status = await proxy.status()
            assert status["routes"][0]["variants"][1]["weight"] == 0
            assert await proxy.total("modelproxy_decisions_total", decision="rollback") == 1
            assert await proxy.total("modelproxy_rollout_phase", phase="rolled_back") == 1
            assert await proxy.total("modelproxy_rollout_phase") == 1
            assert await proxy.total("modelproxy_rollout_weight") == 0
            assert await proxy.total("modelproxy_variant_weight", variant="v2") == 0

            async def news() -> list[dict[str, Any]]:
                return [each for each in told if each["type"] == "rollout.rollback"]

            (event,) = await eventually(news, "the webhook")
            assert event["data"]["evidence"] == line["evidence"]
            assert event["data"]["sentence"] == line["sentence"]
        assert recomputed(proxy, line)["verdict"] == "rollback"


@pytest.mark.long
async def test_a_slow_canary_goes_by_itself(tmp_path: Path) -> None:
    """It answers everybody, and late: once there is a reference to compare with, some hundred answers are enough."""
    async with models() as (one, two):
        two.delay_s = 0.05
        text = config(tmp_path, (one.url, two.url), "rollout: {steps: [50], hold: 2s}")
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask_until(USERS, lambda: verdicts(proxy), "the rollback", 60.0)
            (line,) = decisions(proxy)
            assert (line["verdict"], line["reason"], line["blamed"]) == ("rollback", "harm", ["latency"])
            assert line["sentence"].startswith("v2 is rolled back: answers of v2 take ")
            assert crowd.statuses.keys() == {200}
        assert recomputed(proxy, line)["verdict"] == "rollback"


@pytest.mark.alone
@pytest.mark.parametrize("death", ["refuses", "hangs", "resets", "fails"])
async def test_a_dead_canary_costs_three_units(tmp_path: Path, death: str) -> None:
    """At 10 %, the third failure is the last; a second after it, unless busy, the canary has no traffic any more."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(model_server("one"))
        url = "http://127.0.0.1:9"
        if death in ("hangs", "resets"):
            url, _ = await stack.enter_async_context(unruly_server("hang" if death == "hangs" else "reset"))
        elif death == "fails":
            two = await stack.enter_async_context(model_server("two"))
            two.status, url = 500, two.url
        text = config(tmp_path, (one.url, url), "rollout: {steps: [10, 50]}", model=", timeout: 400ms")
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            doomed = who_joins(text, 10, USERS[:200])
            third = USERS.index(doomed[2])
            await crowd.ask(USERS[:third], at_once=1)
            assert verdicts(proxy) == [], "two failures are no proof"
            waited_before_s = waited_s()
            await crowd.ask([doomed[2]], at_once=1)
            answered_ns = wall_ns()
            (line,) = await decided(proxy, 1, "the rollback", 5.0)
            in_force_s = datetime.fromisoformat(line["ts"]).timestamp() - answered_ns / 1e9
            most_s = 1.0 + waited_s() - waited_before_s
            assert (line["verdict"], line["requests_exposed"]) == ("rollback", 3)
            await proxy.everywhere(line["version"])
            await crowd.ask(doomed)
            assert {crowd.answers[user] for user in doomed} == {(200, "v1")}
            fallbacks = 0 if death == "fails" else 3
            assert await proxy.total("modelproxy_fallbacks_total") == fallbacks
            assert in_force_s < most_s, f"{in_force_s:.3f} s after the third failure was answered"
            assert counts(await rollout(proxy), "errors") == {"v1": 0, "v2": 3}


async def test_a_good_canary_is_promoted(tmp_path: Path) -> None:
    """Step by step, none too early, nobody moves back; and what stays with the old champion still guards it."""
    async with models() as (one, two), receiver() as (hooks, told):
        plan = f"rollout: {{steps: [10, 30, 60], hold: 1s, holdback: 5%, guardrails: {EVENTS}}}"
        text = config(tmp_path, (one.url, two.url), plan, more=hooks)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            panel = USERS[-80:]
            await crowd.ask_until(
                with_panel(USERS, panel), lambda: len(verdicts(proxy)) == 3, "the promotion", 40.0
            )
            await eventually(lambda: is_in(proxy, "promoted"), "the promotion to be shown")
            await proxy.everywhere(decisions(proxy)[2]["version"])
            await crowd.ask(panel)
            lines = decisions(proxy)
            assert [line["verdict"] for line in lines] == ["ramp", "ramp", "promote"]
            assert [(line["from_weight"], line["to_weight"]) for line in lines] == [
                (10, 30),
                (30, 60),
                (60, 95),
            ]
            times = [datetime.fromisoformat(line["ts"]) for line in (journal(proxy, "publish")[0], *lines)]
            assert all((after - before).total_seconds() >= 1.0 for before, after in pairwise(times))
            for user in panel:
                variants = crowd.history[user]
                assert variants == sorted(variants), f"{user} was moved back: {variants}"
            assert {user for user in panel if crowd.answers[user][1] == "v2"} == set(
                who_joins(text, 95, panel)
            )

            async def are_told() -> bool:
                return {each["type"] for each in told} >= {"rollout.ramp", "rollout.promote"}

            await eventually(are_told, "the webhooks to be told")

            two.fails = lambda user: number(user) % 10 < 5
            await crowd.ask_until(USERS[20_000:], lambda: len(verdicts(proxy)) == 4, "the way back", 40.0)
            line = decisions(proxy)[3]
            assert (line["verdict"], line["reason"], line["from_weight"]) == ("rollback", "harm", 95)
            await eventually(lambda: is_in(proxy, "rolled_back"), "the rollback to be shown")
            await proxy.everywhere(line["version"])
            reached = two.primary
            await crowd.ask(panel)
            assert two.primary == reached
            assert crowd.statuses.keys() == {200}
        for line in lines:
            assert recomputed(proxy, line)["verdict"] == line["verdict"]


@pytest.mark.long
async def test_one_user_alone_is_no_evidence(tmp_path: Path) -> None:
    """A thousand failures of one user count once: the canary stays."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), "rollout: {steps: [10, 50], hold: 1h}")
        unlucky = who_joins(text, 10, USERS[:100])[0]
        two.fails = lambda user: user == unlucky
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask(USERS[:200])
            await crowd.ask([unlucky] * 1000, at_once=16)

            async def is_seen() -> dict[str, Any]:
                found = await rollout(proxy)
                return found if counts(found, "errors_requests")["v2"] == two.users[unlucky] else {}

            found = await eventually(is_seen, "all of its failures")
            assert two.users[unlucky] >= 1000
            assert counts(found, "errors") == {"v1": 0, "v2": 1}
            judged = found["evidence"]["judged_ns"]
            await eventually(lambda: _judged_after(proxy, judged), "another look")
            assert (await is_in(proxy, "ramping"))["evidence"]["harm_log10_e"] < 1
            assert verdicts(proxy) == []


async def test_a_dry_run_moves_nothing(tmp_path: Path) -> None:
    """What it would have done is written down, with all it rests on."""
    async with models() as (one, two):
        two.fails = lambda user: number(user) % 2 == 0
        plan = "rollout: {steps: [10, 50], hold: 1s, dry_run: true}"
        text = config(tmp_path, (one.url, two.url), plan)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)

            def notes() -> list[dict[str, Any]]:
                return [each for each in journal(proxy, "note") if each["verdict"] != "hold"]

            await crowd.ask_until(USERS, notes, "what it would have done", 10.0)
            (line,) = notes()
            assert (line["verdict"], line["reason"], line["dry_run"]) == ("rollback", "harm", True)
            found = await rollout(proxy)
            assert (found["phase"], found["weight"], found["sequence"]) == ("ramping", 10.0, 1)
            reached = two.primary
            await crowd.ask(who_joins(text, 10, USERS[:300]))
            assert two.primary > reached
            assert (await proxy.status())["config"]["version"] == journal(proxy, "publish")[0]["version"]
            assert (len(notes()), decisions(proxy)) == (1, []), "said once"
            assert await proxy.total("modelproxy_decisions_total") == 0
        assert recomputed(proxy, line)["verdict"] == "rollback"


async def test_a_split_by_fixed_weights_is_watched(tmp_path: Path) -> None:
    """Its evidence is there to read, and nobody decides anything by it."""
    async with models() as (one, two):
        two.fails = lambda user: number(user) % 2 == 0
        async with serve(tmp_path, config(tmp_path, (one.url, two.url), "weight: 40")) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask(USERS[:400])

            async def is_counted() -> dict[str, Any]:
                found = await rollout(proxy)
                return found if sum(counts(found).values()) == 400 else {}

            found = await eventually(is_counted, "the evidence")
            assert counts(found) == {"v1": 400 - two.primary, "v2": two.primary}
            assert counts(found, "errors")["v2"] == sum(number(user) % 2 == 0 for user in two.users)
            assert "phase" not in found
            assert journal(proxy, "decision") == []
            assert await proxy.total("modelproxy_variant_weight", variant="v2") == 40


async def _judged_after(proxy: Running, judged_ns: int) -> bool:
    return bool((await rollout(proxy))["evidence"]["judged_ns"] > judged_ns)


def with_panel(users: Sequence[str], panel: Sequence[str]) -> Iterator[str]:
    """Yield users, and after each five of them one of the panel, round and round."""
    again = cycle(panel)
    for i, user in enumerate(users):
        yield user
        if i % 5 == 4:
            yield next(again)
