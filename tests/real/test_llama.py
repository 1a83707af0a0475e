"""llama.cpp's server says the same through the proxy, to every client."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.real.calls import CURL, CURL_1_0, LLAMA, PLAIN_CLIENTS
from tests.real.processes import Driver
from tests.real.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

OPENAI: dict[str, dict[str, Any]] = {
    "models": {},
    "chat": {},
    "chat over one connection": {"call": "chat", "times": 4},
    "chat, log probabilities": {"call": "chat", "logprobs": True, "top_logprobs": 3},
    "chat_stream": {},
    "chat_stream, with usage": {"call": "chat_stream", "stream_options": {"include_usage": True}},
    "chat_wrong": {},
    "completion": {},
    "completion_stream": {},
    "embeddings": {},
    "missing": {},
    "chat_async": {},
    "response": {},
    "response_stream": {},
}


ANTHROPIC: dict[str, dict[str, Any]] = {
    "message": {},
    "message over one connection": {"call": "message", "times": 4},
    "message_stream": {},
    "message_wrong": {},
    "count": {},
    "missing": {},
}


@pytest.mark.parametrize("client", PLAIN_CLIENTS)
@pytest.mark.parametrize("call", LLAMA)
def test_plain_clients(llama: Stage, drivers: Callable[[str], Driver], client: str, call: str) -> None:
    """No byte differs but those that the README names, and the client program sees the same."""
    assert llama.compare(drivers(client), "plain", **LLAMA[call]) == []


@pytest.mark.parametrize("call", CURL)
def test_curl(llama: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """What curl says of the connection ends at the proxy, the rest is passed on."""
    assert llama.compare(drivers("curl"), "plain", **CURL[call]) == []


@pytest.mark.parametrize("call", CURL_1_0)
def test_curl_in_http_1_0(llama: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """An HTTP/1.0 client is told the same."""
    directly, *proxied = llama.views(drivers("curl"), "plain", **CURL_1_0[call], options=["--http1.0"])
    assert directly["gave"][0]["exit"] == 0
    assert proxied == [directly] * len(proxied)


@pytest.mark.parametrize("call", OPENAI)
def test_openai(llama: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """The ``openai`` package gets the same answers, events and exceptions."""
    assert llama.compare(drivers("openai"), **{"call": call, **OPENAI[call]}) == []


@pytest.mark.parametrize("call", ANTHROPIC)
def test_anthropic(llama: Stage, drivers: Callable[[str], Driver], call: str) -> None:
    """The ``anthropic`` package gets the same messages, events and exceptions of the same server."""
    assert llama.compare(drivers("anthropic"), **{"call": call, **ANTHROPIC[call]}) == []
