"""Real predictions through a running proxy: what it says of a shadow is what numpy counts."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from aiohttp import web

from tests.compare.test_known_disagreement import BATCH, Array, classified, regressed
from tests.e2e.running import Running, eventually, serve

pytestmark = pytest.mark.slow


@asynccontextmanager
async def predicting(output: str, datatype: str, predictions: Array) -> AsyncIterator[str]:
    """Serve predictions that were made before: a request names the rows; yield the URL."""

    async def infer(request: web.Request) -> web.Response:
        document = orjson.loads(await request.read())
        values = predictions[document["inputs"][0]["data"]].tolist()
        answer = {"name": output, "datatype": datatype, "shape": [len(values), 1], "data": values}
        return web.json_response({"model_name": output, "outputs": [answer]})

    app = web.Application()
    app.router.add_post("/{tail:.*}", infer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def config(directory: Path, urls: dict[str, str]) -> str:
    """Return two routes, each with a champion and a shadow."""
    models = "\n".join(f"  {name}: {{url: '{url}'}}" for name, url in urls.items())
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
{models}
routes:
  - name: wine
    match: {{path: /wine}}
    variants: [{{name: v1, model: tree, role: champion}}]
    shadows: [{{model: bayes}}]
    compare: {{as: classification}}
  - name: diabetes
    match: {{path: /diabetes}}
    variants: [{{name: v1, model: line, role: champion}}]
    shadows: [{{model: forest}}]
    compare: {{as: regression, rtol: 0.1, scale: 80}}
"""


async def ask(proxy: Running, route: str, count: int) -> int:
    """Ask for all rows, in batches; return the number of requests."""
    for at in range(0, count, BATCH):
        rows = list(range(at, min(at + BATCH, count)))
        inputs = [{"name": "row", "datatype": "INT64", "shape": [len(rows)], "data": rows}]
        async with proxy.session.post(f"{proxy.listen}/{route}", json={"inputs": inputs}) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
    return -(-count // BATCH)


async def told(proxy: Running, route: str, requests: int) -> dict[str, Any]:
    """Return what is told of the route's shadow once every answer is compared."""

    async def compared() -> dict[str, Any] | None:
        url = f"{proxy.admin}/api/v1/disagreements?route={route}"
        async with proxy.session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            document = await answer.json()
        shadow: dict[str, Any] = document["routes"][0]["shadows"][0]
        return shadow if shadow["agree"] + shadow["disagree"] == requests else None

    found: dict[str, Any] = await eventually(compared, "every answer to be compared")
    return found


def disagreeing(differs: Array) -> int:
    """Return how many batches hold a row that differs."""
    return sum(bool(differs[at : at + BATCH].any()) for at in range(0, len(differs), BATCH))


async def test_what_is_told(tmp_path: Path) -> None:
    """Answers, rows, confusion and values out of tolerance, of two routes with a model and its rival each."""
    tree, bayes = (each.labels for each in classified("wine"))
    line, forest, _ = regressed()
    served = {"tree": ("y", "INT64", tree), "bayes": ("y", "INT64", bayes), "line": ("y", "FP64", line)}
    served["forest"] = ("y", "FP64", forest)
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(predicting(*what)) for name, what in served.items()}
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, urls)))
        shadow = await told(proxy, "wine", await ask(proxy, "wine", len(tree)))
        differs = tree != bayes
        assert shadow["disagree"] == disagreeing(differs) > 0
        assert (shadow["rows"], shadow["rows_disagreeing"]) == (len(tree), np.count_nonzero(differs))
        expected = np.zeros((3, 3), int)
        np.add.at(expected, (tree[differs], bayes[differs]), 1)
        found = np.zeros_like(expected)
        for pair in shadow["confusion"]:
            found[int(pair["label"]), int(pair["shadow_label"])] += pair["rows"]
        assert (found == expected).all()
        shadow = await told(proxy, "diabetes", await ask(proxy, "diabetes", len(line)))
        gap, larger = np.abs(line - forest), np.maximum(np.abs(line), np.abs(forest))
        differs = gap > 80e-6 + 0.1 * larger
        assert shadow["disagree"] == disagreeing(differs) > 0
        assert (shadow["rows"], shadow["rows_disagreeing"]) == (len(line), np.count_nonzero(differs))
        assert shadow["reasons"] == {"tolerance": shadow["disagree"]}
