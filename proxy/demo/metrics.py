"""``/metrics`` of the proxy, as values. Pure: text in, ``Claims`` out."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from proxy.demo.facts import Claims, Histogram, ShadowClaim

__all__ = ["parse_claims"]

Samples = dict[str, list[tuple[dict[str, str], float]]]


def parse_claims(text: str, route: str) -> Claims:
    """Return what ``text`` (Prometheus text format) claims about ``route``.

    Raises:
        ValueError: ``text`` is not in the Prometheus text format.
    """
    samples: Samples = defaultdict(list)
    families: Iterable[Any] = text_string_to_metric_families(text)
    for family in families:
        for sample in family.samples:
            if sample.labels.get("route", route) == route:
                samples[sample.name].append((sample.labels, sample.value))
    requests: Counter[tuple[str, str, str]] = Counter()
    for labels, value in samples["modelproxy_requests_total"]:
        requests[labels["variant"], labels["model"], labels["code"]] += int(value)
    return Claims(
        requests=dict(requests),
        durations=_parse_histograms(samples["modelproxy_request_duration_seconds_bucket"]),
        shadows=_parse_shadows(samples),
        payload=_sum_by(samples["modelproxy_payload_records_total"], "outcome"),
        faults=_sum_by(samples["modelproxy_upstream_faults_total"], "model"),
        fallbacks=_sum_by(samples["modelproxy_fallbacks_total"], "variant"),
        decisions=_sum_by(samples["modelproxy_decisions_total"], "decision"),
        config_version=int(_single(samples, "modelproxy_config_version")),
        reload_successful=_single(samples, "modelproxy_config_last_reload_successful") == 1,
    )


def _single(samples: Samples, name: str) -> float:
    return samples[name][0][1] if samples[name] else 0.0


def _sum_by(rows: list[tuple[dict[str, str], float]], label: str) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for labels, value in rows:
        totals[labels[label]] += int(value)
    return dict(totals)


def _parse_histograms(rows: list[tuple[dict[str, str], float]]) -> dict[str, Histogram]:
    # A variant whose model changed has one histogram for each; cumulative counts may be added bound by bound.
    buckets: dict[str, Counter[float]] = defaultdict(Counter)
    for labels, value in rows:
        buckets[labels["variant"]][float(labels["le"])] += int(value)
    return {
        variant: Histogram(tuple(sorted(counts)), tuple(counts[bound] for bound in sorted(counts)))
        for variant, counts in buckets.items()
    }


def _parse_shadows(samples: Samples) -> dict[str, ShadowClaim]:
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    results: dict[str, Counter[str]] = defaultdict(Counter)
    distance_counts: Counter[str] = Counter()
    for labels, value in samples["modelproxy_shadow_requests_total"]:
        outcomes[labels["model"]][labels["outcome"]] += int(value)
    for labels, value in samples["modelproxy_comparisons_total"]:
        results[labels["model"]][labels["result"]] += int(value)
    sums: dict[str, float] = {}
    for labels, value in samples["modelproxy_disagreement_distance_sum"]:
        sums[labels["model"]] = sums.get(labels["model"], 0.0) + value
    for labels, value in samples["modelproxy_disagreement_distance_count"]:
        distance_counts[labels["model"]] += int(value)
    return {
        model: ShadowClaim(
            dict(outcomes[model]),
            dict(results[model]),
            sums.get(model, 0.0) / distance_counts[model] if distance_counts[model] else None,
        )
        for model in outcomes
    }
