"""KServe's Python server says the same through the proxy, to every client. `make real-servers` installs it."""

from collections.abc import Callable

import pytest

from tests.real.calls import KSERVE, PLAIN_CLIENTS, with_tritonclient
from tests.real.processes import Driver
from tests.real.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

TRITONCLIENT = with_tritonclient("label")


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", KSERVE)
def test_plain_clients(kserve: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert kserve.compare(drivers(client), "plain", **KSERVE[call]) == []


@pytest.mark.parametrize("call", TRITONCLIENT)
def test_tritonclient(kserve: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """``tritonclient`` gets the same tensors and exceptions."""
    assert kserve.compare(drivers("tritonclient"), call.partition(",")[0], **TRITONCLIENT[call]) == []
