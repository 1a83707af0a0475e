"""Reports about a rollout in a whole proxy: while it runs, and from what it leaves behind."""

import asyncio
import sqlite3
import zlib
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from tests.e2e.running import eventually, serve
from tests.e2e.trial import config, is_in, models
from tests.report.reading import read

pytestmark = pytest.mark.slow


async def report(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["report", "wine", *arguments])


async def test_a_dead_canary_is_reported(tmp_path: Path) -> None:
    """The report says that it is gone and why, every decision comes out the same, and a forged one does not."""
    state = ["--state-dir", str(tmp_path / "state")]
    async with models() as (one, two):
        two.status = 500
        text = config(tmp_path, (one.url, two.url), "rollout: {steps: [20, 50]}")
        async with serve(tmp_path, text) as proxy:
            users = iter(range(10_000))
            while not await is_in(proxy, "rolled_back"):
                for _ in range(8):
                    await proxy.infer(f"user-{next(users)}")
            admin = ["--admin", proxy.admin]
            await eventually(lambda: _is_verified(admin), "the decision to be kept")
            running = await report(*admin)
            assert running.exit_code == 0, running.output
            assert "**v2 was rolled back at 20 % after " in running.stdout
            assert "and v1 0 times in " in running.stdout
            assert "| engine | 20 % → 0 % |" in running.stdout
            beside = await report(*state)
            assert beside.stdout.split("\n")[2] == running.stdout.split("\n")[2]
    later = await report(*state, "--html", "-")
    assert "was rolled back at 20 %" in read(later.stdout).text
    assert (await report(*state, "--verify")).exit_code == 0
    _forge(tmp_path / "state" / "evidence.sqlite")
    forged = await report(*state, "--verify", "--json")
    assert forged.exit_code == 1
    assert "altered" in {each["outcome"] for each in orjson.loads(forged.stdout)["checks"]}


async def _is_verified(where: list[str]) -> bool:
    """Tell whether the rollback, and every other decision, comes out the same."""
    result = await report(*where, "--verify", "--json")
    if result.exit_code:
        return False
    return any(each["sentence"].startswith("rollback") for each in orjson.loads(result.stdout)["checks"])


def _forge(path: Path) -> None:
    """Take a failure away from what the rollback was decided on."""
    with sqlite3.connect(path) as db:
        number, packed = db.execute("SELECT number, snapshot FROM decisions WHERE moves = 1").fetchone()
        document = orjson.loads(zlib.decompress(packed))
        columns, values = document["slices"]["canary"][0]
        values[columns.index(8)] -= 1
        forged = zlib.compress(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
        db.execute("UPDATE decisions SET snapshot = ? WHERE number = ?", (forged, number))
    db.close()
