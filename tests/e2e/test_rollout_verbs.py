"""A person's word about a rollout, over HTTP and on the command line, to a whole proxy: at once, and not forgotten."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.clock import monotonic
from tests.e2e.running import Running, eventually, serve, waited_s
from tests.e2e.trial import config, journal, models, no_rollout, rollout

pytestmark = pytest.mark.slow

USERS = [f"user-{i}" for i in range(60)]


BEER = """  - name: beer
    match: {path: "/v2/models/beer/*"}
    variants: [{name: v1, model: one, role: champion}]
"""


@asynccontextmanager
async def on_trial(directory: Path) -> AsyncIterator[str]:
    """Run two models; yield the configuration of a canary on its way, and of a route without any."""
    async with models() as (one, two):
        plan = "rollout: {steps: [25, 50], hold: 1h}"
        yield config(directory, (one.url, two.url), plan, more=BEER)


async def variants(proxy: Running) -> dict[str, str]:
    """Return who answers each user."""
    answers = await asyncio.gather(*map(proxy.infer, USERS))
    assert {status for status, _ in answers} == {200}
    return {user: variant for user, (_, variant) in zip(USERS, answers, strict=True)}


async def say(proxy: Running, verb: str, reason: str = "", route: str = "wine") -> tuple[int, dict[str, Any]]:
    """POST a verb; return status and answer."""
    body = {"reason": reason} if reason else {}
    async with proxy.session.post(f"{proxy.admin}/api/v1/routes/{route}/{verb}", json=body) as answer:
        return answer.status, await answer.json()


async def command(proxy: Running, *arguments: str) -> tuple[int, str, str]:
    """Run ``modelproxy`` against the proxy; return exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "MODELPROXY_ADMIN": proxy.admin},
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.alone
async def test_each_verb_acts_at_once(tmp_path: Path) -> None:
    """With the answer to a verb every worker has it: the very next requests go where it says."""
    async with on_trial(tmp_path) as text, serve(tmp_path, text) as proxy:
        at_25 = await variants(proxy)
        assert 5 <= Counter(at_25.values())["v2"] <= 25

        status, answer = await say(proxy, "promote", "the graphs look fine")
        assert (status, answer["changes"]) == (200, ["v2: promoted, 25 % → 100 % (promoted)"])
        assert set((await variants(proxy)).values()) == {"v2"}

        before, waited_before_s = monotonic(), waited_s()
        status, answer = await say(proxy, "abort", "they do not")
        took_s = monotonic() - before
        assert (status, answer["changes"]) == (200, ["v2: aborted, 100 % → 0 % (rolled back)"])
        assert set((await variants(proxy)).values()) == {"v1"}
        assert took_s < 1.0 + waited_s() - waited_before_s
        print(f"abort, from the request to the last worker: {took_s * 1000:.0f} ms")  # noqa: T201 - the figure, with -s

        status, answer = await say(proxy, "abort")
        assert (status, answer["error"]) == (409, "v2: it is rolled_back already")
        assert (await say(proxy, "resume"))[0] == 200
        assert await variants(proxy) == at_25, "a rollout that starts again has the same units"
        assert (await say(proxy, "pause"))[0] == 200
        assert (await rollout(proxy))["paused_by"] == "admin 127.0.0.1"
        assert (await say(proxy, "resume"))[0] == 200
        assert (await rollout(proxy))["paused_by"] == ""

        verbs = journal(proxy, "verb")
        assert [line["verdict"] for line in verbs] == ["promote", "abort", "resume", "pause", "resume"]
        assert verbs[1] | {"ts": "", "digest": "", "version": 0, "from": 0, "rollout": ""} == {
            "ts": "", "event": "verb", "by": "admin 127.0.0.1", "digest": "", "version": 0, "from": 0,
            "route": "wine", "variant": "v2", "rollout": "", "phase": "rolled_back", "sequence": 3,
            "verdict": "abort", "reason": "they do not", "from_weight": 100.0, "to_weight": 0.0,
        }  # fmt: skip
        assert [line["version"] for line in verbs] == [line["from"] + 1 for line in verbs]


async def test_what_cannot_be_done(tmp_path: Path) -> None:
    """An unknown route is told which there are, and one without a rollout that it has none."""
    async with on_trial(tmp_path) as text, serve(tmp_path, text) as proxy:
        status, answer = await say(proxy, "abort", route="water")
        assert (status, answer["error"]) == (404, "no route is called water; there are: wine, beer")
        status, answer = await say(proxy, "abort", route="beer")
        assert status == 409
        assert "route beer has no rollout" in answer["error"]
        assert await no_rollout(proxy, "beer") == "route beer has no rollout"
        assert journal(proxy, "verb") == []


@pytest.mark.parametrize(
    "ending",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL],
    ids=["terminated", "killed"],
)
async def test_a_restart_forgets_nothing(tmp_path: Path, ending: signal.Signals) -> None:
    """What was aborted stays off and what was promoted stays on, however the proxy ended."""
    async with on_trial(tmp_path) as text:
        before: dict[str, Any] = {}
        for expected, verb in (("", "abort"), ("v1", "promote"), ("v2", "abort"), ("v1", "")):
            async with serve(tmp_path, text) as proxy:
                if expected:
                    after = await rollout(proxy)
                    same = ("rollout", "phase", "by", "sequence", "weight")
                    assert [after[name] for name in same] == [before[name] for name in same]
                    assert after["seconds_since_start"] >= before["seconds_since_start"]
                    assert set((await variants(proxy)).values()) == {expected}
                if verb:
                    assert (await say(proxy, verb))[0] == 200
                    before = await rollout(proxy)
                    proxy.process.send_signal(ending)
                    await proxy.process.wait()


async def test_a_damaged_book_is_the_champions(tmp_path: Path) -> None:
    """Of a rollout that nobody knows where it stood, nothing is shown to clients until a person says so."""
    async with on_trial(tmp_path) as text:
        async with serve(tmp_path, text) as proxy:
            assert (await say(proxy, "promote"))[0] == 200
        (tmp_path / "state" / "rollouts.json").write_bytes(b'{"format": 1, "rollo')
        async with serve(tmp_path, text) as proxy:
            assert set((await variants(proxy)).values()) == {"v1"}
            assert any("it is held at 0 %" in change for change in journal(proxy, "publish")[-1]["changes"])
            assert (await rollout(proxy))["phase"] == "rolled_back"
            assert (await say(proxy, "promote"))[0] == 200
            assert set((await variants(proxy)).values()) == {"v2"}


async def test_the_file_is_edited_on_the_way(tmp_path: Path) -> None:
    """The file declares, the verbs move: an edit elsewhere moves nothing back, and one of the steps fits them."""
    async with on_trial(tmp_path) as text, serve(tmp_path, text) as proxy:
        assert (await say(proxy, "promote"))[0] == 200
        await proxy.publish(text.replace("drain: 5s", "drain: 6s"))
        assert set((await variants(proxy)).values()) == {"v2"}
        async with proxy.session.post(f"{proxy.admin}/api/v1/reload") as answer:
            assert (await answer.json())["result"] == "unchanged"
        assert (await say(proxy, "abort"))[0] == 200
        assert (await say(proxy, "resume"))[0] == 200
        await proxy.publish(text.replace("[25, 50]", "[10, 50]"))
        assert ((await rollout(proxy))["weight"], (await rollout(proxy))["step"]) == (10.0, 0)
        changes = journal(proxy, "publish")[-1]["changes"]
        assert any("the steps were edited: it continues at 10 %, and was at 25 %" in c for c in changes)


async def test_an_upgrade_goes_on(tmp_path: Path) -> None:
    """The program after reads the same book, and its versions go on."""
    async with on_trial(tmp_path) as text, serve(tmp_path, text) as proxy:
        _, answer = await say(proxy, "abort", "bad")
        before = await rollout(proxy)
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_done() -> bool:
            status = await proxy.status()
            return bool(status) and status["config"]["upgrades_total"] == 1

        await eventually(is_done, "the upgrade")
        after = await rollout(proxy)
        assert (after["phase"], after["rollout"], after["reason"]) == (
            "rolled_back",
            before["rollout"],
            "bad",
        )
        assert set((await variants(proxy)).values()) == {"v1"}
        assert (await proxy.status())["config"]["version"] > answer["version"]


async def test_the_command_line(tmp_path: Path) -> None:
    """The commands say what happens and from which to which weight; what is refused ends with 1."""
    async with on_trial(tmp_path) as text, serve(tmp_path, text) as proxy:
        assert await command(proxy, "pause", "wine", "--reason", "lunch") == (
            0, "wine: v2: paused, stays at 25 % (ramping, step 1 of 2, paused by admin 127.0.0.1)\n", "",
        )  # fmt: skip
        code, out, _ = await command(proxy, "status", "wine")
        assert code == 0
        assert "rollout of v2: ramping, step 1 of 2 at 25 %" in out
        assert "paused by admin 127.0.0.1" in out
        assert await command(proxy, "abort", "wine") == (
            0,
            "wine: v2: aborted, 25 % → 0 % (rolled back)\n",
            "",
        )
        assert await command(proxy, "abort", "wine") == (1, "", "wine: v2: it is rolled_back already\n")
        code, out, _ = await command(proxy, "resume", "wine", "--json")
        assert (code, orjson.loads(out)["result"]) == (0, "published")
        code, _, err = await command(proxy, "promote", "water")
        assert (code, err) == (1, "water: no route is called water; there are: wine, beer\n")
        assert (await command(proxy, "promote"))[0] == 2
