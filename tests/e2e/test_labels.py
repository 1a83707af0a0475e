"""True answers that come later, through a running proxy: who was right how often is what numpy counts."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from aiohttp import ClientError
from click.testing import CliRunner
from sklearn.datasets import load_diabetes, load_digits, load_wine

from proxy.commands.query import query
from proxy.records.reading import PayloadReader
from proxy.stats import paired
from proxy.stats.proportion import proportion_sequence
from tests.compare.test_known_disagreement import BATCH, Array, classified, regressed
from tests.e2e.running import Running, eventually, serve
from tests.e2e.test_known_disagreement_served import predicting

pytestmark = pytest.mark.slow


def config(directory: Path, urls: dict[str, str]) -> str:
    """Return three routes, each with a champion and a shadow; the digits are logged."""
    models = "\n".join(f"  {name}: {{url: '{url}'}}" for name, url in urls.items())
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
payload_log: {{sinks: [{{kind: jsonl}}, {{kind: parquet, roll_every: 1s}}]}}
models:
{models}
routes:
  - name: digits
    match: {{path: /digits}}
    unit: [header:x-user-id]
    variants: [{{name: v1, model: tree, role: champion}}]
    shadows: [{{model: bayes}}]
    compare: {{as: classification, labels: 1h}}
    log: {{percent: 100}}
  - name: wine
    match: {{path: /wine}}
    variants: [{{name: v1, model: wine-tree, role: champion}}]
    shadows: [{{model: wine-bayes}}]
    compare: {{labels: 1h}}
  - name: diabetes
    match: {{path: /diabetes}}
    variants: [{{name: v1, model: line, role: champion}}]
    shadows: [{{model: forest}}]
    compare: {{as: regression, labels: 1h}}
  - name: silent
    match: {{path: /silent}}
    variants: [{{name: v1, model: line, role: champion}}]
    shadows: [{{model: forest}}]
"""


class Asked(NamedTuple):
    """One request: its id, the rows it asked for, and who asked."""

    request_id: str
    rows: list[int]
    user: int


USERS = 20


@asynccontextmanager
async def proxy_with(directory: Path) -> AsyncIterator[Running]:
    """Run a proxy in front of predictions of scikit-learn's data sets."""
    served: dict[str, tuple[str, str, Array]] = {}
    for prefix, name in (("", "digits"), ("wine-", "wine")):
        tree, bayes = (each.labels for each in classified(name))
        served[f"{prefix}tree"], served[f"{prefix}bayes"] = ("y", "INT64", tree), ("y", "INT64", bayes)
    line, forest, _ = regressed()
    served["line"], served["forest"] = ("y", "FP64", line), ("y", "FP64", forest)
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(predicting(*what)) for name, what in served.items()}
        yield await stack.enter_async_context(serve(directory, config(directory, urls)))


async def ask(proxy: Running, route: str, count: int) -> list[Asked]:
    """Ask for all rows in batches, each for the next of the users, and wait until all are compared."""
    asked = []
    for number, at in enumerate(range(0, count, BATCH)):
        rows = list(range(at, min(at + BATCH, count)))
        inputs = [{"name": "row", "datatype": "INT64", "shape": [len(rows)], "data": rows}]
        headers = {"x-user-id": f"u{number % USERS}"}
        body = {"inputs": inputs}
        async with proxy.session.post(f"{proxy.listen}/{route}", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            asked.append(Asked(answer.headers["x-request-id"], rows, number % USERS))
    await shadow(proxy, route, len(asked))
    return asked


async def shadow(proxy: Running, route: str, pairs: int = 0) -> dict[str, Any]:
    """Return what is told of the route's shadow, once so many pairs are compared."""

    async def compared() -> dict[str, Any] | None:
        url = f"{proxy.admin}/api/v1/disagreements?route={route}&limit=100"
        async with proxy.session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            document = await answer.json()
        found: dict[str, Any] = document["routes"][0]["shadows"][0]
        return found if found["agree"] + found["disagree"] >= pairs else None

    found: dict[str, Any] = await eventually(compared, "every answer to be compared")
    return found


async def say(proxy: Running, items: Any, expected: int = 200) -> dict[str, Any]:
    """Post feedback; return what became of it."""
    async with proxy.session.post(f"{proxy.admin}/api/v1/feedback", json=items) as answer:
        assert answer.status == expected, await answer.text()
        document: dict[str, Any] = await answer.json()
    return document


def labels(route: str, asked: Asked, truth: Array) -> dict[str, Any]:
    return {"route": route, "request_id": asked.request_id, "labels": truth[asked.rows].tolist()}


def outcomes(truth: Array, primary: Array, other: Array) -> dict[str, int]:
    """Return the four counts of rows, by numpy."""
    right, also = primary == truth, other == truth
    cells = {"both_right": right & also, "only_primary": right & ~also, "only_shadow": ~right & also}
    cells["both_wrong"] = ~right & ~also
    return {name: int(np.count_nonzero(cell)) for name, cell in cells.items()}


def by_units(
    asked: list[Asked], truth: Array, primary: Array, other: Array
) -> tuple[int, int, int, int, int]:
    """Return units, those whose first row primary and shadow had right, and those either won; by numpy."""
    units = right = also = lost = won = 0
    for user in range(USERS):
        rows = np.array([row for each in asked if each.user == user for row in each.rows], int)
        if not len(rows):
            continue
        first, second = primary[rows] == truth[rows], other[rows] == truth[rows]
        units, right, also = units + 1, right + int(first[0]), also + int(second[0])
        differing = np.flatnonzero(first != second)
        if len(differing):
            lost, won = lost + int(first[differing[0]]), won + int(second[differing[0]])
    return units, right, also, lost, won


async def test_digits(tmp_path: Path) -> None:
    """Rows and units of the digits, with users who come back, are exactly those that numpy counts; they are metrics
    and in the log; a duplicate changes nothing; neither does an observer that is killed between answers and labels."""
    tree, bayes = (each.labels for each in classified("digits"))
    truth = load_digits(return_X_y=True)[1][1::2]
    async with proxy_with(tmp_path) as proxy:
        asked = await ask(proxy, "digits", len(tree))
        items = [labels("digits", each, truth) for each in asked]
        told = await say(proxy, items[::2])
        assert (told["accepted"], told["duplicate"], told["problems"]) == (len(items[::2]), 0, [])
        await killed(proxy, len(asked), len(items[::2]))
        told = await say(proxy, items)
        assert (told["accepted"], told["duplicate"], told["problems"]) == (
            len(items[1::2]),
            len(items[::2]),
            [],
        )
        assert (await say(proxy, items))["duplicate"] == len(asked)
        (found,) = (await shadow(proxy, "digits"))["labels"]
        expected = outcomes(truth, tree, bayes)
        assert {name: found["rows"][name] for name in expected} == expected
        assert sum(found["rows"].values()) == len(truth)
        units, right, also, lost, won = by_units(asked, truth, tree, bayes)
        assert found["units"] == units == USERS
        assert found["primary"]["right"] == right / units
        assert found["shadow"] == {
            "right": also / units,
            "interval": [*proportion_sequence(also, units, 0.05)],
        }
        assert found["differing_units"] == {"primary_better": lost, "shadow_better": won}
        assert found["log10_e_better"] == pytest.approx(paired.losses(won, lost) / np.log(10), abs=1e-4)
        for name, number in expected.items():
            assert await proxy.total("modelproxy_labelled_rows_total", route="digits", outcome=name) == number
        assert await proxy.total("modelproxy_labels_total", outcome="accepted") == len(asked)
        assert await proxy.total("modelproxy_labels_total", outcome="duplicate") == len(asked) + len(
            items[::2]
        )
        await logged(tmp_path, asked, truth)
        await asked_in_sql(proxy, asked, truth, expected)


async def test_quick_labels(tmp_path: Path) -> None:
    """Who posts each true answer as soon as the client has its answer, before that can have been compared, is heard."""
    truth = load_wine(return_X_y=True)[1][1::2]
    told: Counter[str] = Counter()
    async with proxy_with(tmp_path) as proxy:
        for row in range(40):
            body = {"inputs": [{"name": "row", "datatype": "INT64", "shape": [1], "data": [row]}]}
            async with proxy.session.post(f"{proxy.listen}/wine", json=body) as answer:
                name = answer.headers["x-request-id"]
            said = await say(proxy, [{"route": "wine", "request_id": name, "label": int(truth[row])}])
            told.update({key: said[key] for key in ("accepted", "unknown")})
    # Not all: a machine may stand still for longer than such a post is held.
    assert told["accepted"] > 30
    assert sum(told.values()) == 40


async def logged(directory: Path, asked: list[Asked], truth: Array) -> None:
    """Check that each label is in the log once, beside the record of its request."""

    async def written() -> list[Any] | None:
        files = sorted((directory / "state/payloads").glob("*.jsonl"))
        lines = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
        return lines if len(lines) >= 2 * len(asked) else None

    lines: list[Any] = await eventually(written, "records and labels to be written")
    records = {line["request_id"] for line in lines if "kind" not in line}
    found = {line["request_id"]: line for line in lines if line.get("kind") == "label"}
    assert len(lines) == 2 * len(asked)
    assert records == set(found) == {each.request_id for each in asked}
    for each in asked:
        assert found[each.request_id]["labels"] == truth[each.rows].tolist()


async def asked_in_sql(proxy: Running, asked: list[Asked], truth: Array, expected: dict[str, int]) -> None:
    """Check that the Parquet files say the same, and that each sink counts a label as it does a record."""

    async def written() -> bool:
        return await proxy.total("modelproxy_sink_records_total", outcome="written") == 4 * len(asked)

    await eventually(written, "both sinks to have everything")
    log = str(proxy.state / "parquet")
    sql = "select count(*) as n, count(distinct request_id) as requests, sum(label::int) as total from labels"
    result = CliRunner().invoke(query, [sql, "--log", log, "--json"])
    assert result.exit_code == 0, result.stderr
    (found,) = orjson.loads(result.stdout)
    assert found == {"n": len(truth), "requests": len(asked), "total": int(truth.sum())}
    sql = (
        "select count(*) filter (label = primary_label and label = shadow_label) as both_right, "
        "count(*) filter (label = primary_label and label != shadow_label) as only_primary, "
        "count(*) filter (label != primary_label and label = shadow_label) as only_shadow, "
        "count(*) filter (label != primary_label and label != shadow_label) as both_wrong "
        "from rows join labels using (route, request_id, row)"
    )
    (found,) = orjson.loads(CliRunner().invoke(query, [sql, "--log", log, "--json"]).stdout)
    assert found == expected
    reader = PayloadReader([proxy.state / "parquet"])
    assert len(list(reader)) == len(asked)
    assert reader.reading.damaged == 0


async def killed(proxy: Running, requests: int, labelled: int) -> None:
    """Kill the observer, once all that it remembers is put by and its sinks have everything, and wait for another."""

    async def saved() -> bool:
        if await proxy.total("modelproxy_sink_records_total", outcome="written") < 2 * (requests + labelled):
            return False
        return await proxy.total("modelproxy_observer_predictions_saved_total") == requests

    await eventually(saved, "predictions to be put by")
    pid = proxy.observer_pid()
    os.kill(pid, signal.SIGKILL)

    async def succeeded() -> bool:
        try:
            return proxy.observer_pid() != pid and bool(await proxy.status())
        except (AssertionError, OSError, ClientError):
            return False

    await eventually(succeeded, "another observer")
    assert await proxy.total("modelproxy_observer_labels_remembered") == 0


@pytest.mark.long
async def test_an_upgrade(tmp_path: Path) -> None:
    """What the observer before remembered the next one has labels for, and which of them came already."""
    tree, bayes = (each.labels for each in classified("wine"))
    truth = load_wine(return_X_y=True)[1][1::2]
    async with proxy_with(tmp_path) as proxy:
        asked = await ask(proxy, "wine", len(tree))
        items = [labels("wine", each, truth) for each in asked]
        assert (await say(proxy, items[:2]))["accepted"] == 2
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_upgraded() -> bool:
            told = (await proxy.status()).get("config", {})
            return told.get("upgrades_total") == 1 and not told["earlier_pids"]

        await eventually(is_upgraded, "the end of the upgrade", 60)
        told = await say(proxy, items)
        assert (told["accepted"], told["duplicate"], told["unknown"]) == (len(items) - 2, 2, 0)
        (found,) = (await shadow(proxy, "wine"))["labels"]
        expected = outcomes(truth, tree, bayes)
        assert {name: found["rows"][name] for name in expected} == expected


async def test_row_by_row(tmp_path: Path) -> None:
    """Labels may come for one row at a time, in any order; each row counts once, by its first label."""
    tree, bayes = (each.labels for each in classified("wine"))
    truth = load_wine(return_X_y=True)[1][1::2]
    async with proxy_with(tmp_path) as proxy:
        asked = await ask(proxy, "wine", len(tree))
        items = []
        for each in asked:
            for at in reversed(range(len(each.rows))):
                item = labels("wine", each, truth)
                item["labels"] = [label if i == at else None for i, label in enumerate(item["labels"])]
                items.append(item)
        told = await say(proxy, items)
        assert told["accepted"] == len(truth)
        wrong = [{**item, "labels": [None if x is None else 9 for x in item["labels"]]} for item in items]
        assert (await say(proxy, wrong))["duplicate"] == len(truth)
        (found,) = (await shadow(proxy, "wine"))["labels"]
        expected = outcomes(truth, tree, bayes)
        assert {name: found["rows"][name] for name in expected} == expected
        assert found["units"] == len(asked)  # without a unit each request is its own


async def test_numbers(tmp_path: Path) -> None:
    """Of numbers it is counted who is closer, and a model that is farther off is found out."""
    line, forest, _ = regressed()
    truth = load_diabetes(return_X_y=True)[1][1::2]
    async with proxy_with(tmp_path) as proxy:
        asked = await ask(proxy, "diabetes", len(line))
        await say(proxy, [labels("diabetes", each, truth) for each in asked])
        (found,) = (await shadow(proxy, "diabetes"))["labels"]
        errors = np.abs(line - truth), np.abs(forest - truth)
        assert found["rows"]["primary_closer"] == np.count_nonzero(errors[0] < errors[1]) > 0
        assert found["rows"]["shadow_closer"] == np.count_nonzero(errors[0] > errors[1]) > 0
        assert found["rows"]["as_close"] == np.count_nonzero(errors[0] == errors[1])
        assert (found["units"], found["primary"]["right"]) == (0, None)


async def test_what_to_label(tmp_path: Path) -> None:
    """The examples say which rows of which requests differ; labels for these alone carry all that tells the models
    apart."""
    tree, bayes = (each.labels for each in classified("wine"))
    truth = load_wine(return_X_y=True)[1][1::2]
    async with proxy_with(tmp_path) as proxy:
        asked = {each.request_id: each for each in await ask(proxy, "wine", len(tree))}
        examples = (await shadow(proxy, "wine"))["examples"]
        for example in examples:
            each = asked[example["request_id"]]
            differing = np.flatnonzero(tree[each.rows] != bayes[each.rows])
            assert example["differing_rows"] == differing.tolist()
            said = [
                int(truth[row]) if i in example["differing_rows"] else None for i, row in enumerate(each.rows)
            ]
            item = {"route": "wine", "request_id": each.request_id, "labels": said}
            assert (await say(proxy, item))["accepted"] == 1
        (found,) = (await shadow(proxy, "wine"))["labels"]
        expected = outcomes(truth, tree, bayes)
        assert found["rows"]["only_primary"] == expected["only_primary"]
        assert found["rows"]["only_shadow"] == expected["only_shadow"]
        assert found["rows"]["both_right"] == 0


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"label": 1}, 200, "mismatch", "null where it is not known: 16, got 1"),
    ({"labels": ["one"] * 16}, 200, "mismatch", "none of the models predicts anything of this kind"),
    ({"request_id": "never", "label": 1}, 200, "unknown", "that was compared had this x-request-id"),
    (
        {"route": "silent", "label": 1},
        409,
        "refused",
        "write into its compare how long it shall: labels: 24h",
    ),
    ({"route": "beer", "label": 1}, 404, "", "no route is called beer"),
    ({"label": {}}, 400, "", "label: expected text, a number"),
    ({"good": True}, 409, "", "no guardrail on feedback"),
]
"""What is said, what is answered, how it is counted, and why."""


async def test_what_is_refused(tmp_path: Path) -> None:
    """Each refusal says why, and is counted; nothing of it is counted for the models."""
    async with proxy_with(tmp_path) as proxy:
        (asked, *_) = await ask(proxy, "wine", BATCH)
        for said, status, outcome, sentence in REFUSED:
            before = await proxy.total("modelproxy_labels_total", outcome=outcome or "refused")
            told = await say(proxy, {"route": "wine", "request_id": asked.request_id, **said}, status)
            assert sentence in told["problems"][0]
            assert told["accepted"] == 0
            after = await proxy.total("modelproxy_labels_total", outcome=outcome or "refused")
            assert after - before == (1 if outcome else 0)
        assert (await shadow(proxy, "wine"))["labels"] == []
