"""Evidence as a value."""

from math import inf

from proxy.rollout.evidence import Evidence, Grounds, GuardrailEvidence, GuardrailGrounds
from proxy.settings import Metric


def test_without_data_nothing_is_known() -> None:
    """Every log e is 0, the interval is everything, and the canary might fail all that it gets."""
    guardrail = GuardrailEvidence("errors", Metric.ERRORS, advisory=False)
    assert (guardrail.harm, guardrail.suspicion, guardrail.noninferiority) == (0.0, 0.0, 0.0)
    assert (guardrail.low, guardrail.high) == (0.0, inf)
    assert (Evidence().harm, Evidence().excess_share, Evidence().canary_units) == (0.0, 1.0, 0)


def test_evidence_is_grounds_and_more() -> None:
    """Whoever decides on grounds can decide on evidence."""
    assert isinstance(Evidence(), Grounds)
    assert isinstance(GuardrailEvidence("errors", Metric.ERRORS, advisory=False), GuardrailGrounds)
