"""One writer for the file and for the rollouts: what is moved, what is refused, and what is written down before."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.control import publisher as publisher_module
from proxy.control import rollouts as rollouts_module
from proxy.control.book import Book, Content
from proxy.control.release import Outcome, Release, Result
from proxy.control.steering import Order, read_order
from tests.control.publishing import FakeFleet, Publishing
from tests.control.rollout_world import TEXT

GOOD = TEXT.encode()
HURRIED = GOOD.replace(b"hold: 1m", b"hold: 2m")


class Fleet(FakeFleet):
    """Keeps the releases, and what was on disk at each call."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__()
        self.state_dir = state_dir
        self.releases: list[Release] = []
        self.phases_at_commit: list[str] = []

    def commit(self, release: Release) -> None:
        """Look into the book."""
        super().commit(release)
        self.releases.append(release)
        entry = Book(self.state_dir).read().content.entries.get("wine")
        self.phases_at_commit.append(str(entry.state.phase) if entry else "")


class FullBook(Book):
    """A disk that may be full."""

    is_full = False

    def write(self, content: Content) -> None:
        """Write, unless it is full."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().write(content)


class World(Publishing):
    """A publisher with rollouts, on a disk that may be full."""

    fleet: Fleet

    def __init__(self, state_dir: Path, last_version: int = 0) -> None:
        self.book = FullBook(state_dir)
        super().__init__(state_dir, last_version, Fleet(state_dir), self.book)

    async def publish(self, content: bytes = GOOD, by: str = "file") -> Outcome:
        """Publish ``content``."""
        return await super().publish(content, by)

    async def say(self, verb: str, route: str = "wine", reason: str = "") -> Outcome:
        """A person's word."""
        return await self.steer({"verb": verb, "by": "admin 127.0.0.1", "route": route, "reason": reason})

    async def decide(self, action: str, verb: str = "decide", **more: Any) -> Outcome:
        """The engine's decision about the rollout as it is."""
        return await self.steer(self.decision(action, verb, **more))

    def decision(self, action: str, verb: str = "decide", **more: Any) -> dict[str, Any]:
        """The message of such a decision."""
        state = self.rollouts.entries["wine"].state
        facts = {"verdict": action, "action": action, "rollout": state.rollout, "sequence": state.sequence}
        return {
            "verb": verb,
            "by": "engine",
            "route": "wine",
            "decision": {**facts, "reason": "shown", **more},
        }

    async def steer(self, message: dict[str, Any]) -> Outcome:
        """Give the publisher a message of the link."""
        order = read_order(message)
        assert isinstance(order, Order)
        return await self.publisher.steer(order)

    def weight(self, route: str = "wine") -> str:
        """The weight that the table in force was made with."""
        running = self.publisher.running
        assert running is not None
        return next(p["weight"] for p in running.positions if p["route"] == route)


@pytest.fixture(name="world")
async def fixture_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world that runs :data:`GOOD`, with its retries out of the way."""
    monkeypatch.setattr(rollouts_module, "RETRY_S", 60)
    world = World(tmp_path / "state")
    assert (await world.publish()).ok
    return world


async def test_the_file_begins_rollouts(world: World) -> None:
    """The first publish starts each at its first step, and the journal says so."""
    assert (world.weight(), world.weight("beer")) == ("5", "0")
    assert world.lines()[0]["changes"] == [
        "routes[wine]: the rollout of v2 begins at 5 %",
        "routes[beer]: the rollout of v3 begins at 0 %",
    ]
    table = world.fleet.releases[0].table
    assert [str(variant.weight) for variant in table.routes[0].variants] == ["95", "5"]


async def test_a_step_is_a_table_of_its_own(world: World) -> None:
    """The engine's step has the next version and the same digest, and the journal has its figures."""
    before = world.publisher.running
    outcome = await world.decide("ramp", log_e={"errors": -3.0})
    after = world.publisher.running
    assert before is not None
    assert after is not None
    assert (outcome.result, outcome.version, world.weight()) == (Result.PUBLISHED, 2, "25")
    assert outcome.changes == ("v2: the next step, 5 % → 25 % (ramping, step 2 of 3)",)
    assert (after.digest, after.settings) == (before.digest, before.settings)
    assert after.for_workers == before.for_workers
    assert world.fleet.calls[-2:] == [("prepare", 2), ("commit", 2)]
    line = world.lines()[-1]
    assert [line[name] for name in ("event", "version", "from", "by", "digest")] == [
        "decision", 2, 1, "engine", before.digest,
    ]  # fmt: skip
    assert (line["from_weight"], line["to_weight"], line["log_e"]) == (5, 25, {"errors": -3.0})
    assert world.publisher.status()["reloads_total"] == 0


async def test_the_book_is_written_before_the_commit(world: World) -> None:
    """A crash between the two makes it effective at the next start; never the other way round."""
    await world.say("promote")
    await world.say("abort")
    assert world.fleet.phases_at_commit == ["ramping", "promoted", "rolled_back"]


async def test_declared_and_effective_are_two_things(world: World) -> None:
    """The file as it was declared changes nothing, and another hold moves nothing back."""
    await world.decide("ramp")
    assert (await world.publish(b"# the same\n" + GOOD)).result is Result.UNCHANGED
    outcome = await world.publish(HURRIED)
    assert (outcome.result, world.weight()) == (Result.PUBLISHED, "25")
    assert outcome.changes == ("routes[wine].variants[v2].rollout.hold: 1m → 2m",)


async def test_a_steps_digest_is_that_of_the_file_as_it_is(world: World) -> None:
    """A comment makes no table, and the next step names the file with the comment."""
    await world.publish(b"# the same\n" + GOOD)
    digest = world.publisher.status()["digest"]
    await world.decide("ramp")
    assert world.publisher.running is not None
    assert world.publisher.running.digest == digest == world.lines()[-1]["digest"]


async def test_the_same_decision_again(world: World) -> None:
    """What the engine asks for each second is done once: not while it is under way, and not when it is done."""
    message = world.decision("ramp")
    world.fleet.gate.clear()
    world.fleet.asked.clear()
    first = asyncio.ensure_future(world.steer(message))
    await world.fleet.asked.wait()
    assert (await world.steer(message)).result is Result.ALREADY
    world.fleet.gate.set()
    assert (await first).result is Result.PUBLISHED
    assert (await world.steer(message)).result is Result.ALREADY
    assert (world.rollouts.stale, world.weight()) == (0, "25")
    assert len([line for line in world.lines() if line["event"] == "decision"]) == 1


async def test_a_decision_about_what_is_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A person was faster: the engine's decision from before is refused in words, counted, and logged once."""
    message = world.decision("ramp")
    await world.say("pause")
    outcomes = [await world.steer(message) for _ in range(3)]
    assert [outcome.ok for outcome in outcomes] == [False] * 3
    assert "decided from state 1, and it is 2 by now" in outcomes[0].problems[0]
    assert world.publisher.status()["rollout_stale_decisions_total"] == 3
    assert caplog.text.count("decided from state 1") == 1


async def test_a_persons_word_beats_the_engines(world: World) -> None:
    """While paused the engine moves nothing, and after resume it does."""
    await world.say("pause")
    outcome = await world.decide("ramp")
    assert (outcome.ok, "paused by admin 127.0.0.1" in outcome.problems[0]) == (False, True)
    await world.say("resume")
    assert (await world.decide("ramp")).ok


@pytest.mark.parametrize(
    ("route", "words"),
    [("nope", "there are: wine, beer, water"), ("water", "route water has no rollout")],
)
async def test_nothing_to_move(world: World, route: str, words: str) -> None:
    """The sentence says what there is."""
    outcome = await world.say("abort", route)
    assert (outcome.result, outcome.version, words in outcome.problems[0]) == (Result.REFUSED, 1, True)


async def test_nothing_moves_before_the_first_table(tmp_path: Path) -> None:
    """Who is too early is refused."""
    assert not (await World(tmp_path / "early").say("abort")).ok


async def test_notes_are_written_down(world: World) -> None:
    """A note makes a line and no table; only what the engine would have done for real is counted."""
    await world.decide("hold", "note")
    await world.decide("rollback", "note", dry_run=True)
    lines = world.lines()[-2:]
    assert [(line["event"], line["version"], line["verdict"]) for line in lines] == [
        ("note", 1, "hold"),
        ("note", 1, "rollback"),
    ]
    assert world.rollouts.totals() == {"wine": {"hold": 1}}
    assert not (await world.decide("hold", "note", sequence=9)).ok
    assert len(world.lines()) == 3


async def test_decisions_are_counted(world: World) -> None:
    """By verdict; a person's word is none of the engine's."""
    await world.decide("ramp")
    await world.decide("ramp")
    await world.decide("rollback")
    await world.say("resume")
    assert world.rollouts.describe()["decisions"] == {"wine": {"ramp": 2, "rollback": 1}}


# When the disk or a process does not do its part.


async def test_on_a_full_disk_the_engine_goes_no_further(world: World) -> None:
    """A step that a restart would forget is refused; when the disk has room it is taken."""
    world.book.is_full = True
    outcome = await world.decide("ramp")
    assert (outcome.ok, "a restart would forget" in outcome.problems[0], world.weight()) == (False, True, "5")
    assert world.fleet.calls[-1] == ("abandon", 2)
    world.book.is_full = False
    assert (await world.decide("ramp")).version == 3
    world.rollouts.close()


@pytest.mark.parametrize("who", ["engine", "person"])
async def test_on_a_full_disk_a_canary_is_taken_off(world: World, who: str) -> None:
    """Whoever takes it off: it takes effect, and a restart does not bring it back."""
    world.book.is_full = True
    outcome = await (world.decide("rollback") if who == "engine" else world.say("abort"))
    assert (outcome.result, world.weight()) == (Result.PUBLISHED, "0")
    assert "a restart now would forget this" in outcome.warnings[0]
    restarted = World(world.book.path.parent)
    await restarted.publish()
    assert restarted.weight() == "0"
    world.rollouts.close()


async def test_on_a_full_disk_a_person_may_promote(world: World) -> None:
    """A person's word takes effect; the answer says that it is not written down."""
    world.book.is_full = True
    outcome = await world.say("promote")
    assert (outcome.ok, world.weight(), len(outcome.warnings)) == (True, "100", 1)
    world.rollouts.close()


async def test_no_process_can_hold_the_next_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is not taken and not written down, and the engine waits before it is tried again."""
    now = [100.0]
    monkeypatch.setattr(publisher_module, "monotonic", lambda: now[0])
    world.fleet.refusals = ("worker 0: no space",)
    outcome = await world.decide("ramp")
    assert (outcome.ok, outcome.problems) == (False, ("worker 0: no space",))
    assert world.fleet.calls[-1] == ("abandon", 2)
    world.fleet.refusals = ()
    now[0] += 1
    assert "tried again in a moment" in (await world.decide("ramp")).problems[0]
    now[0] += publisher_module.REST_S
    assert (await world.decide("ramp")).ok
    assert world.weight() == "25"


async def test_no_process_can_hold_the_table_without_the_canary(world: World) -> None:
    """It is wanted from then on, in the book too; the next publish of whatever brings it in."""
    world.fleet.refusals = ("worker 0: no space",)
    outcome = await world.say("abort")
    assert (outcome.ok, outcome.may_pass_later, world.weight()) == (False, True, "5")
    assert "written down, not in force yet, and tried again" in outcome.problems[0]
    assert str(Book(world.book.path.parent).read().content.entries["wine"].state.phase) == "rolled_back"
    assert (await world.publish()).may_pass_later
    world.fleet.refusals = ()
    caught_up = await world.publish()
    assert (caught_up.result, world.weight()) == (Result.PUBLISHED, "0")
    assert "is where it was wanted" in caught_up.changes[0]
    assert (await world.publish()).result is Result.UNCHANGED


async def test_a_broken_file_does_not_keep_a_canary_on(world: World) -> None:
    """What is wanted does not wait until somebody has mended the file, whose problems stay said."""
    world.fleet.refusals = ("worker 0: no space",)
    await world.say("abort")
    broken = await world.publish(b"routes: 5")
    assert (broken.ok, broken.may_pass_later) == (False, True)
    world.fleet.refusals = ()
    gone = await world.publisher.refuse("a.yaml: no such file", by="file", why="the file changed")
    assert (gone.ok, gone.may_pass_later, world.weight()) == (False, False, "0")
    assert world.publisher.status()["last_error"] == ["a.yaml: no such file"]


async def test_a_refused_file_leaves_the_rollouts(world: World) -> None:
    """What becomes of rollouts under a file counts only if the file does."""
    before = world.rollouts.entries
    world.fleet.refusals = ("worker 0: no space",)
    assert not (await world.publish(GOOD.replace(b"[5, 25, 50]", b"[1, 50]"))).ok
    assert world.rollouts.entries is before
    assert Book(world.book.path.parent).read().content.entries == before


async def test_a_restart_goes_on(world: World) -> None:
    """Another start reads the book: same weight, same id, same sequence; the journal says where it stands."""
    await world.decide("ramp")
    restarted = World(world.book.path.parent, last_version=2)
    outcome = await restarted.publish()
    assert (outcome.version, restarted.weight()) == (3, "25")
    reason = world.rollouts.entries["wine"].state.reason
    assert outcome.changes == (
        f"routes[wine]: the rollout of v2 goes on at 25 % (ramping, by engine: {reason})",
        "routes[beer]: the rollout of v3 goes on at 0 % (baking, by engine: started)",
    )
    assert (await restarted.publish(GOOD + b"# edited\n")).changes == (), "said once"
    assert restarted.rollouts.entries["wine"].state == world.rollouts.entries["wine"].state


@pytest.mark.parametrize("is_restarted", [False, True], ids=["one life", "another start"])
async def test_a_file_that_flickers_exposes_nobody(world: World, is_restarted: bool) -> None:
    """A route that is dropped and comes back has its canary at 0 %, also where the program ended in between."""
    await world.decide("rollback")
    assert (await world.publish(GOOD.replace(b"name: wine", b"name: whine"))).ok
    if is_restarted:
        world = World(world.book.path.parent, last_version=3)
    outcome = await world.publish()
    assert world.weight() == "0"
    assert any("modelproxy resume wine" in warning for warning in outcome.warnings)
    assert "modelproxy resume wine" in " ".join(world.lines()[-1]["changes"])
    assert not (await world.decide("ramp")).ok
    assert (await world.say("resume")).ok
    assert world.weight() == "5"


async def test_a_damaged_book(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Every rollout is held at 0 %, the journal and the log say it loudly, and a person may start it again."""
    await world.say("promote")
    world.book.path.write_bytes(b"\0" * 512)
    restarted = World(world.book.path.parent, last_version=2)
    outcome = await restarted.publish()
    assert (restarted.weight(), restarted.weight("beer")) == ("0", "0")
    assert sum("is held at 0 %" in warning for warning in outcome.warnings) == 2
    assert sum("is held at 0 %" in change for change in restarted.lines()[-1]["changes"]) == 2
    assert "is no book of rollouts" in caplog.text
    assert not (await restarted.decide("ramp")).ok
    assert (await restarted.say("resume")).ok
    assert restarted.weight() == "5"


async def test_whoever_shows_it_is_told(world: World) -> None:
    """Every order but a repeated one is told, because a counter may have changed."""
    before = world.pushes
    message = world.decision("ramp")
    await world.steer(message)
    await world.steer(message)
    await world.say("abort")
    assert world.pushes == before + 2
