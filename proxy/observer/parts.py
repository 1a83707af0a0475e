"""What an observer is made of, once it has settings."""

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.clock import wall_ns
from proxy.control.label_items import LabelItem
from proxy.engine.deciding import Deciding, Request
from proxy.labels import Hide
from proxy.observer.blocks import Blocks
from proxy.observer.disagreements import Disagreements
from proxy.observer.early import is_among
from proxy.observer.intake import Intake
from proxy.observer.label_record import hiding_of, label_line
from proxy.observer.labelling import Labelling
from proxy.observer.meanings import make_meanings
from proxy.observer.noise import NoiseBook
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import Pair
from proxy.observer.predictions import Hiding
from proxy.privacy.actions import key_id, keyed_hash
from proxy.routing.table import Table
from proxy.sinks.build import BuiltSinks
from proxy.unit_keys import UnitKeys

if TYPE_CHECKING:
    from proxy.observer.tracing import OtlpTracer
    from proxy.settings import Settings

__all__ = ["SOCKET_NAME", "NullTracer", "Parts", "make_tracer"]

SOCKET_NAME = "observer.sock"
"""Name of the workers' socket in the run directory."""


class NullTracer:
    """Tracing is off."""

    exported = failed = dropped = 0

    def trace(self, table: Table, pair: Pair) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Parts:
    """What needs settings: made with the first table."""

    def __init__(
        self,
        run_dir: Path,
        blocks: Blocks,
        settings: "Settings",
        on_settled: Callable[..., None],
        request: Request,
    ) -> None:
        secret = settings.payload_log.unit_key
        self.keys = UnitKeys(settings.state_dir, secret.get_secret_value() if secret else None)
        self.log = BuiltSinks(settings, run_dir, on_settled)
        self.tracer = make_tracer(settings)
        self.meanings = make_meanings(settings.embedder)
        self.disagreements = Disagreements(settings.state_dir, meanings=self.meanings)
        noise = NoiseBook(blocks, run_dir)
        self.labelling = Labelling(
            settings.state_dir,
            blocks,
            self._keep_label,
            hiding_of=self._hiding_of,
            hide_of=self._hide_of,
            is_coming=self._is_coming,
        )
        self.outcomes = Outcomes(
            blocks,
            self.log,
            self.tracer,
            self.keys.key,
            noise=noise,
            witness=self.disagreements,
            rememberer=self.labelling,
        )
        self.intake = Intake(
            run_dir / SOCKET_NAME,
            blocks,
            self.outcomes,
            queue_bytes=settings.observer.queue,
            pair_timeout_ns=settings.observer.pair_timeout,
        )
        self.deciding = Deciding(run_dir, settings.state_dir, request)
        self.task: asyncio.Task[None] | None = None
        self.rekeying: asyncio.Task[None] | None = None

    def _keep_label(self, version: int, route: str, item: LabelItem) -> None:
        """Write down an accepted label, where the route has records that it may be joined with."""
        rules = self.outcomes.rules_of(version, route)
        if rules is not None and rules.route.is_recorded:
            self.log.submit_line(label_line(rules.record, route, item, wall_ns()))

    def _is_coming(self, ids: Collection[bytes]) -> bool:
        """Return whether one of these requests waits to be compared, or may be among what nobody has looked at."""
        return self.intake.statistics().queued_frames > 0 or is_among(self.intake.book.pairs, ids)

    def _hiding_of(self, version: int, route: str) -> Hiding | None:
        """Return how labels of a route are to be hidden on the disk: as they are in the lines of its records."""
        rules = self.outcomes.rules_of(version, route)
        return None if rules is None else hiding_of(rules.record)

    def _hide_of(self, name: str) -> Hide | None:
        """Return the hash under the key of this id, of those that are kept."""
        key = next((key for key in self.keys.every() if key_id(key) == name), None)
        return None if key is None else partial(keyed_hash, key)


def make_tracer(settings: "Settings") -> "NullTracer | OtlpTracer":
    """Return where spans go."""
    if settings.tracing.otlp is None:
        return NullTracer()
    # The SDK takes a third of a second and 20 MiB to import; who does not trace does not pay.
    from proxy.observer.tracing import OtlpTracer

    return OtlpTracer(settings.tracing.otlp, settings.tracing.service_name)
