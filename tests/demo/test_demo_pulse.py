"""A look takes in what the clients saw and what the status says, and notices who has ended."""

import asyncio

import pytest

from proxy.demo.facts import Answer
from proxy.demo.processes import DemoError
from proxy.demo.pulse import Pulse
from proxy.demo.story import RELEASES
from proxy.demo.traffic import Traffic
from proxy.demo.view import Snapshot
from proxy.tasks import spawn
from tests.demo.demo_stage import FakeStage, FakeView, rollout_document


def build_traffic() -> Traffic:
    """Traffic that was never sent."""
    return Traffic("http://nowhere", iter(()), [b""], [1], 1.0, caller="test")


async def test_a_look_shows_the_present_state() -> None:
    """Counts of the traffic, weights and rollout of the status reach the view."""
    stage, view, traffic = (
        FakeStage("", {"": [rollout_document(RELEASES[0], "baking")]}),
        FakeView(),
        build_traffic(),
    )
    snapshot = Snapshot(addresses={}, arms=(), part="parcels")
    pulse = Pulse(stage.stage, "parcels", traffic, view, snapshot)
    task = spawn(asyncio.sleep(60), name="traffic")
    traffic.answers.append(Answer("test-1", "u", 0, 0, 0, "v1", 200, 1, 0.002))
    route = await pulse.beat(task)
    assert route["name"] == "parcels"
    assert (snapshot.requests, snapshot.config_version, snapshot.weights) == (1, 3, {"v1": 100.0})
    assert snapshot.rollout is not None
    assert snapshot.rollout["phase"] == "baking"
    assert view.shown == [("parcels", 1)]
    task.cancel()


async def test_traffic_that_ended_is_noticed() -> None:
    """Nobody looks on at a traffic that is no more."""
    pulse = Pulse(
        FakeStage("", {}).stage, "parcels", build_traffic(), FakeView(), Snapshot(addresses={}, arms=())
    )
    task = spawn(asyncio.sleep(0), name="traffic")
    await task
    with pytest.raises(DemoError, match="before its time"):
        await pulse.beat(task)
