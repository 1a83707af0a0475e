"""Users who come back, in a whole proxy whose hours last seconds: what begins after everybody was counted is found."""

import os
from itertools import chain, repeat
from pathlib import Path

import pytest

import proxy
from tests.e2e.running import Running, eventually, serve
from tests.e2e.trial import Crowd, config, counts, decisions, models, recomputed, rollout, verdicts

pytestmark = pytest.mark.slow

SECONDS = 6
USERS = [f"user-{i}" for i in range(240)]

SHORT_HOURS = f"""
import proxy.evidence.layout
proxy.evidence.layout.GENERATION_NS = {SECONDS} * 1_000_000_000
"""


@pytest.fixture
def short_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every process of the proxy count generations of a few seconds."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SHORT_HOURS)
    places = (str(site), str(Path(proxy.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))


async def units(running: Running) -> int:
    """Return how many units were counted as new."""
    return sum(counts(await rollout(running), "units").values())


@pytest.mark.alone
@pytest.mark.usefixtures("short_hours")
@pytest.mark.long
async def test_a_canary_that_becomes_slow_when_all_are_known(tmp_path: Path) -> None:
    """Nobody is new any more; the canary becomes slow, and the next hour of the same users takes it off."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), "rollout: {steps: [50], hold: 1h, max_duration: 5h}")
        async with serve(tmp_path, text) as running:
            crowd = Crowd(running)
            rounds = chain.from_iterable(repeat(USERS))

            async def has_hours() -> bool:
                await crowd.ask(USERS)
                found = await rollout(running)
                guardrails = (found.get("evidence") or {}).get("guardrails", ())
                return any("hours" in each["parts"] for each in guardrails)

            await eventually(has_hours, "an hour to be over", 6.0 * SECONDS)
            await crowd.ask(USERS)

            async def all_are_known() -> bool:
                return await units(running) == len(USERS)

            await eventually(all_are_known, "everybody to be counted")
            assert verdicts(running) == []
            two.delay_s = 0.1
            await crowd.ask_until(rounds, lambda: verdicts(running), "the rollback", 60.0)
            (line,) = decisions(running)
            assert (line["verdict"], line["reason"], line["blamed"]) == ("rollback", "harm", ["latency"])
            assert "in one hour" in line["sentence"]
            assert await units(running) == len(USERS)
            assert crowd.statuses.keys() == {200}
        assert recomputed(running, line)["verdict"] == "rollback"
