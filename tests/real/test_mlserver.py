"""MLServer says the same through the proxy, to every client. `make real-servers` installs it."""

from collections.abc import Callable

import pytest

from tests.real.calls import MLSERVER, PLAIN_CLIENTS, with_tritonclient
from tests.real.processes import Driver
from tests.real.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

TRITONCLIENT = with_tritonclient("predict")


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", MLSERVER)
def test_plain_clients(mlserver: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert mlserver.compare(drivers(client), "plain", **MLSERVER[call]) == []


@pytest.mark.parametrize("call", TRITONCLIENT)
def test_tritonclient(mlserver: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """``tritonclient`` gets the same tensors and exceptions."""
    assert mlserver.compare(drivers("tritonclient"), call.partition(",")[0], **TRITONCLIENT[call]) == []
