"""KServe's Python server says the same through the proxy, to every client. `make real-servers` installs it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.real.calls import KSERVE, PLAIN_CLIENTS
from tests.real.processes import Driver
from tests.real.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

IRIS: dict[str, Any] = {"model": "iris", "names": "x", "kind": "FP64", "outputs": ("label",)}

TRITONCLIENT: dict[str, dict[str, Any]] = {
    "about_oip": {"model": "iris"},
    "infer, JSON": IRIS | {"binary_in": False, "binary_out": False},
    "infer, binary in": IRIS | {"binary_in": True, "binary_out": False},
    "infer, binary out": IRIS | {"binary_in": False, "binary_out": True},
    "infer, as by default": IRIS,
    "infer, over one connection": IRIS | {"binary_in": False, "binary_out": False, "times": 5},
    "infer, unknown model": IRIS | {"model": "nope", "binary_in": False, "binary_out": False},
}


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", KSERVE)
def test_plain_clients(kserve: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert kserve.compare(drivers(client), "plain", **KSERVE[call]) == []


@pytest.mark.parametrize("call", TRITONCLIENT)
def test_tritonclient(kserve: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """``tritonclient`` gets the same tensors and exceptions."""
    assert kserve.compare(drivers("tritonclient"), call.partition(",")[0], **TRITONCLIENT[call]) == []
