"""Text that is sampled never is the same twice: what the champion's second answer tells of two real servers."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.real.judged import of_texts
from tests.real.llamas import llamas
from tests.real.processes import eventually, proxy

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
    log: {{percent: 100, content: true}}
"""


@pytest.fixture(scope="module")
def ports(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, int]]:
    """Two servers of the same weights, and one of others."""
    with llamas(tmp_path_factory.mktemp("llama"), ("1", "0"), ("1", "0"), ("2", "0")) as started:
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

        def judged() -> list[dict[str, Any]]:
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
            connection.request("GET", "/api/v1/status")
            route = orjson.loads(connection.getresponse().read())["routes"][0]
            connection.close()
            shadows: list[dict[str, Any]] = route["shadows"]
            is_over = route["noise"]["eligible"] == REQUESTS and all(
                each["sent"] == each["answered"] + each["failed"]
                and each["answered"] == each["compared"] + each["uncomparable"] + each["comparison_dropped"]
                for each in (route["noise"], *(shadow | _compared(shadow) for shadow in shadows))
            )
            return shadows if is_over else []

        found: list[dict[str, Any]] = eventually(judged, "every answer to be judged", 60)
        # A server that is slow for a while makes the champion's second calls be dropped, first of all.
        assert all(each["noise"]["triples"] > REQUESTS // 2 for each in found)
        differing = eventually(lambda: _differing(directory), "every record", 60)
        assert {each["model"]: each["disagree"] for each in found} == differing
        return {each["model"]: each["noise"] for each in found}


def _differing(directory: Path) -> dict[str, int]:
    """Count from the bodies in the records how often each candidate's text is another; nothing before all are there."""
    files = (directory / "state" / "payloads").glob("*.jsonl")
    records = [orjson.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    counts = {"twin": 0, "other": 0}
    for record in records:
        for shadow in record["shadows"]:
            if shadow["comparison"] is not None:
                texts = of_texts(_text(record["response"]["body"]), _text(shadow["body"]))
                counts[shadow["model"]] += any(texts.differs)
    return counts if len(records) == REQUESTS else {}


def _text(body: str) -> str:
    text: str = orjson.loads(body)["choices"][0]["message"]["content"]
    return text


def _compared(shadow: dict[str, Any]) -> dict[str, int]:
    return {"compared": shadow["agree"] + shadow["disagree"]}


def test_sampled(ports: tuple[int, int, int], tmp_path: Path) -> None:
    """At temperature 1 the same weights disagree in nearly every answer, and never more than the champion does."""
    twin = noise_after(ports, tmp_path, 1.0)["twin"]
    assert twin["candidate_rate"] > 0.9
    assert twin["noise_rate"] > 0.9
    assert twin["evidence_log10"] < 3  # by chance once in 1,000 at most
    assert abs(twin["excess"]) < 0.1


def test_sampled_a_little(ports: tuple[int, int, int], tmp_path: Path) -> None:
    """Where a part of the answers is not the same twice, the same weights are within that noise, others above it."""
    found = noise_after(ports, tmp_path, 0.02)
    assert 0.05 < found["twin"]["noise_rate"] < 0.8
    assert not found["twin"]["is_more"]  # by chance once in 100 at most
    assert found["other"]["is_more"]


def test_not_sampled(ports: tuple[int, int, int], tmp_path: Path) -> None:
    """At temperature 0 the same weights agree, there is no noise, and other weights are found."""
    found = noise_after(ports, tmp_path, 0.0)
    assert (found["twin"]["candidate_rate"], found["twin"]["noise_rate"]) == (0.0, 0.0)
    assert found["other"]["is_more"]
