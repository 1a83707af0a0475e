"""The admin address of a running observer: readings taken off the loop, shown by ``proxy.control.admin``."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import web

from proxy.control.admin import Access, NotReadyError, ReloadOutcome, UnknownError, build_app
from proxy.control.disagreement_query import Query
from proxy.control.feedback import Parsed, Taken
from proxy.engine.feedback import BusyError
from proxy.engine.rollout_view import rollout_document
from proxy.observer.accounting import build_accounts, merge
from proxy.observer.disagreement_view import disagreement_document
from proxy.observer.metrics import encode_metrics
from proxy.observer.noise_view import Fields, noise_document
from proxy.observer.sorting import sort_out
from proxy.observer.source import CountReader, Reading, Source
from proxy.observer.status import build_status, build_table_document
from proxy.printable import printable
from proxy.routing.table import Route, Table
from proxy.tally import Key

__all__ = ["ObserverSurface", "build_admin"]

T = TypeVar("T")


class ObserverSurface:
    """What the admin address shows of one :class:`Source`.

    Reading and formatting run in a thread, one at a time, so that the intake goes on meanwhile and a crowd
    of scrapers queues up behind itself.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader = CountReader(source.run_dir)
        self._turn = asyncio.Lock()

    def access(self) -> Access:
        """Return who may do what, by the settings in force."""
        table = self._source.current
        if table is None:
            return Access(loopback=True, token=None, known=False)
        settings = table.settings
        token = settings.admin_token.get_secret_value() if settings.admin_token else None
        return Access(loopback=settings.admin.is_loopback, token=token, known=True)

    def unready(self) -> str | None:
        """Return why no request can be served, or None when one can."""
        table = self._source.current
        if table is None:
            return "no configuration is in force yet"
        version = self._source.fleet.get("config", {}).get("version", table.version)
        workers = self._source.fleet.get("workers", ())
        if any(worker["up"] and worker["version"] == version for worker in workers):
            return None
        return f"no worker is up with version {version} of the configuration"

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type.

        Raises:
            NotReadyError: some versions are not known yet, so counters would go backwards.
        """
        return await self._read(lambda reading: encode_metrics(reading, accept))

    async def status(self) -> Mapping[str, Any]:
        """Return the status document.

        Raises:
            NotReadyError: no configuration is in force yet.
        """
        return await self._read(build_status)

    async def table(self) -> Mapping[str, Any]:
        """Return the table in force as a document.

        Raises:
            NotReadyError: no configuration is in force yet.
        """
        return build_table_document(self._table())

    async def reload(self, by: str) -> ReloadOutcome:
        """Have the supervisor read the configuration file again.

        Raises:
            OSError: the supervisor did not answer.
        """
        reply = await self._source.request("reload", by)
        return ReloadOutcome(bool(reply["ok"]), reply["document"])

    async def rollout(self, route: str) -> Mapping[str, Any]:
        """Return where the rollout of ``route`` stands, and what it is judged by.

        Of a split by fixed weights there is the latter alone.

        Raises:
            NotReadyError: no configuration is in force yet.
            UnknownError: there is no such route, or it tries nothing.
        """
        found, source = self._route(route), self._source
        document = rollout_document(
            self._table().settings, found.settings, source.fleet, source.judgement(route)
        )
        evidence = await source.evidence(route)
        if document is None and evidence is None:
            raise UnknownError(f"route {route} has no rollout")
        return {**(document or {"route": route}), "evidence": evidence}

    async def disagreements(self, query: Query) -> Mapping[str, Any]:
        """Return what is known of disagreements.

        Raises:
            NotReadyError: no configuration is in force yet.
            UnknownError: there is no such route, shadow, slice or example.
        """
        table = self._table()
        if query.route:
            self._route(query.route)
        check_names(query, table)
        known = {route.name: self._source.disagreements(route.name) for route in table.routes}
        asked_twice = [each for each in table.routes if each.noise and query.route in ("", each.name)]
        async with self._turn:
            tables, fields = dict(self._source.tables), self._noise_fields(asked_twice)
            labels = {route.name: self._source.labels(route.name) for route in table.routes}

            def run() -> dict[str, Any]:
                total = (
                    build_accounts(merge(self._reader.read(tables).values()), table) if asked_twice else None
                )
                noise = {
                    (route.name, shadow.model.name): noise_document(route, shadow, total, fields)
                    for route in asked_twice
                    for shadow in route.shadows
                    if total is not None
                }
                return disagreement_document(query, table, known, noise, labels)

            document = await asyncio.to_thread(run)
        if query.example and not any(
            shadow["examples"] for route in document["routes"] for shadow in route["shadows"]
        ):
            raise UnknownError(f"no example {printable(query.example[:100])} is kept here, or no longer")
        return document

    async def snapshot(self, digest: str) -> bytes:
        """Return what the decision with this evidence digest was made from, as JSON.

        Raises:
            UnknownError: it is not, or no longer, here.
        """
        data = await self._source.snapshot(digest)
        if data is None:
            raise UnknownError("no decision with this digest is kept here")
        return data

    async def steer(self, verb: str, route: str, by: str, reason: str) -> ReloadOutcome:
        """Have the supervisor do ``verb`` to the rollout of ``route``.

        Raises:
            NotReadyError: no configuration is in force yet.
            OSError: the supervisor did not answer.
            UnknownError: there is no such route.
        """
        self._route(route)
        reply = await self._source.request(verb, by, {"route": route, "reason": reason})
        return ReloadOutcome(bool(reply["ok"]), reply["document"])

    async def feedback(self, batch: Parsed) -> Taken:
        """Count what was said about answers: what is counted is on the disk.

        Raises:
            NotReadyError: no configuration is in force yet, or it cannot be taken now; nothing was.
        """
        table = self._table()
        batch_of = await asyncio.to_thread(sort_out, batch, table)
        try:
            told = await self._source.feedback(batch_of.said(), batch_of.refused_of)
            labels = await self._source.take_labels(batch_of.labels, batch_of.refused_labels_of)
        except BusyError as error:
            raise NotReadyError(f"{error}; send the same again") from None
        return batch_of.taken(told, labels)

    def _noise_fields(self, routes: Iterable[Route]) -> Fields:
        stretches = {shadow.stretch for route in routes for shadow in route.shadows} - {""}
        return {stretch: self._source.noise_fields(stretch) for stretch in stretches}

    def _route(self, name: str) -> Route:
        routes = self._table().routes
        for route in routes:
            if route.name == name:
                return route
        raise UnknownError(
            f"no route is called {printable(name[:100])}; there are: {', '.join(route.name for route in routes)}"
        )

    def _table(self) -> Table:
        if (table := self._source.current) is None:
            raise NotReadyError("no configuration is in force yet; try again in a moment")
        return table

    async def _read(self, show: Callable[[Reading], T]) -> T:
        """Return what ``show`` makes of a reading.

        The counts in the blocks are read outside the loop, so they may be some milliseconds younger than what the loop
        itself keeps (gauges, fields above noise, labels, sinks): under traffic the two need not add up.
        """
        async with self._turn:
            table, tables = self._table(), dict(self._source.tables)
            fleet, gauges = self._source.fleet, dict(self._source.gauges())
            judgements = {route.name: self._source.judgement(route.name) for route in table.routes}
            fields = self._noise_fields(table.routes)
            labels = {route.name: self._source.labels(route.name) for route in table.routes}
            sinks = self._source.sinks()

            def run() -> T:
                counts = self._reader.read(tables)
                for (kind, name, *_), number in counts[0].items():
                    if kind == "observer":  # of the program before an upgrade
                        gauges[f"{name}_total"] = gauges.get(f"{name}_total", 0) + number
                shown = [_with_earlier(sink, counts[0]) for sink in sinks]
                return show(Reading(table, counts, fleet, gauges, judgements, fields, labels, shown))

            return await asyncio.to_thread(run)


def _with_earlier(sink: Mapping[str, Any], folded: Mapping[Key, int]) -> Mapping[str, Any]:
    """Return ``sink`` with what one of its name counted in the program before an upgrade."""
    name = sink["name"]
    counts = {field: n + folded.get(("delivery", field, name), 0) for field, n in sink["counts"].items()}
    return {**sink, "counts": counts}


def check_names(query: Query, table: Table) -> None:
    """Refuse a query for what is not in the table.

    Raises:
        UnknownError: a shadow or a slice is not there; the sentence says which ones are.
    """
    routes = [route for route in table.routes if query.route in ("", route.name)]
    shadows = list(dict.fromkeys(shadow.model.name for route in routes for shadow in route.shadows))
    if query.shadow and query.shadow not in shadows:
        raise UnknownError(_no_such("shadow", query.shadow, shadows))
    slices = list(dict.fromkeys(name for route in routes for name in route.settings.compare.slices))
    if query.slice is not None and query.slice[0] not in slices:
        raise UnknownError(_no_such("slice", query.slice[0], slices))


def _no_such(what: str, name: str, known: Sequence[str]) -> str:
    return f"no {what} is called {printable(name[:100])}; there are: {', '.join(known) or 'none'}"


def build_admin(source: Source) -> web.Application:
    """Return the admin address of the observer behind ``source``."""
    return build_app(ObserverSurface(source))
