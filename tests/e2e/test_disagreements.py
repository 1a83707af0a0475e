"""What a real proxy tells of disagreements is what the models did: by slice, with examples, whoever is killed."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from aiohttp import web

from proxy.control.openapi import build_openapi
from tests.e2e.running import Running, eventually, model_server, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the observer through /proc"),
]

TIERS = ("gold", "silver", "")
PATH = "/api/v1/disagreements"


@asynccontextmanager
async def model(flips: str = "") -> AsyncIterator[str]:
    """Run a model that says 1, and 2 to those of the tier ``flips``; yield its URL."""

    async def infer(request: web.Request) -> web.Response:
        await request.read()
        label = 2 if flips and request.headers.get("x-tier") == flips else 1
        outputs = [{"name": "label", "datatype": "INT64", "shape": [1], "data": [label]}]
        return web.json_response({"model_name": "m", "outputs": outputs})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", infer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def config(directory: Path, champion: str, shadow: str, more: str = "") -> str:
    """Return a configuration with a shadow and two slices."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
models:
  one: {{url: '{champion}'}}
  two: {{url: '{shadow}'}}
routes:
  - name: wine
    match: {{path: "/*"}}
    unit: [header:x-user-id]
    variants:
      - {{name: v1, model: one, role: champion}}
    shadows: [{{model: two, percent: 100, max_in_flight: 1000}}]
    compare: {{as: classification, slices: {{tier: header:x-tier, lang: "json:/parameters/lang"}}{more}}}
"""


async def send(proxy: Running, count: int) -> Counter[str]:
    """Send requests of all tiers one after the other; return how many had which."""
    sent: Counter[str] = Counter()
    for number in range(count):
        tier = TIERS[number % len(TIERS)]
        headers = {"x-user-id": f"user-{number}", **({"x-tier": tier} if tier else {})}
        document = {"inputs": [], "parameters": {"lang": "pt" if number % 2 else "en"}}
        async with proxy.session.post(
            proxy.listen + "/infer?secret=1", json=document, headers=headers
        ) as answer:
            assert answer.status == 200
            await answer.read()
        sent[tier or "none"] += 1
    return sent


async def told(proxy: Running, query: str = "") -> dict[str, Any]:
    """Return what is told of the shadow; empty while the observer does not answer."""
    try:
        async with proxy.session.get(proxy.admin + PATH + query) as answer:
            document = await answer.json()
    except OSError:
        return {}
    if answer.status != 200:
        return {}
    described = build_openapi()["components"]["schemas"]["Disagreements"]
    jsonschema.validate(document, described)
    shadow: dict[str, Any] = document["routes"][0]["shadows"][0]
    return shadow


def counts(shadow: dict[str, Any], name: str = "tier") -> dict[str, tuple[int, int]]:
    """Return agreements and disagreements by value of a slice."""
    return {each["value"]: (each["agree"], each["disagree"]) for each in shadow["slices"][name]}


def on_the_disk(directory: Path) -> int:
    """Return how many pairs the file counts in total."""
    with sqlite3.connect(f"file:{directory}/state/disagreements.sqlite?mode=ro", uri=True) as db:
        ((total,),) = db.execute("SELECT sum(agree + disagree) FROM cells WHERE part = 'total'")
    return int(total or 0)


async def saved(directory: Path, count: int) -> None:
    """Wait until the disk has so many pairs."""

    async def is_saved() -> bool:
        return await asyncio.to_thread(on_the_disk, directory) == count

    await eventually(is_saved, f"{count} pairs on the disk")


async def test_what_disagrees_and_on_which_inputs(tmp_path: Path) -> None:
    """Counts are exact for every value, the one that is to blame stands out, and its examples show why."""
    async with model() as one, model("gold") as two, serve(tmp_path, config(tmp_path, one, two)) as proxy:
        sent = await send(proxy, 120)
        await proxy.settled()
        shadow = await told(proxy, "?limit=3")
        assert (shadow["agree"], shadow["disagree"]) == (80, 40)
        assert counts(shadow) == {
            "gold": (0, sent["gold"]),
            "silver": (sent["silver"], 0),
            "none": (sent["none"], 0),
        }
        assert sum(disagree for _, disagree in counts(shadow, "lang").values()) == 40
        assert [each["value"] for each in shadow["slices"]["tier"] if each["stands_out"]] == ["gold"]
        assert not any(each["stands_out"] for each in shadow["slices"]["lang"])
        assert shadow["reasons"] == {"label": 40}
        assert shadow["confusion"] == [{"label": "1", "shadow_label": "2", "rows": 40}]
        low, high = shadow["interval"]
        assert low < 1 / 3 < high
        assert len(shadow["examples"]) == 3
        for example in shadow["examples"]:
            assert example["slices"]["tier"] == "gold"
            assert orjson.loads(example["request"]["body"])["parameters"]["lang"] == example["slices"]["lang"]
            assert example["differences"] == [{"path": "/label/0", "primary": "1", "shadow": "2"}]
        assert (
            await proxy.total("modelproxy_disagreements_total", route="wine", model="two", reason="label")
            == 40
        )
        assert await proxy.total("modelproxy_disagreements_total") == 40
        assert b"user-" not in orjson.dumps(shadow)
        assert b"secret" not in orjson.dumps(shadow)


async def test_the_command_shows_it(tmp_path: Path) -> None:
    """The terminal has the rate, the slice to blame and one example field by field."""
    async with model() as one, model("gold") as two, serve(tmp_path, config(tmp_path, one, two)) as proxy:
        await send(proxy, 60)
        await proxy.settled()
        (example,) = (await told(proxy, "?limit=1"))["examples"]

        def run(*arguments: str) -> str:
            command = [sys.executable, "-m", "proxy", "disagreements", "--admin", proxy.admin, *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        text = await asyncio.to_thread(run, "wine", "--slice", "tier:gold")
        assert "20 of 60 pairs disagree: 33.33%" in text
        assert "disagrees more than the others" in text
        text = await asyncio.to_thread(run, "--example", example["id"])
        assert ["/label/0", "1", "2"] in [line.split() for line in text.splitlines()]


@pytest.mark.long
async def test_counts_outlive_whoever_counts(tmp_path: Path) -> None:
    """SIGKILL of the observer loses nothing that was on the disk; after a restart of all the counts go on."""
    async with model() as one, model("gold") as two:
        text = config(tmp_path, one, two)
        async with serve(tmp_path, text) as proxy:
            await send(proxy, 30)
            await proxy.settled()
            await saved(tmp_path, 30)
            os.kill(proxy.observer_pid(), signal.SIGKILL)

            async def is_back() -> bool:
                status = await proxy.status()
                return bool(status) and status["observer"]["connections"] == 2

            await eventually(is_back, "both workers to reach the new observer")
            await send(proxy, 30)
            await proxy.settled()

            async def has_all() -> bool:
                return counts(await told(proxy)).get("gold") == (0, 20)

            await eventually(has_all, "the counts of both observers")
        async with serve(tmp_path, text) as proxy:
            await send(proxy, 30)
            await proxy.settled()

            async def has_more() -> bool:
                shadow = await told(proxy)
                return (shadow["agree"], shadow["disagree"]) == (60, 30) and counts(shadow)["gold"] == (0, 30)

            await eventually(has_more, "the counts of both runs")
            assert await proxy.total("modelproxy_disagreements_total") == 10


@pytest.mark.long
async def test_what_an_upgrade_leaves_to_the_program_before(tmp_path: Path) -> None:
    """What it still judges after the new one has begun is told by the new one, though nothing comes after it."""
    async with (
        model_server("one") as one,
        model_server("two", label=2) as two,
        serve(tmp_path, config(tmp_path, one.url, two.url)) as proxy,
    ):
        one.gate.clear()
        asking = [asyncio.create_task(proxy.infer(f"user-{number}")) for number in range(20)]

        async def are_under_way() -> bool:
            return one.waiting == len(asking)

        await eventually(are_under_way, "the champion to have all requests")
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_told_by_the_new_one() -> bool:
            return bool((await proxy.status()).get("config", {}).get("earlier_pids"))

        await eventually(is_told_by_the_new_one, "the new program to answer beside the one before")
        assert (await told(proxy))["disagree"] == 0
        one.gate.set()
        assert {status for status, _ in await asyncio.gather(*asking)} == {200}

        async def is_known() -> bool:
            return bool((await told(proxy)).get("disagree") == len(asking))

        await eventually(is_known, "the counts of the program before")
        assert counts(await told(proxy)) == {"none": (0, len(asking))}


async def test_another_rule_begins_anew(tmp_path: Path) -> None:
    """Counts under another rule are other counts; what says nothing about comparing keeps them."""
    async with model() as one, model("gold") as two, serve(tmp_path, config(tmp_path, one, two)) as proxy:
        await send(proxy, 30)
        await proxy.settled()
        await proxy.publish(config(tmp_path, one, two, ", examples: 7"))
        assert (await told(proxy))["disagree"] == 10
        await proxy.publish(config(tmp_path, one, two, ", label: label"))
        shadow = await told(proxy)
        assert (shadow["agree"], shadow["disagree"], shadow["examples"]) == (0, 0, [])
        await send(proxy, 3)
        await proxy.settled()
        assert (await told(proxy))["disagree"] == 1
