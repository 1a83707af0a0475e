"""What a request leaves behind as evidence, when its route tries something.

A request is counted when its outcome is known and the coin decided its variant. It is no evidence (``NO_COIN``):

* when its variant was forced, or is the champion for want of a unit (``missing_unit: champion``);
* when it ended through no doing of its variant: refused by us for what the client sent, or cut because we drain;
* when the worker was killed meanwhile.

Counted it is by its assigned variant, whoever answered. What a retry made good was good; what the champion made good
was an error. A tunnel is counted when the model consents to it, with the time that took: nobody knows what it carries.

Once in each generation (:mod:`proxy.evidence.layout`) a unit is counted again, beside the numbers of its first time. A
generation begins for all that a worker has open when somebody says so (:meth:`Experiments.turn`), not by a look at the
clock in each request. Workers do so within the same millisecond or two; who is late counts for the generation before,
and leaves alone whom another has counted in a later one.
"""

import logging
from array import array
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.dataplane.life import CLIENT_LEFT
from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import (
    ABANDONED,
    CLIENT_ERRORS,
    ERRORS,
    EVENTS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LAST_BUCKET,
    LATENCY,
    OFFSET,
    RENEWED,
    RENEWED_EVENTS,
    REQUEST_EVENTS,
    SCALE,
    SEEN,
    STAMPS,
    renewed_place,
    stamp_of,
)
from proxy.evidence.ring import Ring, open_ring
from proxy.evidence.units import cells_of, open_units
from proxy.exchange import Flag
from proxy.routing.experiment import Experiment
from proxy.routing.table import Table
from proxy.tally import Block

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["NO_COIN", "OWN_COIN", "UNIT_COIN", "Evidence", "Experiments", "count"]

_log = logging.getLogger("modelproxy.worker")

UNIT_COIN, OWN_COIN, NO_COIN = 0, 1, 2
"""What decided for the variant: the unit, or the client's request id, which may come again; a request id of ours, which
never does; nothing that says something about the variant."""


_LATER = 31
"""A stamp that is so many generations ahead at most is one that another worker has set; one further ahead is an old
one. More than a day, for a clock that was set back over a reboot brings hours again that were there before."""

_EVER, _RENEWED_EVENTS = 0b1111, 0b1110000


class Evidence:
    """Where one worker counts for one epoch.

    Args:
        slots: the block, laid out by :mod:`proxy.evidence.layout`.
        cells: the map of units, 16 bits each; their number is a power of two.
        variants: how many the route has.
        generation: the present one.
    """

    __slots__ = ("cells", "epoch", "mask", "renewed", "ring", "slots", "stamp", "variants")

    def __init__(self, slots: memoryview, cells: memoryview, variants: int, generation: int) -> None:
        self.slots = slots
        self.cells = cells
        self.mask = len(cells) - 1
        self.ring: Ring | None = None
        """Where requests are noted that may get feedback; None: the rollout has no guardrail on it."""
        self.epoch = 0
        """The epoch's id as a number, where there is a ring."""
        self.variants = variants
        self.turn(generation)

    def turn(self, generation: int) -> None:
        """Begin a generation, or go on in it where somebody has counted for it here before."""
        slots, size = self.slots, self.variants * RENEWED
        first = renewed_place(self.variants, generation)
        last = first + size + 1
        # Readers are at it: see :func:`proxy.evidence.counts.read_all`.
        if not slots[first] == slots[last] == generation + 1:
            slots[last] = slots[first] = 0
            slots[first + 1 : last] = memoryview(array("Q", bytes(8 * size)))
            slots[first] = generation + 1
            slots[last] = generation + 1
        self.stamp = stamp_of(generation)
        self.renewed = first + 1


def count(flight: "InFlight", evidence: Evidence, duration_ns: int) -> None:
    """Count a request whose outcome is known."""
    # HOT: most requests take one look at who was seen before, and one count: requests are the sum of their durations.
    # ``bucket_of`` is written out (benchmarks/evidence.py).
    if flight.coin:
        if flight.coin == NO_COIN:
            return
        known = 0
    else:
        known = evidence.cells[flight.bucket & evidence.mask]
    if duration_ns > 1000:
        bucket = int(log(duration_ns) * SCALE + OFFSET)
        if bucket > LAST_BUCKET:
            bucket = LAST_BUCKET
    else:
        bucket = 0
    if known >> 8 != evidence.stamp:
        known = _count_coin(flight, evidence, bucket, known)
    if flight.status > 399 or flight.fault:
        _count_event(flight, evidence, known)
    place = flight.variant.slot_evidence
    evidence.slots[place + LATENCY + bucket] += 1
    if evidence.ring is not None:
        evidence.ring.put(flight.request_id, evidence.epoch, place, flight.bucket, flight.coin)


def _count_coin(flight: "InFlight", evidence: Evidence, bucket: int, known: int) -> int:
    """Count a coin that was not seen yet, or not in this generation; return what of its cell its event has to know."""
    # The cell is marked before anything is counted: a worker that is killed in between drops a coin, never doubles it.
    slots, base = evidence.slots, flight.variant.slot_evidence
    if flight.coin == UNIT_COIN:
        stamp = evidence.stamp
        if known and 0 < ((known >> 8) - stamp) % STAMPS <= _LATER:
            return known | _RENEWED_EVENTS
        evidence.cells[flight.bucket & evidence.mask] = stamp << 8 | known & _EVER | SEEN
        slots[evidence.renewed + base // FIELDS * RENEWED + bucket] += 1
    if not known:
        slots[base + FIRST_LATENCY + bucket] += 1
    return known & _EVER


def _count_event(flight: "InFlight", evidence: Evidence, known: int) -> None:
    status, slots = flight.status, evidence.slots
    if flight.fault or status > 499:
        event = ERRORS
    elif status == CLIENT_LEFT and flight.flags & Flag.CLIENT_LEFT:
        event = ABANDONED
    else:
        event = CLIENT_ERRORS
    bit = SEEN << 1 + event
    base = flight.variant.slot_evidence
    if flight.coin == UNIT_COIN:
        evidence.cells[flight.bucket & evidence.mask] |= bit | bit << 3
        if not known & bit << 3:
            slots[evidence.renewed + base // FIELDS * RENEWED + RENEWED_EVENTS + event] += 1
    place = base + event
    slots[place + REQUEST_EVENTS] += 1
    if not known:
        slots[place + FIRST_EVENTS] += 1
    if not known & bit:
        slots[place + EVENTS] += 1


class _Units:
    """The map of one rollout, and how many epochs count with it."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.cells = cells_of(block)
        self.users = 0

    def close(self) -> None:
        self.cells.release()
        self.block.close()


class _Epoch:
    """The block of one epoch, and how many tables count in it."""

    def __init__(self, block: Block, units: _Units, variants: int, generation: int) -> None:
        self.block = block
        self.evidence = Evidence(block.slots, units.cells, variants, generation)
        self.users = 0


class Experiments:
    """What one worker has open: blocks are shared by the tables that have the same odds, maps by those of a rollout.

    Args:
        run_dir: the run directory.
        worker: the worker's slot.
    """

    def __init__(self, run_dir: Path, worker: int) -> None:
        self._run_dir = run_dir
        self._worker = worker
        self._generation = 0
        self._epochs: dict[str, _Epoch] = {}
        self._units: dict[str, _Units] = {}
        self._ring: Ring | None = None

    def turn(self, generation: int) -> None:
        """Count in this generation from now on."""
        self._generation = generation
        for epoch in self._epochs.values():
            epoch.evidence.turn(generation)

    def attach(self, table: Table) -> int:
        """Open what the routes of ``table`` count in. Must be called before the table is in force.

        Without space a rollout is refused, for nobody could judge it. A split by fixed weights does its work without
        evidence too.

        Returns:
            how many splits go without.

        Raises:
            OSError: no space; then nothing was attached.
        """
        without = 0
        for route in table.routes:
            if route.experiment is None:
                continue
            try:
                route.evidence = self._open(route.experiment)
                if route.settings.takes_feedback:
                    route.evidence.ring = self._open_ring()
                    route.evidence.epoch = int(route.experiment.epoch, 16)
            except OSError as error:
                if route.experiment.is_tried:
                    self.release(table)
                    raise
                without += 1
                _log.warning("route %s: split without evidence: %s", route.name, error.strerror)
        return without

    def release(self, table: Table) -> None:
        """Close what no other table counts in. No request may end on ``table`` any more."""
        for route in table.routes:
            if route.experiment is not None and route.evidence is not None:
                route.evidence = None
                self._close(route.experiment)

    def _open(self, experiment: Experiment) -> Evidence:
        epoch = self._epochs.get(experiment.epoch)
        if epoch is None:
            units = self._units.get(experiment.rollout)
            if units is None:
                units = _Units(open_units(self._run_dir, experiment.rollout, experiment.cells))
            try:
                block = open_evidence(self._run_dir, experiment.epoch, self._worker, experiment.size)
            except OSError:
                if not units.users:
                    units.close()
                raise
            self._units[experiment.rollout] = units
            units.users += 1
            epoch = _Epoch(block, units, len(experiment.arms), self._generation)
            self._epochs[experiment.epoch] = epoch
        epoch.users += 1
        return epoch.evidence

    def _open_ring(self) -> Ring:
        if self._ring is None:
            # One for all routes, for as long as this worker lives.
            self._ring = open_ring(self._run_dir, self._worker)
        return self._ring

    def _close(self, experiment: Experiment) -> None:
        epoch, units = self._epochs[experiment.epoch], self._units[experiment.rollout]
        epoch.users -= 1
        if epoch.users:
            return
        epoch.block.close()
        del self._epochs[experiment.epoch]
        units.users -= 1
        if not units.users:
            units.close()
            del self._units[experiment.rollout]
