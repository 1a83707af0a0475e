"""Triton says the same through the proxy, in JSON and in binary tensors, to every client."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.real.calls import PLAIN_CLIENTS, TRITON
from tests.real.processes import Driver
from tests.real.stage import PLAIN, Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

TRITONCLIENT: dict[str, dict[str, Any]] = {
    "about": {"model": "sums"},
    "infer": {},
    "infer, JSON": {"binary_in": False, "binary_out": False},
    "infer, binary in": {"binary_in": True, "binary_out": False},
    "infer, binary out": {"binary_in": False, "binary_out": True},
    "infer, over one connection": {"times": 8},
    "infer, 8 MB": {"rows": 16, "columns": 62_500, "binary_out": True},
    "infer, gzip": {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"},
    "infer, deflate": {
        "request_compression_algorithm": "deflate",
        "response_compression_algorithm": "deflate",
    },
    "infer, gzip and large": {
        "rows": 8,
        "columns": 10_000,
        "request_compression_algorithm": "gzip",
        "response_compression_algorithm": "gzip",
    },
    "infer, with everything": {
        "request_id": "r-1",
        "headers": {"x-user": "u-17", "x-request-id": "mine"},
        "query_params": {"a": "b c", "d": 1},
        "parameters": {"user": "u-17"},
    },
    "infer, unknown model": {"model": "nope"},
    "infer, wrong input": {"names": "ac"},
    "infer, too many rows": {"rows": 17},
    "infer_async": {},
}


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", TRITON)
def test_plain_clients(triton: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert triton.compare(drivers(client), "plain", **TRITON[call]) == []


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
def test_head_with_a_body(triton: Stage, drivers: Callable[[str], Driver], client: str) -> None:
    """Triton sends a body behind its answer to HEAD, which breaks clients directly; the proxy keeps it back."""
    call = {"method": "HEAD", "path": "/v2"}
    assert triton.compare(drivers(client), "plain", sees_same=False, **call) == []
    triton.front.aim(triton.proxies[PLAIN][0])
    (told,) = drivers(client).call("plain", triton.front.url, **call)["gave"]
    assert told.get("status", 405) == 405


@pytest.mark.parametrize("call", TRITONCLIENT)
def test_tritonclient(triton: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """``tritonclient`` gets the same tensors and exceptions."""
    assert triton.compare(drivers("tritonclient"), call.partition(",")[0], **TRITONCLIENT[call]) == []


def test_many_at_once(triton: Stage, drivers: Callable[[str], Driver]) -> None:
    """Answers of several connections are not mixed up."""
    directly, *proxied = triton.views(drivers("tritonclient"), "infer_at_once", count=40)
    assert len(directly["gave"]) == 40
    assert proxied == [directly] * len(proxied)
