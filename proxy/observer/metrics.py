"""The counters in Prometheus's words.

A scrape reads the tally blocks and says what is in them: nothing is counted here, so a restart of this
process loses nothing, and all workers are one target. Label values come from configuration files alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import log
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.engine.rollout_view import rollout_document
from proxy.model import DURATION_BOUNDS_NS, HandshakeFailure
from proxy.noise import Triples, judge
from proxy.observer.accounting import Accounts, Histogram, build_accounts, merge, wanted_slots
from proxy.observer.label_metrics import add_labels
from proxy.observer.own_metrics import own_families
from proxy.observer.source import Reading
from proxy.rollout.state import Phase
from proxy.routing.table import Table

__all__ = ["DURATION_BOUNDS_SHOWN_S", "FAMILIES", "Family", "Readout", "encode_metrics"]

DURATION_BOUNDS_SHOWN_S = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 25.0, 50.0, 100.0),
)
"""``le`` of the duration histograms, in seconds. Each is a bound of ``DURATION_BOUNDS_NS``: counts are
exact.
"""

_LN10 = log(10)

_SHOWN_SLOTS = wanted_slots(DURATION_BOUNDS_NS, (round(bound * 1e9) for bound in DURATION_BOUNDS_SHOWN_S))
_SHOWN_LABELS = (*(str(bound) for bound in DURATION_BOUNDS_SHOWN_S), "+Inf")


class Family(NamedTuple):
    """One metric."""

    kind: str
    """``counter``, ``gauge``, ``histogram`` or ``info``."""
    labels: tuple[str, ...]
    help: str


FAMILIES: dict[str, Family] = {
    "modelproxy_requests_total": Family(
        "counter",
        ("route", "variant", "model", "code"),
        "Finished requests by assigned variant and status. Code 499: the client left first; 0: the status was "
        "outside 100-599. Empty labels: no route matched, or the head was bad.",
    ),
    "modelproxy_request_duration_seconds": Family(
        "histogram",
        ("route", "variant", "model"),
        "From the complete request head to the last byte of the response.",
    ),
    "modelproxy_time_to_first_byte_seconds": Family(
        "histogram",
        ("route", "variant", "model"),
        "From the complete request head to the response head.",
    ),
    "modelproxy_stream_gap_seconds": Family(
        "histogram",
        ("route", "variant", "model"),
        "Between two pieces of one response, as they come from the model.",
    ),
    "modelproxy_time_to_first_token_seconds": Family(
        "histogram",
        ("route", "variant", "model"),
        "From the complete request head (of a copy: from its sending) to the first event with a part of what was "
        "generated. Streamed answers that were mirrored or logged; without variant: a shadow's.",
    ),
    "modelproxy_time_per_output_token_seconds": Family(
        "histogram",
        ("route", "variant", "model"),
        "Time per token after the first, one value an answer; tokens by the model's own count where it gives one, "
        "else events. The same answers.",
    ),
    "modelproxy_tunnel_bytes_total": Family(
        "counter",
        ("route", "variant", "model", "direction"),
        "Bytes through tunnels: received from clients, sent to clients.",
    ),
    "modelproxy_in_flight_requests": Family("gauge", ("route", "variant"), "Requests under way."),
    "modelproxy_upstream_faults_total": Family(
        "counter",
        ("model", "kind"),
        "Attempts that their model failed (not as a shadow); lost: in flight when their worker died.",
    ),
    "modelproxy_endpoint_up": Family(
        "gauge",
        ("model", "url"),
        "1 when every worker sends requests to this server of the model; 0 when one holds it for unhealthy or leaves "
        "it out. Only models with several URLs or with health checks.",
    ),
    "modelproxy_endpoint_ejections_total": Family(
        "counter", ("model", "url"), "How often a server was left out because it failed requests in a row."
    ),
    "modelproxy_endpoint_asked_unhealthy_total": Family(
        "counter",
        ("model", "url"),
        "Requests that were sent to a server although no server of the model was healthy: nobody else could answer.",
    ),
    "modelproxy_health_checks_total": Family(
        "counter", ("model", "url", "result"), "Health checks of a server by result: passed, failed."
    ),
    "modelproxy_concurrency_limit": Family(
        "gauge",
        ("model",),
        "Requests that a model with adaptive_concurrency gets at once now, all workers together.",
    ),
    "modelproxy_upstream_retries_total": Family(
        "counter",
        ("route", "variant", "model"),
        "Requests sent again to the same model: retries, and stale connections.",
    ),
    "modelproxy_fallbacks_total": Family(
        "counter",
        ("route", "variant", "model"),
        "Requests that the champion answered because the model of their variant failed.",
    ),
    "modelproxy_shadow_requests_total": Family(
        "counter",
        ("route", "model", "outcome"),
        "Mirrored requests by outcome: eligible = sent + dropped; sent = answered + failed; answered = compared + "
        "uncomparable + comparison_dropped as soon as nothing is on its way to the comparison.",
    ),
    "modelproxy_shadow_dropped_total": Family(
        "counter", ("route", "model", "reason"), "Eligible copies that were not sent, by reason."
    ),
    "modelproxy_comparisons_total": Family(
        "counter", ("route", "model", "result"), "Judged pairs of the client's and the shadow's answer."
    ),
    "modelproxy_disagreements_total": Family(
        "counter",
        ("route", "model", "reason"),
        "Judged pairs that disagree, by the reason of the comparison; model is the shadow's.",
    ),
    "modelproxy_variant_comparisons_total": Family(
        "counter",
        ("route", "variant", "model", "result"),
        "Judged pairs by the variant that the request was assigned to; after a fallback they are uncomparable. model "
        "is the shadow's.",
    ),
    "modelproxy_disagreement_distance": Family(
        "histogram", ("route", "model"), "Distance between the client's and the shadow's answer, 0 to 1."
    ),
    "modelproxy_noise_requests_total": Family(
        "counter",
        ("route", "outcome"),
        "Mirrored requests that go to the champion once more, by outcome; the sums are those of "
        "modelproxy_shadow_requests_total. Only routes with compare.noise.",
    ),
    "modelproxy_noise_triples_total": Family(
        "counter",
        ("route", "model", "result"),
        "Requests answered by the champion twice and by the shadow once, by whose second answer differs from the "
        "client's: same (neither's), candidate (the shadow's alone), champion (its own alone), both; left_out: nothing "
        "can be told, for an answer is missing, late, or no answer of a model.",
    ),
    "modelproxy_disagreement_excess": Family(
        "gauge",
        ("route", "model"),
        "How much more often the shadow's answer differs from the client's than the champion's second one, -1 to 1.",
    ),
    "modelproxy_disagreement_evidence": Family(
        "gauge",
        ("route", "model"),
        "Evidence that the shadow differs more than the champion from itself, and than compare.excess tolerates: log10 "
        "of an e-value. 2 and more ever comes up for 1 % of shadows at most of which that is not so.",
    ),
    "modelproxy_payload_records_total": Family(
        "counter",
        ("route", "outcome"),
        "Payload records: sampled = written + dropped + failed + thinned (left out by the budget).",
    ),
    "modelproxy_payload_lost_requests_total": Family(
        "counter",
        ("route",),
        "Requests that those records would have stood for (1 / inclusion_probability) that the observer dropped: "
        "beyond the hard cap of log.budget, or the first sink had no room.",
    ),
    "modelproxy_payload_rule_failures_total": Family(
        "counter",
        ("route",),
        "Requests over which an expression of log.keep could not be evaluated, so that it kept nothing.",
    ),
    "modelproxy_sink_records_total": Family(
        "counter",
        ("sink", "outcome"),
        "Records of each sink of the payload log: written, dropped (its queue was full), failed (it could not be "
        "reached, or refused them).",
    ),
    "modelproxy_sink_queue_bytes": Family("gauge", ("sink",), "Records that wait for the sink."),
    "modelproxy_sink_failing": Family(
        "gauge", ("sink",), "1 when the last attempt to write to the sink failed, else 0."
    ),
    "modelproxy_feedback_total": Family(
        "counter",
        ("route", "outcome"),
        "Items of feedback on answers, by outcome: accepted, duplicate (said before), unknown (no such request, not "
        "yet, or no longer), refused (not to be taken, or not now). Routes that never got any have none, unless their "
        "rollout has a guardrail on it.",
    ),
    "modelproxy_labels_total": Family(
        "counter",
        ("route", "outcome"),
        "Requests that true answers were posted for, by outcome: accepted, duplicate, unknown (no such request was "
        "compared), late, mismatch (other rows, or another kind of answer), refused (not to be taken, or not now).",
    ),
    "modelproxy_labelled_rows_total": Family(
        "counter",
        ("route", "variant", "model", "outcome"),
        "Rows that true answers came for, by who was right: both_right, only_primary, only_shadow, both_wrong; of "
        "numbers primary_closer, shadow_closer, as_close. model is the shadow's.",
    ),
    "modelproxy_label_evidence": Family(
        "gauge",
        ("route", "variant", "model", "shadow_is"),
        "Evidence that the shadow is the worse one, or the better one, where it and the variant differ: log10 of an "
        "e-value. 2 and more ever comes up for 1 % at most of which that is not so.",
    ),
    "modelproxy_unit_source_total": Family(
        "counter", ("route", "source"), "Assignments by where the unit was found; missing: nowhere."
    ),
    "modelproxy_variant_weight": Family("gauge", ("route", "variant"), "Percent of the route's traffic."),
    "modelproxy_rollout_phase": Family(
        "gauge",
        ("route", "variant", "phase"),
        "1 for the phase that the variant's rollout is in, 0 for the others.",
    ),
    "modelproxy_rollout_weight": Family(
        "gauge", ("route", "variant"), "Percent of the route's traffic that the rollout gives the variant."
    ),
    "modelproxy_rollout_evidence": Family(
        "gauge",
        ("route", "variant", "metric"),
        "Evidence that the variant is worse than the champion by more than the guardrail's margin: log10 of an "
        "e-value. 2 and more comes up in 1 % of rollouts at most where there is no harm, however often one looks.",
    ),
    "modelproxy_srm_evidence": Family(
        "gauge",
        ("route",),
        "Evidence that units do not fall as the shares say: log10 of an e-value. At 3 nothing is concluded any more.",
    ),
    "modelproxy_decisions_total": Family(
        "counter",
        ("route", "decision"),
        "Verdicts of the engine: moves that took effect, and reasons to stay, each time they changed.",
    ),
    "modelproxy_connections": Family("gauge", (), "Open client connections."),
    "modelproxy_connections_opened_total": Family("counter", (), "Client connections accepted."),
    "modelproxy_tls_handshake_failures_total": Family(
        "counter", ("reason",), "TLS handshakes of clients that came to nothing, by reason."
    ),
    "modelproxy_tls_certificate_expiry_timestamp_seconds": Family(
        "gauge",
        ("model",),
        "When the earliest certificate of a chain in use ends, Unix time. Empty model: what clients are shown.",
    ),
    "modelproxy_tls_last_reload_successful": Family(
        "gauge", (), "1 when the certificate files as they are now are in use, 0 while they cannot be."
    ),
    "modelproxy_tls_reloads_total": Family("counter", (), "Changes of certificate files that were taken up."),
    "modelproxy_tls_reloads_refused_total": Family(
        "counter", (), "Changes of certificate files that cannot be used; the last good ones stayed."
    ),
    "modelproxy_exchanges_dropped_total": Family(
        "counter",
        (),
        "Exchanges that a worker could not hand to the observer; their records are counted dropped.",
    ),
    "modelproxy_evidence_failures_total": Family(
        "counter", (), "Times that a worker found no space to count evidence for a split by fixed weights."
    ),
    "modelproxy_config_version": Family("gauge", (), "Version of the table in force."),
    "modelproxy_config_last_reload_successful": Family(
        "gauge", (), "1 when the last reload was accepted, else 0."
    ),
    "modelproxy_config_loaded_timestamp_seconds": Family(
        "gauge", (), "When the table in force was loaded, Unix time."
    ),
    "modelproxy_config_reloads_total": Family("counter", (), "Reloads that were tried."),
    "modelproxy_config_reloads_refused_total": Family(
        "counter", (), "Reloads that were refused; the last table stayed."
    ),
    "modelproxy_journal_failures_total": Family("counter", (), "Journal entries that could not be written."),
    "modelproxy_rollout_book_failures_total": Family(
        "counter", (), "How often the book of rollouts could not be written; meanwhile no step is taken."
    ),
    "modelproxy_rollout_stale_decisions_total": Family(
        "counter", (), "Decisions that were refused because the rollout had moved on meanwhile."
    ),
    "modelproxy_worker_up": Family("gauge", ("worker",), "1 when the worker serves, else 0."),
    "modelproxy_worker_config_version": Family(
        "gauge", ("worker",), "Version of the table this worker serves."
    ),
    "modelproxy_worker_restarts_total": Family(
        "counter", ("worker",), "How often the worker was started again."
    ),
    "modelproxy_worker_hangs_total": Family(
        "counter", ("worker",), "How often the worker was killed because it did not answer."
    ),
    "modelproxy_observer_up": Family("gauge", (), "1: whoever reads this has reached the observer."),
    "modelproxy_observer_restarts_total": Family("counter", (), "How often the observer was started again."),
    "modelproxy_observer_hangs_total": Family(
        "counter", (), "How often the observer was killed because it did not answer."
    ),
    "modelproxy_upgrades_total": Family(
        "counter", (), "How often the program on disk took the place of the running one."
    ),
    "modelproxy_upgrades_refused_total": Family(
        "counter", (), "Upgrades that were refused; the program that ran went on."
    ),
    "modelproxy_earlier_processes": Family(
        "gauge", (), "Processes of the program before an upgrade that have not ended yet."
    ),
    "modelproxy_remnants": Family(
        "gauge", (), "Run directories of killed supervisors whose evidence is not stored yet."
    ),
    "modelproxy_remnants_dropped_total": Family(
        "counter", (), "Of these, how many were removed unread, because there were too many."
    ),
    "modelproxy_build_info": Family("info", (), "The version that runs."),
}
"""Every metric, by its name, in the order of exposition.

What :meth:`Source.gauges` names comes after them, as ``modelproxy_observer_…``.
"""

_CONFIG = {
    "config_reloads_total": "reloads_total",
    "config_reloads_refused_total": "reloads_refused_total",
    "journal_failures_total": "journal_failures_total",
    "rollout_book_failures_total": "rollout_book_failures_total",
    "rollout_stale_decisions_total": "rollout_stale_decisions_total",
    "upgrades_total": "upgrades_total",
    "upgrades_refused_total": "upgrades_refused_total",
    "remnants": "remnants",
    "remnants_dropped_total": "remnants_dropped_total",
}


class Readout(Collector):
    """A custom collector over one reading."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, also those without series."""
        families = {
            name.removeprefix("modelproxy_"): _new_family(name, family) for name, family in FAMILIES.items()
        }
        accounts = build_accounts(merge(self._reading.counts.values()), self._reading.table)
        _add_requests(families, accounts)
        _add_paces(families, accounts)
        _add_endpoints(families, accounts, self._reading.table)
        _add_shadows(families, accounts)
        _add_noise(families, accounts, self._reading.table)
        _add_sinks(families, self._reading.sinks)
        _add_feedback(families, accounts, self._reading.table)
        add_labels(families, accounts, self._reading.table, self._reading.labels)
        _add_table(families, self._reading)
        _add_rollouts(families, self._reading)
        _add_process_counts(families, accounts)
        _add_fleet(families, self._reading.fleet)
        yield from families.values()
        yield from own_families(self._reading.gauges)


def encode_metrics(reading: Reading, accept: str) -> tuple[bytes, str]:
    """Return the exposition of ``reading`` and its content type.

    Args:
        reading: what to show.
        accept: the scraper's ``Accept`` header; OpenMetrics when it asks for it, else the text format.
    """
    registry = CollectorRegistry()
    registry.register(Readout(reading))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _new_family(name: str, family: Family) -> Any:
    if family.kind == "counter":
        return CounterMetricFamily(name, family.help, labels=family.labels)
    if family.kind == "histogram":
        return HistogramMetricFamily(name, family.help, labels=family.labels)
    if family.kind == "info":
        return InfoMetricFamily(name.removesuffix("_info"), family.help, value={"version": __version__})
    return GaugeMetricFamily(name, family.help, labels=family.labels)


def _add_paces(families: Mapping[str, Any], accounts: Accounts) -> None:
    for labels, pace in accounts.paces.items():
        families["time_to_first_token_seconds"].add_metric(labels, *_seconds(pace.first_token))
        families["time_per_output_token_seconds"].add_metric(labels, *_seconds(pace.per_token))


def _add_requests(families: Mapping[str, Any], accounts: Accounts) -> None:
    in_flight: dict[tuple[str, str], int] = {}
    for labels, variant in accounts.variants.items():
        for code, number in variant.codes.items():
            families["requests_total"].add_metric((*labels, str(code)), number)
        families["request_duration_seconds"].add_metric(labels, *_seconds(variant.duration))
        families["time_to_first_byte_seconds"].add_metric(labels, *_seconds(variant.ttfb))
        families["stream_gap_seconds"].add_metric(labels, *_seconds(variant.gap))
        families["upstream_retries_total"].add_metric(labels, variant.retries)
        families["fallbacks_total"].add_metric(labels, variant.fallbacks)
        families["tunnel_bytes_total"].add_metric((*labels, "received"), variant.tunnel_received)
        families["tunnel_bytes_total"].add_metric((*labels, "sent"), variant.tunnel_sent)
        route, name, _ = labels
        in_flight[route, name] = in_flight.get((route, name), 0) + variant.in_flight
    for code, number in accounts.unrouted.items():
        families["requests_total"].add_metric(("", "", "", str(code)), number)
    for key, number in in_flight.items():
        families["in_flight_requests"].add_metric(key, number)
    for key, number in sorted(accounts.faults.items()):
        families["upstream_faults_total"].add_metric(key, number)
    for model, limit in sorted(accounts.limits.items()):
        families["concurrency_limit"].add_metric((model,), limit)
    for key, number in accounts.units.items():
        families["unit_source_total"].add_metric(key, number)


def _add_noise(families: Mapping[str, Any], accounts: Accounts, table: Table) -> None:
    for route, account in accounts.noise.items():
        for outcome, number in account.outcomes.items():
            families["noise_requests_total"].add_metric((route, outcome), number)
    for labels, by_stretch in accounts.triples.items():
        for result in ("same", "candidate", "champion", "both", "left_out"):
            number = sum(getattr(triples, result) for triples in by_stretch.values())
            families["noise_triples_total"].add_metric((*labels, result), number)
    for compiled in table.routes:
        for shadow in compiled.shadows if compiled.noise is not None else ():
            labels = compiled.name, shadow.model.name
            triples = accounts.triples.get(labels, {}).get(shadow.stretch, Triples())
            judged = judge(triples, float(compiled.settings.compare.excess) / 100)
            families["disagreement_excess"].add_metric(labels, judged.excess)
            families["disagreement_evidence"].add_metric(labels, judged.log_e / _LN10)


def _add_sinks(families: Mapping[str, Any], sinks: Iterable[Mapping[str, Any]]) -> None:
    for sink in sinks:
        for outcome in ("written", "dropped", "failed"):
            families["sink_records_total"].add_metric((sink["name"], outcome), sink["counts"][outcome])
        families["sink_queue_bytes"].add_metric((sink["name"],), sink["queue_bytes"])
        families["sink_failing"].add_metric((sink["name"],), sink["failing"])


def _add_feedback(families: Mapping[str, Any], accounts: Accounts, table: Table) -> None:
    wanted = {route.name for route in table.routes if route.settings.takes_feedback}
    wanted |= {route for (route, _), number in accounts.feedback.items() if number}
    for (route, outcome), number in accounts.feedback.items():
        if route in wanted:
            families["feedback_total"].add_metric((route, outcome), number)


def _add_endpoints(families: Mapping[str, Any], accounts: Accounts, table: Table) -> None:
    for (model, url), endpoint in accounts.endpoints.items():
        if model in table.models and any(url == each.url for each in table.models[model].endpoints):
            families["endpoint_up"].add_metric((model, url), endpoint.is_up)
        families["endpoint_ejections_total"].add_metric((model, url), endpoint.ejections)
        families["endpoint_asked_unhealthy_total"].add_metric((model, url), endpoint.asked_unhealthy)
        for result, number in endpoint.checks.items():
            families["health_checks_total"].add_metric((model, url, result), number)


def _seconds(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    counts = histogram.cumulative(_SHOWN_SLOTS)
    return list(zip(_SHOWN_LABELS, counts, strict=True)), histogram.total / 1e9


def _add_shadows(families: Mapping[str, Any], accounts: Accounts) -> None:
    for (route, model), shadow in accounts.shadows.items():
        for outcome, number in shadow.outcomes.items():
            families["shadow_requests_total"].add_metric((route, model, outcome), number)
        for reason, number in shadow.drop_reasons.items():
            families["shadow_dropped_total"].add_metric((route, model, reason), number)
        for result in ("agree", "disagree"):
            number = getattr(shadow.comparisons, result)
            families["comparisons_total"].add_metric((route, model, result), number)
        for reason, number in shadow.reasons.items():
            families["disagreements_total"].add_metric((route, model, reason), number)
        for variant, comparisons in shadow.by_variant.items():
            for result in ("agree", "disagree", "uncomparable"):
                number = getattr(comparisons, result)
                families["variant_comparisons_total"].add_metric((route, variant, model, result), number)
        distance = shadow.distance
        bounds = (*(str(bound) for bound in distance.bounds), "+Inf")
        counts = distance.cumulative(range(len(distance.bounds)))
        families["disagreement_distance"].add_metric(
            (route, model), list(zip(bounds, counts, strict=True)), distance.total
        )
    for route, payloads in accounts.payloads.items():
        for outcome, number in payloads.outcomes.items():
            families["payload_records_total"].add_metric((route, outcome), number)
        families["payload_lost_requests_total"].add_metric((route,), payloads.lost_requests)
        families["payload_rule_failures_total"].add_metric((route,), payloads.rule_failures)


def _add_table(families: Mapping[str, Any], reading: Reading) -> None:
    for route in reading.table.routes:
        for variant in route.variants:
            families["variant_weight"].add_metric((route.name, variant.name), float(variant.weight))
    families["config_version"].add_metric((), reading.table.version)


def _add_rollouts(families: Mapping[str, Any], reading: Reading) -> None:
    """Add where the rollouts of the table in force stand; what nobody has told yet has no series."""
    decisions = (reading.fleet.get("rollouts") or {}).get("decisions", {})
    for route in reading.table.routes:
        for verdict, number in sorted(decisions.get(route.name, {}).items()):
            families["decisions_total"].add_metric((route.name, verdict), number)
        judgement = reading.judgements.get(route.name)
        document = rollout_document(reading.table.settings, route.settings, reading.fleet, judgement)
        canary = route.settings.rollout_variant
        if document is None or canary is None or canary.rollout is None:
            continue
        labels = (route.name, canary.name)
        for phase in Phase:
            families["rollout_phase"].add_metric((*labels, str(phase)), document["phase"] == str(phase))
        families["rollout_weight"].add_metric(labels, document["weight"])
        log_e = (judgement or {}).get("log_e", {})
        for guardrail in canary.rollout.guardrails:
            value = log_e.get(f"{guardrail.label}.harm")
            if value is not None:
                families["rollout_evidence"].add_metric((*labels, guardrail.label), value / _LN10)
        if log_e.get("allocation") is not None:
            families["srm_evidence"].add_metric((route.name,), log_e["allocation"] / _LN10)


def _add_process_counts(families: Mapping[str, Any], accounts: Accounts) -> None:
    opened = accounts.worker.get("connections_opened", 0)
    carried = accounts.worker.get("connections_carried", 0)
    closed = accounts.worker.get("connections_closed", 0)
    families["connections"].add_metric((), max(0, opened + carried - closed))
    families["connections_opened_total"].add_metric((), opened)
    for failure in HandshakeFailure:
        number = accounts.worker.get(f"handshake_{failure.label}", 0)
        families["tls_handshake_failures_total"].add_metric((failure.label,), number)
    families["exchanges_dropped_total"].add_metric((), accounts.worker.get("exchanges_dropped", 0))
    families["evidence_failures_total"].add_metric((), accounts.worker.get("evidence_failures", 0))
    families["observer_up"].add_metric((), 1)


def _add_fleet(families: Mapping[str, Any], fleet: Mapping[str, Any]) -> None:
    """Add what the supervisor told; before its first message these families have no series."""
    config = fleet.get("config")
    if config:
        families["config_last_reload_successful"].add_metric((), bool(config["last_reload_successful"]))
        families["config_loaded_timestamp_seconds"].add_metric((), config["loaded_wall_ns"] / 1e9)
        for name, key in _CONFIG.items():
            families[name].add_metric((), config.get(key, 0))
        families["earlier_processes"].add_metric((), len(config.get("earlier_pids", ())))
    _add_certificates(families, (config or {}).get("certificates"))
    for worker in fleet.get("workers", ()):
        labels = (str(worker["index"]),)
        families["worker_up"].add_metric(labels, bool(worker["up"]))
        families["worker_config_version"].add_metric(labels, worker["version"] or 0)
        families["worker_restarts_total"].add_metric(labels, worker["restarts"])
        families["worker_hangs_total"].add_metric(labels, worker.get("hangs", 0))
    if "observer_restarts" in fleet:
        families["observer_restarts_total"].add_metric((), fleet["observer_restarts"])
        families["observer_hangs_total"].add_metric((), fleet.get("observer_hangs", 0))


def _add_certificates(families: Mapping[str, Any], certificates: Mapping[str, Any] | None) -> None:
    """Add the state of the certificate files; without TLS these families have no series."""
    if not certificates:
        return
    for model, expiry_s in certificates["expiries"].items():
        families["tls_certificate_expiry_timestamp_seconds"].add_metric((model,), expiry_s)
    families["tls_last_reload_successful"].add_metric((), not certificates["problems"])
    families["tls_reloads_total"].add_metric((), certificates["reloads_total"])
    families["tls_reloads_refused_total"].add_metric((), certificates["reloads_refused_total"])
