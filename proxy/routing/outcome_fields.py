"""What the observer counts of a route: the names of its counters, beside those of the worker (:mod:`proxy.tally`)."""

from proxy.model import DISAGREEMENT_REASONS
from proxy.tally import HISTOGRAM_FIELDS

__all__ = [
    "COMPARISON_FIELDS",
    "DISTANCE_SLOTS",
    "FEEDBACK_FIELDS",
    "LABEL_FIELDS",
    "LABEL_ROW_FIELDS",
    "PACE_FIELDS",
    "REASON_FIELDS",
    "SINK_FIELDS",
    "SINK_OUTCOMES",
    "TRIPLE_FIELDS",
]

COMPARISON_FIELDS = ("agree", "disagree", "uncomparable", "dropped")
"""What became of one answered shadow response: exactly one of these."""

REASON_FIELDS = tuple(f"reason_{reason}" for reason in DISAGREEMENT_REASONS)
"""Why a pair disagreed: exactly one of these for each that did."""

DISTANCE_SLOTS = 16
"""Histogram slots for the disagreement distance, plus its sum in millionths."""

TRIPLE_FIELDS = (
    "same",
    "candidate",
    "champion",
    "both",
    "candidate_farther",
    "champion_farther",
    "left_out",
)
"""What a request showed that the champion answered twice; see :class:`proxy.noise.triples.Triples`."""

SINK_OUTCOMES = ("written", "dropped", "failed", "thinned")
"""What became of one payload record that reached the observer: exactly one of these."""

SINK_FIELDS = (*SINK_OUTCOMES, "chosen", "rule_failed", "lost_thousandths")
"""``chosen``: records that are there by a rule of the observer, so that no worker has counted them as sampled;
``rule_failed``: exchanges over which an expression could not be evaluated; ``lost_thousandths``: of requests that the
dropped ones would have stood for."""

PACE_FIELDS = (
    *(f"first_token_{i}" for i in HISTOGRAM_FIELDS),
    "first_token_sum_ns",
    *(f"per_token_{i}" for i in HISTOGRAM_FIELDS),
    "per_token_sum_ns",
)
"""How fast a model of a route generated: a variant's answers to clients, or (variant ``""``) a shadow's to copies."""

FEEDBACK_FIELDS = ("accepted", "duplicate", "unknown", "refused")
"""What became of one item of feedback on an answer: exactly one of these."""

LABEL_FIELDS = ("accepted", "duplicate", "unknown", "late", "mismatch", "refused")
"""What became of the labels of one request: exactly one of these."""

LABEL_ROW_FIELDS = (
    "both_right",
    "only_primary",
    "only_shadow",
    "both_wrong",
    "primary_closer",
    "shadow_closer",
    "as_close",
)
"""What one labelled row says of a shadow beside a variant: exactly one of these. See :mod:`proxy.labels.outcomes`."""
