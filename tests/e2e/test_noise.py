"""The champion's own noise is told from a candidate that differs, by a running proxy."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import CountingModel, Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

REQUESTS = 240


def config(directory: Path, champion: CountingModel, candidate: CountingModel, compare: str) -> str:
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  one: {{url: '{champion.url}'}}
  two: {{url: '{candidate.url}'}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    variants:
      - {{name: v1, model: one, role: champion}}
    shadows: [{{model: two}}]
    compare: {{as: classification, {compare}}}
"""


def noisy(every: int, offset: int = 0) -> Any:
    """Return a model's labels by number of the request: another one each so many times."""
    return lambda number: 2 if (number + offset) % every == 0 else 1


async def ask(proxy: Running, requests: int = REQUESTS) -> dict[str, Any]:
    """Send requests one after the other; return the route's status once all of them are judged."""
    before = (await proxy.status())["routes"][0]["shadows"][0]["noise"]["triples"]
    for number in range(requests):
        assert (await proxy.infer(f"user-{number % 40}"))[0] == 200

    async def judged() -> dict[str, Any]:
        route: dict[str, Any] = (await proxy.status())["routes"][0]
        return route if route["shadows"][0]["noise"]["triples"] == before + requests else {}

    found: dict[str, Any] = await eventually(judged, "every triple to be judged")
    return found


async def test_noise_and_difference(tmp_path: Path) -> None:
    """A candidate that is as noisy as the champion differs often and not above noise; another model does, and is found.

    Meanwhile the observer is killed, and no triple is forgotten; the public counts of shadows know nothing of the
    champion's second answers.
    """
    async with model_server("one") as champion, model_server("two") as candidate:
        champion.label_of, candidate.label_of = noisy(7), noisy(7, 1)
        text = config(tmp_path, champion, candidate, "noise: 100")
        async with serve(tmp_path, text) as proxy:
            route = await ask(proxy)
            (shadow,) = route["shadows"]
            assert (champion.primary, champion.shadow, candidate.shadow) == (REQUESTS,) * 3
            assert route["noise"]["sent"] == route["noise"]["compared"] == REQUESTS
            assert shadow["sent"] == shadow["agree"] + shadow["disagree"] == REQUESTS
            assert shadow["disagreement_rate"] > 0.15
            noise = shadow["noise"]
            assert noise["candidate_rate"] == shadow["disagreement_rate"]
            assert abs(noise["excess"]) < 0.08
            assert noise["low"] < 0 < noise["high"]
            assert noise["evidence_log10"] < 1
            assert not noise["is_more"]
            assert "no evidence of a difference" in noise["sentence"]
            assert [field["path"] for field in noise["fields"]] == ["/label/*"]

            kill_observer(proxy)
            await eventually(proxy.is_watched, "another observer")
            candidate.label_of = lambda number: 2
            noise = (await ask(proxy))["shadows"][0]["noise"]
            assert noise["is_more"]
            assert noise["low"] > 0.1
            assert "it differs more, by" in noise["sentence"]
            # What was killed had counted fields that nobody saved.
            counts = [
                sum(field[name] for field in noise["fields"]) for name in ("candidate", "champion", "both")
            ]
            assert counts == [noise[name] for name in ("candidate", "champion", "both")]
            async with proxy.session.get(f"{proxy.admin}/api/v1/disagreements?limit=0") as answer:
                ((told,),) = (each["shadows"] for each in (await answer.json())["routes"])
            assert (told["noise"], told["noise_sentence"]) == (noise, noise["sentence"])
            assert (
                await proxy.total("modelproxy_noise_triples_total", route="wine", model="two") == 2 * REQUESTS
            )
            assert await proxy.total("modelproxy_noise_requests_total", outcome="sent") == 2 * REQUESTS
            assert await proxy.total("modelproxy_shadow_requests_total", model="one") == 0

            await proxy.publish(config(tmp_path, champion, candidate, "noise: 100, rtol: 0.5"))
            assert (await proxy.status())["routes"][0]["shadows"][0]["noise"]["triples"] == 0


def kill_observer(proxy: Running) -> None:

    os.kill(proxy.observer_pid(), signal.SIGKILL)
