"""MLServer says the same through the proxy, to every client. `make real-servers` installs it."""

from collections.abc import Callable

import pytest

from tests.real.calls import MLSERVER, PLAIN_CLIENTS, with_tritonclient
from tests.real.processes import Driver
from tests.real.reading import hold_labels
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


# It takes binary tensors for JSON.
@pytest.mark.parametrize("form", ["JSON", "binary out"])
def test_labels_are_read_as_the_client_reads_them(
    mlserver: Stage, drivers: Callable[[str], Driver], form: str
) -> None:
    """Our decoder finds the values and the shape that the client makes numpy of, and labels to compare."""
    hold_labels(mlserver, drivers("tritonclient"), "predict", form)
