"""Whatever file, disk, processes, people and engine do, in any order: what was taken off is off."""

import asyncio
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.control import rollouts as rollouts_module
from proxy.control.release import Outcome
from tests.control.test_publisher_steering import GOOD, World

FILES = [
    GOOD,
    GOOD.replace(b"[5, 25, 50]", b"[10, 30]"),
    GOOD.replace(b"hold: 1m", b"hold: 2m"),
    GOOD.replace(b"hold: 1m", b"hold: 1m, false_rollback: 2"),
    b"routes: 5",
]
REFUSAL = ("worker 0: no space left on device",)


class Machine(RuleBasedStateMachine):
    """One rollout, and what is known of it by who watched from outside."""

    @initialize()
    def begin(self) -> None:
        """Start a proxy."""
        rollouts_module.RETRY_S = 3600.0
        self.box = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.world = self.make_world(0)
        self.is_off = False
        self.is_paused = False
        self.version = 0
        self.note(self.do(self.world.publish()))

    def make_world(self, last_version: int) -> World:
        """Return a proxy over the state that the one before left."""

        async def make() -> World:
            return World(Path(self.box.name) / "state", last_version)

        return self.runner.run(make())

    def do(self, what: Any) -> Outcome:
        """Run it to its end."""
        outcome: Outcome = self.runner.run(what)
        return outcome

    def note(self, outcome: Outcome) -> Outcome:
        """Check what holds for every outcome."""
        assert outcome.version >= self.version
        self.version = outcome.version
        return outcome

    @rule(number=st.integers(0, len(FILES) - 1))
    def edit(self, number: int) -> None:
        """Somebody writes another file."""
        self.note(self.do(self.world.publish(FILES[number])))

    @rule()
    def abort(self) -> None:
        """Once it is accepted, or written down to be tried again, it is off."""
        outcome = self.note(self.do(self.world.say("abort")))
        self.is_off |= outcome.ok or outcome.may_pass_later
        self.is_paused &= not self.is_off

    @rule(verb=st.sampled_from(["promote", "resume"]))
    def bring_back(self, verb: str) -> None:
        """Only a person brings it back."""
        if self.note(self.do(self.world.say(verb))).ok:
            self.is_off = self.is_paused = False

    @rule()
    def pause(self) -> None:
        """Once it is accepted, the engine moves nothing."""
        outcome = self.note(self.do(self.world.say("pause")))
        self.is_paused |= outcome.ok or outcome.may_pass_later

    @rule(
        action=st.sampled_from(["ramp", "promote", "rollback", "conclude"]), lag=st.sampled_from([0, 0, 0, 1])
    )
    def decide(self, action: str, lag: int) -> None:
        """The engine decides, now and then from a state that is over."""
        before = self.weight
        message = self.world.decision(action)
        message["decision"]["sequence"] -= lag
        outcome = self.note(self.do(self.world.steer(message)))
        if outcome.ok and outcome.changes:
            assert (self.is_off, self.is_paused, lag) == (False, False, 0)
        if not outcome.ok:
            assert self.weight == before
        if action == "rollback" and (outcome.changes or outcome.may_pass_later):
            self.is_off = True

    @rule(is_full=st.booleans())
    def disk(self, is_full: bool) -> None:
        """The disk takes no book, or takes one again."""
        self.world.book.is_full = is_full

    @rule(refuse=st.booleans())
    def processes(self, refuse: bool) -> None:
        """A process has no space for a table, or has some again."""
        self.world.fleet.refusals = REFUSAL if refuse else ()
        self.world.publisher._rest_until_s = 0.0
        if not refuse:
            self.note(self.do(self.world.publish(b"routes: 5")))  # the retry, whatever the file says by then

    @rule(tear=st.sampled_from([False] * 9 + [True]))
    def restart(self, tear: bool) -> None:
        """The proxy is killed, perhaps on a machine that damages the book; another starts."""
        is_full = self.world.book.is_full
        self.world.rollouts.close()
        if tear and self.world.book.path.exists():
            self.world.book.path.write_bytes(self.world.book.path.read_bytes()[:-20])
            self.is_off = True
        fell_unseen = is_full and not self.world.book.path.exists()
        self.world = self.make_world(self.world.publisher.last_version)
        self.note(self.do(self.world.publish(GOOD)))
        self.is_off |= fell_unseen
        self.is_paused &= self.state_is_paused

    @property
    def weight(self) -> Decimal:
        """What the canary has."""
        return Decimal(self.world.weight())

    @property
    def state_is_paused(self) -> bool:
        """What the book knew of a pause; on a full disk it may not have known."""
        return bool(self.world.rollouts.entries["wine"].state.paused_by)

    @invariant()
    def what_was_taken_off_is_off(self) -> None:
        """In force, unless a process could not hold the table; then it is what is wanted."""
        if not hasattr(self, "world") or not self.is_off:
            return
        assert str(self.world.rollouts.entries["wine"].state.phase) == "rolled_back"
        assert self.weight == 0 or self.world.fleet.refusals == REFUSAL

    def teardown(self) -> None:
        """Leave nothing."""
        if hasattr(self, "world"):
            self.world.rollouts.close()
            self.runner.close()
            self.box.cleanup()


Machine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSteering = Machine.TestCase
