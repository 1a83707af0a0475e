"""What the observer says of itself has words, and a kind that its name tells."""

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from proxy.observer.own_metrics import HELP, own_families


def test_families() -> None:
    """Counters are those that only grow; what only a program before an upgrade knows has words of a kind."""
    families = list(own_families({"queue_bytes": 5, "errors_total": 2, "odd_things_total": 1}))
    assert [type(each) for each in families] == [CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]
    assert [(each.name, each.documentation, each.samples[0].value) for each in families] == [
        ("modelproxy_observer_errors", HELP["errors_total"], 2),
        ("modelproxy_observer_odd_things", "The observer's odd things.", 1),
        ("modelproxy_observer_queue_bytes", HELP["queue_bytes"], 5),
    ]
