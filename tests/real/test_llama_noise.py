"""Text that is sampled never is the same twice: what the champion's second answer tells of two real servers."""

import http.client
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.real.install import ROOT, interpreter
from tests.real.processes import eventually, proxy, server

pytestmark = [pytest.mark.slow, pytest.mark.long]

REQUESTS = 120

CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  champion: {{url: "http://127.0.0.1:{champion}"}}
  twin: {{url: "http://127.0.0.1:{twin}"}}
  other: {{url: "http://127.0.0.1:{other}"}}
routes:
  - name: chat
    match: {{path: "*"}}
    variants: [{{name: v1, model: champion, role: champion}}]
    shadows: [{{model: twin}}, {{model: other}}]
    compare: {{noise: 100}}
"""


@pytest.fixture(scope="module")
def ports(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, int]]:
    """Two servers of the same weights, and one of others."""
    directory = tmp_path_factory.mktemp("llama")
    with ExitStack() as stack:
        started = []
        for seed in (1, 1, 2):
            model = directory / f"{seed}.gguf"
            writer = [
                str(interpreter("small")),
                "-m",
                "tests.real.servers.noise_model",
                str(model),
                str(seed),
            ]
            subprocess.run(writer, cwd=ROOT, check=True)
            started.append(
                stack.enter_context(server("small", "tests.real.servers.llama", model, ready="/health"))
            )
        yield started[0], started[1], started[2]


def ask(port: int, number: int, temperature: float) -> None:
    """Ask for a few letters, each time about something else."""
    document = {
        "messages": [{"role": "user", "content": f"question {number}"}],
        "max_tokens": 12,
        "temperature": temperature,
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(
        "POST", "/v1/chat/completions", orjson.dumps(document), {"content-type": "application/json"}
    )
    assert connection.getresponse().status == 200
    connection.close()


def noise_after(
    ports: tuple[int, int, int], directory: Path, temperature: float
) -> dict[str, dict[str, Any]]:
    """Return what the proxy says of both candidates, once all answers are compared."""
    text = CONFIG.format(directory=directory, champion=ports[0], twin=ports[1], other=ports[2])
    with proxy(text, directory) as (listen, admin):
        for number in range(REQUESTS):
            ask(listen, number, temperature)

        def judged() -> dict[str, dict[str, Any]]:
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
            connection.request("GET", "/api/v1/status")
            route = orjson.loads(connection.getresponse().read())["routes"][0]
            connection.close()
            found = {shadow["model"]: shadow["noise"] for shadow in route["shadows"]}
            is_over = route["noise"]["eligible"] == REQUESTS and all(
                each["sent"] == each["answered"] + each["failed"]
                and each["answered"] == each["compared"] + each["uncomparable"] + each["comparison_dropped"]
                for each in (route["noise"], *(shadow | _compared(shadow) for shadow in route["shadows"]))
            )
            return found if is_over else {}

        found: dict[str, dict[str, Any]] = eventually(judged, "every answer to be judged", 60)
        # A server that is slow for a while makes the champion's second calls be dropped, first of all.
        assert all(each["triples"] > REQUESTS // 2 for each in found.values())
        return found


def _compared(shadow: dict[str, Any]) -> dict[str, int]:
    return {"compared": shadow["agree"] + shadow["disagree"]}


def test_sampled(ports: tuple[int, int, int], tmp_path: Path) -> None:
    """At temperature 1 the same weights disagree in nearly every answer, and never more than the champion does."""
    twin = noise_after(ports, tmp_path, 1.0)["twin"]
    assert twin["candidate_rate"] > 0.9
    assert twin["noise_rate"] > 0.9
    assert twin["evidence_log10"] < 3  # by chance once in 1,000 at most
    assert abs(twin["excess"]) < 0.1


def test_not_sampled(ports: tuple[int, int, int], tmp_path: Path) -> None:
    """At temperature 0 the same weights agree, there is no noise, and other weights are found."""
    found = noise_after(ports, tmp_path, 0.0)
    assert (found["twin"]["candidate_rate"], found["twin"]["noise_rate"]) == (0.0, 0.0)
    assert found["other"]["is_more"]
