"""LitServe says the same through the proxy, to every client."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.real.calls import LITSERVE, PLAIN_CLIENTS
from tests.real.processes import Driver
from tests.real.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

OPENAI: dict[str, dict[str, Any]] = {
    "chat": {},
    "chat over one connection": {"call": "chat", "times": 4},
    "chat_stream": {},
    "chat_wrong": {},
    "missing": {},
    "chat_async": {},
}


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", LITSERVE)
def test_plain_clients(litserve: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert litserve.compare(drivers(client), "plain", **LITSERVE[call]) == []


@pytest.mark.parametrize("call", OPENAI)
def test_openai(litserve: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """The ``openai`` package gets the same answers, events and exceptions."""
    assert litserve.compare(drivers("openai"), **{"call": call, **OPENAI[call]}) == []
