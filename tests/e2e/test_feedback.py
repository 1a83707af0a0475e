"""Feedback in a whole proxy: what was said about answers rolls back, is needed to promote, and is never lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from proxy.routing.hashing import bucket
from tests.e2e.running import Running, eventually, model_server, serve
from tests.e2e.trial import config, decided, is_in, journal, rollout

pytestmark = pytest.mark.slow

PATH = "/v2/models/wine/infer"


@asynccontextmanager
async def proxy_with(directory: Path, rollout: str = "{}") -> AsyncIterator[Running]:
    """Run a proxy whose canary has a rollout."""
    async with model_server("one") as one, model_server("two") as two:
        text = config(directory, (one.url, two.url), f"rollout: {rollout}")
        async with serve(directory, text) as proxy:
            yield proxy


async def ask(proxy: Running, users: Iterable[str], at_once: int = 8) -> list[tuple[str, str]]:
    """Let each user ask once; return of each answer the request id and the variant."""
    queue, answers = iter(users), []

    async def client() -> None:
        for user in queue:
            headers = {"x-user-id": user}
            async with proxy.session.post(proxy.listen + PATH, data=b"{}", headers=headers) as answer:
                assert answer.status == 200
                answers.append((answer.headers["x-request-id"], answer.headers["x-modelproxy-variant"]))

    await asyncio.gather(*(client() for _ in range(at_once)))
    return answers


async def say(proxy: Running, items: Any, expected: int = 200) -> dict[str, Any]:
    """Post feedback; return what became of it."""
    async with proxy.session.post(f"{proxy.admin}/api/v1/feedback", json=items) as answer:
        assert answer.status == expected, await answer.text()
        document: dict[str, Any] = await answer.json()
    return document


def item(name: str, good: bool) -> dict[str, Any]:
    return {"route": "wine", "request_id": name, "good": good}


def is_bad(name: str, percent: int) -> bool:
    """Say of so many percent of answers, chosen by their ids, that they were bad."""
    return bucket(b"verdict:", name.encode()) % 100 < percent


async def judged(proxy: Running) -> tuple[int, int]:
    """Return how many units of canary and champion were judged, as the rollout's evidence has it."""
    evidence = (await rollout(proxy)).get("evidence") or {}
    found = next((each for each in evidence.get("guardrails", ()) if each["metric"] == "feedback"), None)
    return (found["canary_total"], found["champion_total"]) if found else (0, 0)


async def test_answers_called_bad_roll_back(tmp_path: Path) -> None:
    """A canary that is called bad twice as often is rolled back by feedback alone: its answers are fast and whole."""
    plan = "{steps: [50], hold: 1h, budget: null, guardrails: [{metric: errors}, {metric: feedback}]}"
    async with proxy_with(tmp_path, plan) as proxy:
        total = accepted = 0
        while not await is_in(proxy, "rolled_back"):
            assert total < 4_000, "half of these are enough"
            answers = await ask(proxy, (f"user-{i}" for i in range(total, total + 200)))
            total += 200
            items = [item(name, not is_bad(name, 40 if v == "v2" else 20)) for name, v in answers]
            taken = await say(proxy, items)
            accepted += taken["accepted"]
            assert taken == {"accepted": 200, "duplicate": 0, "unknown": 0, "invalid": 0, "problems": []}
            await asyncio.sleep(0.6)
        (line,) = await decided(proxy, 1, "the decision")
        assert (line["verdict"], line["reason"], line["by"]) == ("rollback", "harm", "engine")
        assert line["blamed"] == ["feedback"]
        assert "got a bad answer" in line["sentence"]
        found = await say(proxy, items)
        assert (found["accepted"], found["duplicate"]) == (0, 200)
        assert await proxy.total("modelproxy_feedback_total", outcome="accepted") == accepted == total
        assert await proxy.total("modelproxy_feedback_total", outcome="duplicate") == 200


@pytest.mark.long
async def test_no_feedback_no_promotion(tmp_path: Path) -> None:
    """Without feedback nothing is promoted, and the sentence says how much is missing; with enough of it it is."""
    guardrail = "{metric: feedback, promotion_margin: 100%, tolerance: 20%}"
    plan = f"{{steps: [50], hold: 1s, budget: null, guardrails: [{guardrail}]}}"
    async with proxy_with(tmp_path, plan) as proxy:
        answers = await ask(proxy, (f"user-{i}" for i in range(600)))

        async def is_missed() -> dict[str, Any]:
            judgement = (await rollout(proxy)).get("judgement") or {}
            return judgement if judgement.get("reason") == "not_shown" else {}

        found = await eventually(is_missed, "that nothing is shown")
        assert "nobody has said yet whether an answer was good" in found["sentence"]
        assert any(need["name"] == "feedback" for need in found["needs"])
        await asyncio.sleep(2.0)
        assert await is_in(proxy, "ramping", 0)
        lines = [orjson.dumps(item(name, not is_bad(name, 10))) for name, _ in answers]
        headers = {"content-type": "application/x-ndjson"}
        async with proxy.session.post(
            f"{proxy.admin}/api/v1/feedback", data=b"\n".join(lines), headers=headers
        ) as answer:
            assert (await answer.json())["accepted"] == 600
        await eventually(lambda: is_in(proxy, "promoted"), "the promotion")


async def test_feedback_on_one_variant_alone(tmp_path: Path) -> None:
    """Feedback that comes for the canary alone is no evidence of anything: INVALID, with the reason."""
    plan = "{steps: [50], hold: 1s, budget: null, guardrails: [{metric: feedback}]}"
    async with proxy_with(tmp_path, plan) as proxy:
        answers = await ask(proxy, (f"user-{i}" for i in range(400)))
        await say(proxy, [item(name, good=True) for name, variant in answers if variant == "v2"])

        async def is_invalid() -> dict[str, Any]:
            judgement = (await rollout(proxy)).get("judgement") or {}
            return judgement if judgement.get("verdict") == "invalid" else {}

        found = await eventually(is_invalid, "the verdict")
        assert found["reason"] == "feedback_srm"
        assert "not as the weights say" in found["sentence"]


@pytest.mark.long
async def test_killed_in_between(tmp_path: Path) -> None:
    """Whoever is killed when, every acknowledged item is counted once, whatever is sent again."""
    plan = "{steps: [50], hold: 1h, budget: null, guardrails: [{metric: feedback}]}"
    async with model_server("one") as one, model_server("two") as two:
        text = config(tmp_path, (one.url, two.url), f"rollout: {plan}")
        async with serve(tmp_path, text) as proxy:
            answers: list[tuple[str, str]] = []
            for turn in range(3):
                answers += await ask(proxy, (f"user-{turn}-{i}" for i in range(100)))
                os.kill(proxy.observer_pid(), signal.SIGKILL)
                items = [item(name, good=True) for name, _ in answers]
                posting = asyncio.ensure_future(_say_until(proxy, items))
                await asyncio.sleep(0.02 * turn)
                os.kill(await _observer(proxy), signal.SIGKILL)
                await posting
                sent = await _say_until(proxy, items)
                assert (sent["unknown"], sent["duplicate"]) == (0, len(answers))

            async def is_counted() -> bool:
                return sum(await judged(proxy)) == len(answers)

            await eventually(is_counted, "every item, once")
            before = await judged(proxy)
        async with serve(tmp_path, text) as proxy:

            async def is_there() -> bool:
                return await judged(proxy) == before

            await eventually(is_there, "the same after a restart of everything")
            sent = await _say_until(proxy, items)
            assert (sent["accepted"], sent["duplicate"]) == (0, len(answers))


async def _observer(proxy: Running) -> int:
    async def look() -> int:
        try:
            return proxy.observer_pid()
        except AssertionError:
            return 0

    return int(await eventually(look, "an observer"))


async def _say_until(proxy: Running, items: Any) -> dict[str, Any]:
    """Post feedback until somebody acknowledges it."""

    async def post() -> dict[str, Any]:
        try:
            async with proxy.session.post(f"{proxy.admin}/api/v1/feedback", json=items) as answer:
                if answer.status != 200:
                    assert answer.status == 503
                    assert answer.headers["Retry-After"] == "1"
                    return {}
                document: dict[str, Any] = await answer.json()
                return document
        except (aiohttp.ClientError, OSError):
            return {}

    found: dict[str, Any] = await eventually(post, "an acknowledgement")
    return found


@pytest.mark.long
async def test_an_upgrade_on_the_way(tmp_path: Path) -> None:
    """What the program before has answered can be judged after an upgrade, and counts with what came since."""
    plan = "{steps: [50], hold: 1h, budget: null, guardrails: [{metric: feedback}]}"
    async with proxy_with(tmp_path, plan) as proxy:
        answers = await ask(proxy, (f"user-{i}" for i in range(60)))
        before = (await proxy.status())["config"]["version"]
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_upgraded() -> bool:
            status = await proxy.status()
            is_there = bool(status) and status["config"]["version"] > before
            return is_there and await proxy.total("modelproxy_earlier_processes") == 0

        await eventually(is_upgraded, "the program after, alone")
        answers += await ask(proxy, (f"user-{i}" for i in range(60, 100)))
        taken = await _say_until(proxy, [item(name, good=True) for name, _ in answers])
        assert (taken["accepted"], taken["unknown"]) == (100, 0)

        async def is_counted() -> bool:
            return sum(await judged(proxy)) == 100

        await eventually(is_counted, "every item")


@pytest.mark.parametrize(
    ("items", "status", "said"),
    [
        ({"route": "beer", "request_id": "x", "good": True}, 404, "no route is called beer; there are: wine"),
        ({"route": "wine", "request_id": "x", "good": True}, 409, "guardrails: [{metric: feedback}]"),
        ([{"route": "wine", "request_id": "x", "good": 1}], 400, "good: expected true or false, got 1"),
    ],
    ids=["route", "guardrail", "item"],
)
async def test_nobody_can_take_it(tmp_path: Path, items: Any, status: int, said: str) -> None:
    """What nobody can take is refused with what to do."""
    async with proxy_with(tmp_path) as proxy:
        found = await say(proxy, items, status)
        assert said in found["error"]
        assert journal(proxy, "decision") == []
