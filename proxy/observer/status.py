"""What ``GET /api/v1/status`` says: the state of the proxy as one JSON document.

Totals are those of every table version; ``since_version`` holds the counts of the table in force alone,
which are the only ones gathered under the present weights.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from proxy import __version__
from proxy.durations import format_duration
from proxy.engine.rollout_view import rollout_document
from proxy.model import Fault
from proxy.observer.accounting import (
    Accounts,
    EndpointAccount,
    Histogram,
    ShadowAccount,
    VariantAccount,
    build_accounts,
    merge,
)
from proxy.observer.noise_view import noise_document
from proxy.observer.source import Reading
from proxy.routing.hashing import SPACE
from proxy.routing.table import Route, Shadow, Table, Variant

__all__ = ["build_status", "build_table_document"]

_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def build_status(reading: Reading) -> dict[str, Any]:
    """Return the status document; numbers and texts only, ready for JSON. No secrets."""
    table = reading.table
    total = build_accounts(merge(reading.counts.values()), table)
    current = build_accounts(reading.counts.get(table.version, {}), table)
    fleet = reading.fleet
    return {
        "version": __version__,
        "config": {"version": table.version, "digest": table.digest, **fleet.get("config", {})},
        "workers": [dict(worker) for worker in fleet.get("workers", ())],
        "observer": {"restarts": fleet.get("observer_restarts", 0), **reading.gauges},
        "connections": _connections(total),
        "sinks": [_sink(sink) for sink in reading.sinks],
        "unrouted": _codes(total.unrouted.items()),
        "routes": [
            {**_route(route, reading, total, current), "rollout": _rollout(route, reading)}
            for route in table.routes
        ],
        "models": [_model(name, table, total) for name in table.models],
    }


def build_table_document(table: Table) -> dict[str, Any]:
    """Return the table in force: its settings, secrets masked, and who owns which units."""
    return {
        "version": table.version,
        "digest": table.digest,
        "settings": table.settings.public,
        "intervals": {route.name: _intervals(route) for route in table.routes},
    }


def _connections(total: Accounts) -> dict[str, int]:
    opened, carried, closed = (
        total.worker.get(f"connections_{field}", 0) for field in ("opened", "carried", "closed")
    )
    return {"opened": opened, "open": max(0, opened + carried - closed)}


def _route(route: Route, reading: Reading, total: Accounts, current: Accounts) -> dict[str, Any]:
    table = reading.table
    return {
        "name": route.name,
        "table_version": table.version,
        "variants": [_variant(route, variant, total, current) for variant in route.variants],
        "unit_sources": {
            source: number for (name, source), number in total.units.items() if name == route.name
        },
        "shadows": [
            {
                **_shadow(shadow, total.shadows[route.name, shadow.model.name]),
                "noise": noise_document(route, shadow, total, reading.noise_fields),
            }
            for shadow in route.shadows
        ],
        "noise": _asked_twice(route, total),
        "log": {
            "percent": _number(route.settings.log.percent),
            "keep": _kept(route),
            "budget": route.settings.log.budget,
            "dir": str(table.settings.payload_dir),
            **total.payloads[route.name].outcomes,
        },
    }


def _sink(sink: Mapping[str, Any]) -> dict[str, Any]:
    counts = {outcome: sink["counts"][outcome] for outcome in ("written", "dropped", "failed")}
    return {**{key: value for key, value in sink.items() if key != "counts"}, **counts}


def _kept(route: Route) -> list[str]:
    """Return what the route keeps whatever the percent, as its settings say it."""
    log = route.settings.log
    words = ["errors"] * log.keeps_errors + ["disagreement"] * log.keeps_disagreement
    if log.keeps_slow is not None:
        words.append(f"slow: {format_duration(log.keeps_slow)}")
    return [*words, *(f"when: {text}" for text in log.keeps_when)]


def _rollout(route: Route, reading: Reading) -> dict[str, Any] | None:
    judgement = reading.judgements.get(route.name)
    return rollout_document(reading.table.settings, route.settings, reading.fleet, judgement)


def _variant(route: Route, variant: Variant, total: Accounts, current: Accounts) -> dict[str, Any]:
    key = (route.name, variant.name, variant.model.name)
    account = total.variants[key]
    return {
        "name": variant.name,
        "role": variant.role.value,
        "model": variant.model.name,
        "weight": _number(variant.weight),
        **_counted(account),
        "in_flight": account.in_flight,
        "since_version": _counted(current.variants[key]),
    }


def _counted(account: VariantAccount) -> dict[str, Any]:
    return {
        "requests": account.requests,
        "errors": account.errors,
        "lost": account.lost,
        "retries": account.retries,
        "fallbacks": account.fallbacks,
        "codes": _codes(account.codes.items()),
        "latency_ms": _percentiles(account.duration),
        "ttfb_ms": _percentiles(account.ttfb),
    }


def _shadow(shadow: Shadow, account: ShadowAccount) -> dict[str, Any]:
    judged = account.comparisons
    mean = account.distance.mean
    return {
        "model": shadow.model.name,
        "percent": _number(shadow.percent),
        "eligible": account.eligible,
        "sent": account.sent,
        "dropped": account.outcomes["dropped"],
        "drop_reasons": dict(account.drop_reasons),
        "answered": account.answered,
        "failed": account.failed,
        "agree": judged.agree,
        "disagree": judged.disagree,
        "uncomparable": account.uncomparable,
        "comparison_dropped": account.comparison_dropped,
        "disagreement_rate": judged.disagreement_rate,
        "disagreement_reasons": {reason: number for reason, number in account.reasons.items() if number},
        "mean_distance": mean,
        "by_variant": {
            name: {"agree": each.agree, "disagree": each.disagree, "uncomparable": each.uncomparable}
            for name, each in account.by_variant.items()
        },
    }


def _asked_twice(route: Route, total: Accounts) -> dict[str, Any] | None:
    """Return what became of the requests that went to the champion once more; None where none do."""
    if route.noise is None:
        return None
    return {"percent": _number(route.noise.percent), **total.noise[route.name].outcomes}


def _model(name: str, table: Table, total: Accounts) -> dict[str, Any]:
    model = table.models[name]
    return {
        "name": name,
        "url": _without_userinfo(model.endpoints[0].url),
        "servers": [
            _server(endpoint.url, total.endpoints.get((name, endpoint.url))) for endpoint in model.endpoints
        ],
        "faults": {
            fault.label: total.faults.get((name, fault.label), 0)
            for fault in Fault
            if fault is not Fault.NONE
        },
    }


def _server(url: str, account: EndpointAccount | None) -> dict[str, Any]:
    """Return what is known of one server; nothing but its URL where nobody watches it."""
    shown: dict[str, Any] = {"url": _without_userinfo(url)}
    if account is not None:
        shown |= {
            "up": account.is_up,
            "unhealthy_workers": account.unhealthy,
            "ejected": account.ejected,
            "ejections": account.ejections,
            "checks": dict(account.checks),
            "asked_unhealthy": account.asked_unhealthy,
        }
    return shown


def _intervals(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "variant": route.variants[arm].name,
            "from_percent": low * 100 / SPACE,
            "to_percent": high * 100 / SPACE,
        }
        for low, high, arm in route.intervals.pieces()
    ]


def _codes(codes: Iterable[tuple[int, int]]) -> dict[str, int]:
    return {str(code): number for code, number in codes}


def _percentiles(histogram: Histogram) -> dict[str, float | None]:
    return {name: _to_ms(histogram.quantile(q)) for name, q in _PERCENTILES.items()}


def _to_ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else round(value_ns / 1e6, 4)


def _number(value: Any) -> float | int:
    """Return an exact decimal as JSON writes it best: ``5`` and ``0.5``, not ``5.0``."""
    number = float(value)
    return int(number) if number.is_integer() else number


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
