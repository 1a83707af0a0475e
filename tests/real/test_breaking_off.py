"""A client that leaves a stream ends its generation: no model computes for nobody."""

import re
import urllib.request
from collections.abc import Callable

import pytest

from tests.real.processes import Driver, eventually
from tests.real.stage import MODES, Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]

ENDLESS = 60_000
"""Tokens that the client asks for: more than a minute of work."""
AT_ONCE_S = 5.0
"""On a busy machine; alone it takes a few milliseconds."""


def metric(port: int, name: str) -> float:
    """Return a number of the llama's own ``/metrics``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = re.search(rf"^llamacpp:{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("mode", MODES)
def test_openai_leaves_a_stream(llama: Stage, drivers: Callable[[str], Driver], mode: str) -> None:
    """``stream.close()`` after three events frees the server's slot, and almost no token was made."""
    before = metric(llama.server, "tokens_predicted_total")
    url = f"http://127.0.0.1:{llama.proxies[mode][0]}"
    assert drivers("openai").call("break_off", url, events=3) == {"gave": 3}
    eventually(lambda: metric(llama.server, "requests_processing") == 0, "a free slot", AT_ONCE_S)
    assert metric(llama.server, "tokens_predicted_total") - before < ENDLESS / 2


@pytest.mark.parametrize("mode", MODES)
def test_who_stays_gets_all(llama: Stage, drivers: Callable[[str], Driver], mode: str) -> None:
    """The model is not freed while its client reads: the counter above means something."""
    before = metric(llama.server, "tokens_predicted_total")
    url = f"http://127.0.0.1:{llama.proxies[mode][0]}"
    told = drivers("openai").call("chat_stream", url)
    assert told["gave"]
    eventually(lambda: metric(llama.server, "tokens_predicted_total") - before >= 24, "all tokens")
