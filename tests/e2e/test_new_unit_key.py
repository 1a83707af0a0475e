"""A new key of pseudonyms while the proxy runs."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.privacy.actions import keyed_hash
from proxy.unit_keys import held_keys
from tests.e2e.running import Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {state}
models: {{one: {{url: "{one}"}}}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    variants: [{{name: v1, model: one, role: champion}}]
    log: {{percent: 100}}
"""


def records(proxy: Running) -> list[dict[str, Any]]:
    """Return what has been written."""
    lines = b"".join(path.read_bytes() for path in sorted((proxy.state / "payloads").glob("*.jsonl")))
    return [orjson.loads(line) for line in lines.splitlines()]


@pytest.mark.long
async def test_a_new_key_counts_without_a_restart(tmp_path: Path) -> None:
    """After ``unit-keys --rotate`` records soon name the new key, and both keys find the person they are about."""
    async with model_server("one") as one:
        config = CONFIG.format(state=tmp_path / "state", one=one.url)
        async with serve(tmp_path, config) as proxy:
            await proxy.infer("ada")
            await eventually(lambda: asyncio.sleep(0, records(proxy)), "the first record")
            arguments = ["unit-keys", str(proxy.config)]
            assert (
                await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--rotate"])
            ).exit_code == 0

            async def is_new() -> bool:
                await proxy.infer("ada")
                await asyncio.sleep(0.2)
                return len({record["unit_key_id"] for record in records(proxy)}) == 2

            await eventually(is_new, "a record under the new key")
            told = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--hash", "ada", "--json"])
            written = {(record["unit_key_id"], record["unit"]) for record in records(proxy)}
        assert written == {(key["unit_key_id"], key["unit"]) for key in orjson.loads(told.output)["keys"]}
        assert {unit for _, unit in written} == {
            keyed_hash(held.path.read_bytes(), b"ada") for held in held_keys(tmp_path / "state")
        }
