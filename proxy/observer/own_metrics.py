"""What the observer says of itself, in Prometheus's words: a part of :mod:`proxy.observer.metrics`."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["HELP", "own_families"]

HELP: Final[Mapping[str, str]] = {
    "connections": "Workers that are connected.",
    "queue_frames": "Frames of workers that wait to be looked at.",
    "queue_bytes": "Bytes of these.",
    "queue_paused": "Whether the queue is full (1) and reading rests; workers drop what they cannot hand over.",
    "pending_pairs": "Exchanges that wait for the answer of a shadow.",
    "pending_bytes": "Bytes of these.",
    "payload_queue_bytes": "Bytes of records that wait for the first sink.",
    "payload_log_failing": "Whether the first sink fails (1).",
    "tick_seconds": "How long the last look at the rollouts took.",
    "tick_left": "Rollouts that it had no time to judge, and that come first in the next.",
    "store_failing": "Whether the disk refuses evidence (1), so that no rollout is raised.",
    "feedback_failing": "Whether the disk refuses feedback (1), which is answered 503.",
    "disagreements_failing": "Whether the disk refuses the counts of disagreement (1); they stay in memory.",
    "labels_failing": "Whether the disk refuses labels (1), which are answered 503.",
    "labels_remembered": "Requests whose predictions are in memory until their true answers come.",
    "labels_remembered_bytes": "Bytes of these.",
    "webhooks_queued": "Messages on their way to webhooks.",
    "broken_streams_total": "Connections of workers that were cut because what came made no sense.",
    "stray_frames_total": "Frames that belong to no table that is known.",
    "lost_frames_total": "Frames that were handed over and never read, because a process was killed.",
    "expired_pairs_total": "Exchanges given up after observer.pair_timeout.",
    "evicted_pairs_total": "Exchanges given up for want of memory.",
    "errors_total": "Exchanges that a bug of the proxy spoiled.",
    "spans_exported_total": "Spans that the collector took.",
    "spans_failed_total": "Spans that the collector did not take.",
    "spans_dropped_total": "Spans that found the queue full.",
    "admin_cut_total": "Connections of the admin address that were cut: too slow, or to make room.",
    "tick_failures_total": "Judgements that a bug of the proxy spoiled; that rollout stays where it is.",
    "store_failures_total": "How often the disk refused evidence.",
    "webhooks_delivered_total": "Messages that webhooks took.",
    "webhooks_failed_total": "Messages given up after ten attempts.",
    "webhooks_dropped_total": "Messages that found their queue full, or their webhook gone.",
    "feedback_missed_total": "Requests on which feedback is unknown because they came faster than they were read.",
    "feedback_forgotten_total": "Requests on which feedback is unknown because they were too many in seven days.",
    "feedback_failures_total": "How often the disk refused feedback.",
    "disagreement_failures_total": "How often the disk refused the counts of disagreement.",
    "label_failures_total": "How often the disk refused labels.",
    "labels_forgotten_total": "Requests whose predictions were forgotten before compare.labels, for want of room.",
    "predictions_saved_total": "Requests whose predictions went to the disk.",
    "predictions_unsaved_total": "Requests whose predictions did not: the disk did not take them, or must not.",
    "meanings_asked_total": "Pairs of answers whose texts the embedder was asked for.",
    "meanings_answered_total": "Pairs that it told of.",
    "meanings_failed_total": "Pairs that it did not tell of, or not in time.",
    "meanings_dropped_total": "Pairs that it was not asked for because embedder.queue was full.",
    "meanings_withheld_total": "Pairs that it was not asked for because what must not be told could not be told apart.",
}
"""By name, as :meth:`proxy.observer.source.Source.gauges` returns it."""


def own_families(gauges: Mapping[str, float]) -> Iterator[Metric]:
    """Yield a family for each of ``gauges``: a counter where the name ends in ``_total``."""
    for name, value in sorted(gauges.items()):
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        # A program before an upgrade may have counted what this one does not know.
        words = name.removesuffix("_total").replace("_", " ")
        yield kind(f"modelproxy_observer_{name}", HELP.get(name, f"The observer's {words}."), value=value)
