"""Releases follow what the status says: edit, wait, abort where the story has it, and leave nothing under way."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo import pulse, releases
from proxy.demo.processes import DemoError
from proxy.demo.releases import Releases
from proxy.demo.story import RELEASES
from tests.demo.demo_stage import FakeStage, FakeView, Script, rollout_document

SKEWED, BROKEN, FIXED = RELEASES
HELD = {"verdict": "hold", "reason": "disagreement", "sentence": "its answers differ", "log_e": {}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is watched for longer than it takes."""
    monkeypatch.setattr(releases, "TICK_S", 0.001)
    monkeypatch.setattr(pulse, "TICK_S", 0.001)
    monkeypatch.setattr(releases, "_SHOW_S", 0.01)
    monkeypatch.setattr(releases, "LIMIT_S", 0.3)


@pytest.fixture
async def listen() -> AsyncIterator[str]:
    """A server that answers as v1, whoever asks."""

    async def handle(request: web.Request) -> web.Response:
        sent = {"x-request-id": request.headers["x-request-id"], "x-modelproxy-variant": "v1"}
        return web.Response(body=b'{"outputs": [{"name": "label", "data": [1]}]}', headers=sent)

    app = web.Application()
    app.router.add_post("/v2/models/parcels/infer", handle)
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}"


async def test_the_story(listen: str) -> None:
    """Each build is one edit; the one that copies hold is aborted after its bake, the others move by themselves."""
    baking = rollout_document(SKEWED, "baking")
    script: Script = {
        "v3": [
            None,
            baking,
            baking | {"judgement": HELD},
            baking | {"judgement": HELD, "seconds_in_step": 9.0},
        ],
        "v4": [baking, rollout_document(BROKEN, "ramping"), rollout_document(BROKEN, "rolled_back")],
        "v5": [rollout_document(FIXED, phase) for phase in ("baking", "ramping", "promoted")],
    }
    stage = FakeStage(listen, script)
    view = FakeView()
    played = Releases(stage.stage, view)
    await played.run()
    assert stage.config.written == [(0, "v3"), (0, "v4"), (0, "v5")]
    assert stage.admin.aborted == ["v3"]
    assert [(trial.release, trial.phase) for trial in played.trials] == [
        (SKEWED, "rolled_back"),
        (BROKEN, "rolled_back"),
        (FIXED, "promoted"),
    ]
    assert {trial.rollout for trial in played.trials} == {"id-v3", "id-v4", "id-v5"}
    assert (played.trials[0].compared, played.trials[0].disagreed) == (4, 3)
    assert "v3 0 %: the rollout begins, and copies of 20 % of the requests" in view.events
    assert "its answers differ" in view.events
    assert "v3 0 %, by a person: by hand" in view.events
    assert view.events.count("v5 100 %: v5 is promoted") == 1
    assert played.traffic.answers
    assert played.traffic.failed == 0


async def test_a_rollout_that_does_not_end_is_left_to_the_checks(listen: str) -> None:
    """What stands still for too long is said, and the story goes on."""
    stage, view = FakeStage(listen, {"v3": [rollout_document(SKEWED, "baking")]}), FakeView()
    played = Releases(stage.stage, view)
    await played.run()
    assert played.trials[0].phase == "rolled_back", "a person can abort it all the same"
    assert any("v5 is still not promoted" in event for event in view.events)


async def test_a_process_that_ended_ends_the_story(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a rollout without a proxy."""
    stage, view = FakeStage(listen, {}), FakeView()

    def ended() -> None:
        raise DemoError("proxy ended with exit code 1")

    monkeypatch.setattr(stage.fleet, "check_alive", ended)
    with pytest.raises(DemoError, match="exit code 1"):
        await Releases(stage.stage, view).run()
    assert {task for task in asyncio.all_tasks() if "traffic" in task.get_name()} == set()
