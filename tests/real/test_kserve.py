"""KServe's Python server says the same through the proxy, to every client. `make real-servers` installs it."""

from collections.abc import Callable

import orjson
import pytest

from tests.real.calls import KSERVE, PLAIN_CLIENTS, with_tritonclient
from tests.real.processes import Driver
from tests.real.reading import hold_labels, read
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


# It takes whatever this client sends for binary tensors.
@pytest.mark.parametrize("form", ["binary in"])
def test_labels_are_read_as_the_client_reads_them(
    kserve: Stage, drivers: Callable[[str], Driver], form: str
) -> None:
    """Our decoder finds the values and the shape that the client makes numpy of, and labels to compare."""
    hold_labels(kserve, drivers("tritonclient"), "label", form)


def test_predictions_are_read(kserve: Stage, drivers: Callable[[str], Driver]) -> None:
    """In KServe's first protocol our decoder finds a label for each instance."""
    _, (exchange,) = kserve.heard(drivers("requests"), "plain", **KSERVE["predict"])
    found = read(exchange)
    (tensor,) = found.tensors
    assert found.format == "v1"
    assert tensor.data == orjson.loads(exchange.response.body)["predictions"] != []
