"""Rollouts over stand-in processes: what the observer asks for is in every worker, and in the program after."""

import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.supervised import Proxy, wait_for

pytestmark = pytest.mark.slow

WEIGHT = "role: canary, weight: 5"
ROLLOUT = "role: canary, rollout: {steps: [5, 25, 50], hold: 1m}"
_numbers = count(100)


class Rolling(Proxy):
    """A supervisor whose file has a rollout, and an observer that says what a test wants."""

    def __init__(self, box: Path) -> None:
        super().__init__(box, workers=2)
        assert WEIGHT in self.text
        self.text = self.text.replace(WEIGHT, ROLLOUT)
        self.write(self.text)

    def state(self) -> dict[str, Any]:
        """Return where the rollout stands, as the observer was told."""
        states = self.fleet().get("rollouts", {}).get("states", [])
        return dict(states[0]) if states else {}

    def request(self, verb: str, **facts: Any) -> dict[str, Any]:
        """Have the observer ask for something; return the reply."""
        number = next(_numbers)
        message = {
            "op": "request",
            "id": number,
            "verb": verb,
            "by": "admin 127.0.0.1",
            "route": "wine",
            **facts,
        }
        fresh = self.box / "says.new"
        fresh.write_bytes(orjson.dumps(message))
        fresh.replace(self.box / "observer.says")
        wait_for(lambda: self.replies(number))
        return self.replies(number)[0]

    def decide(self, action: str, **more: Any) -> dict[str, Any]:
        """Have the observer ask for what the engine decided about the rollout as it is."""
        state = self.state()
        decision = {
            "verdict": action,
            "action": action,
            "rollout": state["rollout"],
            "sequence": state["sequence"],
        }
        return self.request("decide", decision={**decision, **more})

    def replies(self, number: int) -> list[dict[str, Any]]:
        """Return the replies to one request."""
        lines = (line for line in self.log("observer") if line.startswith("reply "))
        messages = (orjson.loads(line.removeprefix("reply ")) for line in lines)
        return [message for message in messages if message["id"] == number]

    def weights(self, kind: str) -> str:
        """Return the last weight that a stand-in was told."""
        notes = [line for line in self.log(kind) if line.startswith("weights ")]
        return notes[-1].rpartition("=")[2] if notes else ""


@pytest.fixture(name="proxy")
def fixture_proxy(tmp_path: Path) -> Iterator[Rolling]:
    """A proxy with a rollout that serves; whatever happens, nothing of it stays."""
    proxy = Rolling(tmp_path)
    proxy.start()
    proxy.wait_for_version(1)
    wait_for(proxy.state)
    yield proxy
    if proxy.process.poll() is None:
        proxy.process.kill()
        proxy.end()


def test_the_engines_decision_is_in_every_worker(proxy: Rolling) -> None:
    """With the reply every worker has committed the table with the new weight."""
    assert proxy.weights("worker-0") == "5"
    reply = proxy.decide("ramp", sentence="as good as the champion")
    assert (reply["ok"], reply["document"]["version"]) == (True, 2)
    for kind in ("worker-0", "worker-1"):
        assert proxy.weights(kind) == "25"
        assert "commit 2" in proxy.log(kind)
    assert proxy.weights("observer") == "25"
    line = proxy.journal()[-1]
    assert (line["event"], line["by"], line["sentence"]) == ("decision", "engine", "as good as the champion")
    wait_for(lambda: proxy.fleet()["rollouts"]["decisions"] == {"wine": {"ramp": 1}})


def test_what_cannot_be_done_is_answered(proxy: Rolling) -> None:
    """Stale, malformed, unknown: each gets its sentence, and nothing moves."""
    stale = proxy.decide("ramp", sequence=0)
    assert (stale["ok"], "by now" in stale["document"]["problems"][0]) == (False, True)
    assert not proxy.request("decide", decision={"verdict": "ramp"})["ok"]
    assert not proxy.request("abort", route="beer")["ok"]
    assert proxy.request("explode")["document"]["problems"] == ["expected reload, got explode"]
    wait_for(lambda: proxy.fleet()["config"]["rollout_stale_decisions_total"] == 1)
    assert proxy.fleet()["config"]["version"] == 1


def test_a_killed_worker_comes_back_to_where_the_rollout_stands(proxy: Rolling) -> None:
    """Its successor is told the weight of now, not that of the file."""
    proxy.request("abort", reason="bad")
    pid = proxy.pid("worker-0")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: proxy.pid("worker-0") != pid and proxy.log("worker-0").count("commit 2") == 2)
    assert proxy.weights("worker-0") == "0"


def test_a_killed_supervisor_is_followed_by_one_that_knows(proxy: Rolling) -> None:
    """The step stays taken, the id and the numbers go on, and the clock too."""
    proxy.decide("ramp")
    wait_for(lambda: proxy.state()["sequence"] == 2)
    before, offset = proxy.state(), proxy.fleet()["rollouts"]["clock_offset_ns"]
    proxy.process.kill()
    proxy.end()
    (proxy.box / "fleet.json").unlink()
    proxy.start()
    proxy.wait_for_version(3)
    assert proxy.state() == before
    assert proxy.fleet()["rollouts"]["clock_offset_ns"] == offset
    assert (proxy.weights("worker-0"), proxy.weights("worker-1")) == ("25", "25")
    assert proxy.decide("ramp")["ok"]


def test_what_was_taken_off_is_tried_until_it_is_off(proxy: Rolling) -> None:
    """A worker without space refuses the table; when there is room it comes by itself."""
    proxy.tell("worker-1", "full")
    reply = proxy.request("abort")
    assert (reply["ok"], "tried again" in reply["document"]["problems"][0]) == (False, True)
    assert proxy.state()["phase"] == "rolled_back"
    assert "commit 2" not in proxy.log("worker-0")
    proxy.tell("worker-1", "full", on=False)
    wait_for(lambda: (proxy.weights("worker-0"), proxy.weights("worker-1")) == ("0", "0"))
    wait_for(lambda: proxy.fleet()["config"]["version"] > 2)


def test_an_upgrade_goes_on(proxy: Rolling) -> None:
    """The program after knows the step, the counts, and what the units of the program before were."""
    proxy.decide("ramp")
    run_dir = Path([line for line in proxy.log("worker-0") if line.startswith("start")][-1].split()[2])
    units = run_dir / f"units-{proxy.state()['rollout']}.cells"
    units.write_bytes(bytes(8))
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: proxy.fleet()["config"]["upgrades_total"] == 1)
    assert proxy.weights("worker-0") == "25"
    assert proxy.fleet()["rollouts"]["decisions"] == {"wine": {"ramp": 1}}
    after = Path([line for line in proxy.log("worker-0") if line.startswith("start")][-1].split()[2])
    assert after != run_dir
    assert (after / units.name).read_bytes() == bytes(8)


def test_no_upgrade_while_the_book_is_behind(proxy: Rolling) -> None:
    """A program that would not know where the rollouts stand does not take over."""
    book = proxy.box / "state" / "rollouts.json"
    (proxy.box / "state" / "rollouts.json.new").mkdir()
    (proxy.box / "state" / "rollouts.json.new" / "in the way").touch()
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: proxy.fleet()["config"]["upgrades_refused_total"] == 1)
    assert "the book of rollouts cannot be written" in proxy.stderr()
    assert book.exists()
