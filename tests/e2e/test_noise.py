"""The champion's own noise is told from a candidate that differs, by a running proxy."""

import asyncio
import os
import signal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli import main
from tests.e2e.running import CountingModel, Running, eventually, model_server, serve
from tests.e2e.trial import journal, recomputed, rollout

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


def drawn(model: bytes) -> Any:
    """Return a model's labels by number of the request: one of two, as if by lot, and the same in each run."""
    return lambda number: 1 + sha256(b"%s %d" % (model, number)).digest()[0] % 2


async def ask(proxy: Running, requests: int = REQUESTS) -> dict[str, Any]:
    """Send requests one after the other; return the route's status once all of them are judged."""
    before = triples(await proxy.status())
    for number in range(requests):
        assert (await proxy.infer(f"user-{number % 40}"))[0] == 200

    async def judged() -> bool:
        return triples(await proxy.status()) == before + requests

    await eventually(judged, "every triple to be judged")
    # Once more: fields are read a little before the totals, and that reading may have begun before the last triple.
    route: dict[str, Any] = (await proxy.status())["routes"][0]
    return route


def triples(status: dict[str, Any]) -> int:
    """Return how many triples of the first shadow were judged."""
    number: int = status["routes"][0]["shadows"][0]["noise"]["triples"]
    return number


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
            assert triples(await proxy.status()) == 0


def kill_observer(proxy: Running) -> None:
    """Leave it no moment to save anything."""
    os.kill(proxy.observer_pid(), signal.SIGKILL)


async def test_a_rollout_goes_by_what_is_above_noise(tmp_path: Path) -> None:
    """A canary that differs from a noisy champion as often as that from itself is not held for it, however little is
    tolerated; one that differs more is, and the decision can be made again from what it was made from.
    """
    async with model_server("one") as champion, model_server("two") as candidate:
        champion.label_of, candidate.label_of = drawn(b"one"), drawn(b"two")
        text = config(tmp_path, champion, candidate, "noise: 100").replace(
            "role: champion}",
            "role: champion}\n      - {name: v2, model: two, role: canary, rollout: {steps: [50, 100], bake: 1h, "
            "guardrails: [{metric: errors}, {metric: disagreement, tolerance: 1}]}}",
        )
        async with serve(tmp_path, text) as proxy:
            await ask(proxy)
            found = await eventually(partial(judged_by, proxy, REQUESTS), "the engine to know all triples")
            assert found["canary_events"] > REQUESTS / 3
            assert found["champion_events"] > REQUESTS / 3
            assert found["suspicion_log10_e"] < 1
            assert found["low"] < 0 < found["high"] < 0.5

            candidate.label_of = lambda number: 2
            champion.label_of = lambda number: 1
            await ask(proxy)
            found = await eventually(
                partial(judged_by, proxy, 2 * REQUESTS), "the engine to know all triples"
            )
            assert found["suspicion_log10_e"] > 2
            line = await eventually(partial(held, proxy), "the engine to say why it holds")
            assert "its answers differ more than tolerated above noise: v2 answered" in line["sentence"]
            again = recomputed(proxy, line)
            assert (again["verdict"], again["reason"]) == ("hold", "disagreement")
            for more, words in ((), "more than v1 differs from itself"), (("--verify",), "come out the same"):
                arguments = ["report", "wine", "--admin", proxy.admin, *more]
                told = await asyncio.to_thread(CliRunner().invoke, main, arguments)
                assert (told.exit_code, words in told.stdout) == (0, True), told.output


async def judged_by(proxy: Running, triples: int) -> dict[str, Any]:
    """Return what is known of the guardrail on disagreement, once it has so many triples."""
    evidence = (await rollout(proxy)).get("evidence") or {}
    found: list[dict[str, Any]] = [
        each for each in evidence.get("guardrails", ()) if each["name"] == "disagreement"
    ]
    return found[0] if found and found[0]["canary_total"] == found[0]["champion_total"] == triples else {}


async def held(proxy: Running) -> dict[str, Any]:
    """Return the last line of the journal about a hold for disagreement."""
    lines = [line for line in journal(proxy, "note") if line.get("reason") == "disagreement"]
    return lines[-1] if lines else {}
