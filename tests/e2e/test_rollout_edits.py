"""The file is edited in mid-rollout, rightly and wrongly, and nobody sends requests: what a whole proxy makes of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running, eventually, model_server, serve
from tests.e2e.trial import (
    EVENTS,
    Crowd,
    config,
    counts,
    is_in,
    journal,
    models,
    no_rollout,
    rollout,
    verdicts,
    who_joins,
)

pytestmark = pytest.mark.slow

USERS = [f"user-{i}" for i in range(2000)]
PLAN = f"rollout: {{steps: [25, 50], hold: 1h, guardrails: {EVENTS}}}"


async def judged(proxy: Running, reason: str) -> dict[str, Any]:
    """Wait for a judgement with this reason."""

    async def is_judged() -> dict[str, Any]:
        found = await rollout(proxy)
        return found if (found.get("judgement") or {}).get("reason") == reason else {}

    found: dict[str, Any] = await eventually(is_judged, f"a judgement because of {reason}")
    return found


async def counted(proxy: Running, requests: int) -> dict[str, Any]:
    """Wait until so many requests are evidence of the rollout of the moment."""

    async def is_counted() -> dict[str, Any]:
        found = await rollout(proxy)
        return found if found.get("evidence") and sum(counts(found).values()) == requests else {}

    found: dict[str, Any] = await eventually(is_counted, f"evidence of {requests} requests")
    return found


def changes(proxy: Running) -> str:
    """Return what the last publish changed, as the journal has it."""
    return "; ".join(journal(proxy, "publish")[-1]["changes"])


@pytest.mark.long
async def test_what_an_edit_does(tmp_path: Path) -> None:
    """Some go on, some are judged anew, some begin anew, and some end: as the table of rules says."""
    async with models() as (one, two):
        urls = (one.url, two.url)
        text = config(tmp_path, urls, PLAN)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask(USERS[:100])
            first = await counted(proxy, 100)

            await proxy.publish(text := text.replace("hold: 1h", "hold: 2h, budget: {excess_errors: 7}"))
            await crowd.ask(USERS[100:150])
            found = await counted(proxy, 150)
            assert (found["rollout"], found["weight"]) == (first["rollout"], 25.0), "it goes on"

            await proxy.publish(text := text.replace("[25, 50]", "[10, 40]"))
            await crowd.ask(USERS[150:200])
            found = await counted(proxy, 200)
            assert (found["rollout"], found["weight"]) == (first["rollout"], 10.0), "at a step that there is"

            await proxy.publish(text := text.replace("{metric: errors}", "{metric: errors, margin: 50%}"))
            await crowd.ask(USERS[200:250])
            found = await counted(proxy, 50)
            assert found["rollout"] != first["rollout"], "judged anew: what was seen counts no more"
            assert (found["weight"], found["phase"]) == (10.0, "ramping")
            assert "the guardrails were edited" in changes(proxy)

            async with model_server("three") as three:
                await proxy.publish(text := text.replace(two.url, three.url))
                await crowd.ask(USERS[:100])
                restarted = await counted(proxy, 100)
                assert restarted["rollout"] != found["rollout"]
                assert three.primary == counts(restarted)["v2"] > 0
                assert "another model" in changes(proxy)

                plain = config(tmp_path, (one.url, three.url), "weight: 20")
                await proxy.publish(plain)
                assert "has a weight of 20 % now instead of a rollout" in changes(proxy)
                assert "phase" not in await rollout(proxy)
                await crowd.ask(USERS[:200])
                served = {user for user in USERS[:200] if crowd.answers[user][1] == "v2"}
                assert served == set(who_joins(text, 20, USERS[:200]))
            assert verdicts(proxy) == [], "nothing of this is a decision"
            assert crowd.statuses.keys() == {200}


WRONG = {
    "a step over 100": ("steps: [25, 50]", "steps: [25, 120]", "steps[1]: found 120"),
    "steps that fall": ("steps: [25, 50]", "steps: [50, 25]", "a rollout only grows"),
    "an unknown metric": ("metric: errors", "metric: eros", "found 'eros'"),
    "a risk over 100": ("hold: 1h", "hold: 1h, false_rollback: 150%", "false_rollback: found"),
    "no time to hold": ("hold: 1h", "hold: 5", "hold: found 5"),
    "a weight and a rollout": ("role: canary,", "role: canary, weight: 5,", "weight"),
}


async def test_what_is_wrong_is_refused_and_the_rollout_goes_on(tmp_path: Path) -> None:
    """Each with a line that says what is wrong; the evidence goes on as if nothing had been tried."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), PLAN)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            for i, (what, (old, new, expected)) in enumerate(WRONG.items()):
                assert old in text, what
                proxy.config.write_text(text.replace(old, new))
                async with proxy.session.post(f"{proxy.admin}/api/v1/reload") as answer:
                    assert answer.status == 409, what
                    problems = "\n".join((await answer.json())["problems"])
                assert expected in problems, f"{what}: {problems}"
                await crowd.ask(USERS[50 * i : 50 * (i + 1)])
            found = await counted(proxy, 50 * len(WRONG))
            assert (found["phase"], found["weight"], found["sequence"]) == ("ramping", 25.0, 1)
            status = await proxy.status()
            assert not status["config"]["last_reload_successful"]
            assert len(journal(proxy, "refused")) >= len(WRONG), "the file is watched, too"


async def test_a_route_goes_and_comes_back(tmp_path: Path) -> None:
    """A rollout ends with its route, is no bother to anybody, and another one begins when it comes back."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), PLAN)
        other = text.replace("name: wine", "name: beer").replace("/models/wine/", "/models/beer/")
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask(USERS[:100])
            first = await counted(proxy, 100)
            await proxy.publish(other)
            assert "route wine is gone" in changes(proxy)
            assert await no_rollout(proxy)
            assert (await proxy.infer("user-1"))[0] == 404
            await eventually(lambda: is_in(proxy, "ramping", 0, route="beer"), "the other route's rollout")
            assert await proxy.total("modelproxy_rollout_weight", route="wine") == 0
            await proxy.publish(text)
            await crowd.ask(USERS[:60])
            found = await counted(proxy, 60)
            assert found["rollout"] != first["rollout"]
            assert found["weight"] == 25.0
            url = f"{proxy.admin}/api/v1/routes/wine/abort"
            async with proxy.session.post(url) as response:
                assert response.status == 200
            for each in (other, text):
                await proxy.publish(each)
            assert "rolled back before" in changes(proxy)
            again = await rollout(proxy)
            assert (again["rollout"], again["phase"], again["weight"]) == (
                found["rollout"],
                "rolled_back",
                0.0,
            )
            await crowd.ask(USERS[:20])
            assert await proxy.total("modelproxy_observer_tick_failures_total") == 0


async def test_without_traffic_nothing_is_raised(tmp_path: Path) -> None:
    """The time to hold alone is no reason: first nobody asks, then nobody reaches the canary."""
    async with models() as (one, two):
        plan = f"rollout: {{steps: [5, 50], hold: 1s, guardrails: {EVENTS}}}"
        text = config(tmp_path, (one.url, two.url), plan)
        async with serve(tmp_path, text) as proxy:
            found = await judged(proxy, "no_traffic")
            assert "0 units are too few" in found["judgement"]["sentence"]
            lucky = set(who_joins(text, 5, USERS))
            await Crowd(proxy).ask(user for user in USERS[:1000] if user not in lucky)
            found = await judged(proxy, "srm")
            assert found["judgement"]["verdict"] == "invalid"
            assert found["evidence"]["problems"] == ["no_canary_traffic"]
            assert verdicts(proxy) == []
            assert (found["step"], found["weight"]) == (0, 5.0)
