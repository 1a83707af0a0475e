"""A metrics page becomes claims about one route."""

import pytest

from proxy.demo.metrics import parse_claims

PAGE = """\
# TYPE modelproxy_requests_total counter
modelproxy_requests_total{route="digits",variant="v1",model="m1",code="200"} 10.0
modelproxy_requests_total{route="digits",variant="v1",model="m1",code="502"} 1.0
modelproxy_requests_total{route="other",variant="v1",model="m1",code="200"} 99.0
# TYPE modelproxy_request_duration_seconds histogram
modelproxy_request_duration_seconds_bucket{route="digits",variant="v1",model="m1",le="0.001"} 4.0
modelproxy_request_duration_seconds_bucket{route="digits",variant="v1",model="m1",le="+Inf"} 10.0
modelproxy_request_duration_seconds_count{route="digits",variant="v1",model="m1"} 10.0
modelproxy_request_duration_seconds_sum{route="digits",variant="v1",model="m1"} 1.0
modelproxy_request_duration_seconds_bucket{route="digits",variant="v1",model="m9",le="0.001"} 1.0
modelproxy_request_duration_seconds_bucket{route="digits",variant="v1",model="m9",le="+Inf"} 1.0
modelproxy_request_duration_seconds_count{route="digits",variant="v1",model="m9"} 1.0
modelproxy_request_duration_seconds_sum{route="digits",variant="v1",model="m9"} 1.0
# TYPE modelproxy_shadow_requests_total counter
modelproxy_shadow_requests_total{route="digits",model="m4",outcome="sent"} 7.0
modelproxy_shadow_requests_total{route="digits",model="m4",outcome="answered"} 6.0
# TYPE modelproxy_comparisons_total counter
modelproxy_comparisons_total{route="digits",model="m4",result="agree"} 5.0
# TYPE modelproxy_disagreement_distance histogram
modelproxy_disagreement_distance_bucket{route="digits",model="m4",le="+Inf"} 5.0
modelproxy_disagreement_distance_count{route="digits",model="m4"} 5.0
modelproxy_disagreement_distance_sum{route="digits",model="m4"} 1.0
# TYPE modelproxy_payload_records_total counter
modelproxy_payload_records_total{route="digits",outcome="written"} 3.0
# TYPE modelproxy_upstream_faults_total counter
modelproxy_upstream_faults_total{model="m1",kind="reset"} 2.0
modelproxy_upstream_faults_total{model="m1",kind="status"} 1.0
# TYPE modelproxy_fallbacks_total counter
modelproxy_fallbacks_total{route="digits",variant="v3",model="m3"} 2.0
modelproxy_fallbacks_total{route="other",variant="v3",model="m3"} 5.0
# TYPE modelproxy_decisions_total counter
modelproxy_decisions_total{route="digits",decision="ramp"} 3.0
# TYPE modelproxy_config_version gauge
modelproxy_config_version 4.0
# TYPE modelproxy_config_last_reload_successful gauge
modelproxy_config_last_reload_successful 1.0
"""


def test_a_page_becomes_claims_about_one_route() -> None:
    """Counts keep their labels, histograms of one variant are added, other routes are left out."""
    claims = parse_claims(PAGE, "digits")
    assert claims.requests == {("v1", "m1", "200"): 10, ("v1", "m1", "502"): 1}
    assert claims.by_variant() == {("v1", "m1"): 11}
    assert claims.durations["v1"].counts == (5, 11)
    assert claims.durations["v1"].total == 11
    assert claims.shadows["m4"].outcome("sent") == 7
    assert claims.shadows["m4"].outcome("failed") == 0
    assert claims.shadows["m4"].result("agree") == 5
    assert claims.shadows["m4"].mean_distance == pytest.approx(0.2)
    assert claims.payload == {"written": 3}
    assert (claims.faults, claims.fallbacks, claims.decisions) == ({"m1": 3}, {"v3": 2}, {"ramp": 3})
    assert (claims.config_version, claims.reload_successful) == (4, True)


def test_an_empty_page_claims_nothing() -> None:
    """Before the first request every number is absent, not an error."""
    claims = parse_claims("", "digits")
    assert (claims.requests, claims.shadows, claims.config_version) == ({}, {}, 0)
    assert not claims.reload_successful


def test_a_page_in_another_format_is_refused() -> None:
    """What is not in the text format is a ValueError, never a silent zero."""
    with pytest.raises(ValueError, match=r"Invalid|invalid|expected|metric"):
        parse_claims("{not metrics", "digits")
