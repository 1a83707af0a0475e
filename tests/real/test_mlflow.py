"""``mlflow models serve`` says the same through the proxy, to every client. `make real-servers` installs it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.real.calls import MLFLOW, PLAIN_CLIENTS
from tests.real.processes import Driver
from tests.real.reading import read
from tests.real.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", MLFLOW)
def test_plain_clients(mlflow: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert mlflow.compare(drivers(client), "plain", **MLFLOW[call]) == []


def test_own_client(mlflow: Stage, drivers: Callable[[str], Driver]) -> None:
    """MLflow's client finds the server up, and gets the same labels."""
    assert mlflow.compare(drivers("mlflow"), "about") == []
    asked: dict[str, Any] = {"form": "table", "rows": ROWS, "columns": list("abcd")}
    assert mlflow.compare(drivers("mlflow"), "predicted", **asked) == []


def test_predictions_are_read(mlflow: Stage, drivers: Callable[[str], Driver]) -> None:
    """Our decoder finds a label for each row."""
    _, (exchange,) = mlflow.heard(drivers("requests"), "plain", **MLFLOW["instances"])
    found = read(exchange)
    (tensor,) = found.tensors
    assert tensor.data == orjson.loads(exchange.response.body)["predictions"] == [0, 2]
