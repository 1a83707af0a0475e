"""What the proxy is told in confidence is told to nobody: every way out of a running proxy is searched."""

import asyncio
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from traceback import format_exception

import aiohttp
import pytest
from click.testing import CliRunner

from proxy.cli import main
from tests.e2e.running import Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

TOKEN = "secret-admin-8Jq2vX"
FORCE = "secret-force-Zt5mKe"
KEY = "secret-unit-key-R7wNhb"
OTHER = "secret-of-nobody-4YcPud"
SECRETS = {"MP_TOKEN": TOKEN, "MP_FORCE": FORCE, "MP_KEY": KEY, "MP_OTHER": OTHER}
UNIT = "user-in-person-Xw3"
"""Never written outside of bodies."""

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {state}
log_level: debug
admin_token: ${{MP_TOKEN}}
payload_log: {{unit_key: "${{MP_KEY}}"}}
models: {{one: {{url: "{one}"}}, two: {{url: "{two}"}}}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id, client_ip]
    force_secret: ${{MP_FORCE}}
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: challenger, weight: 10}}
    shadows: [{{model: two}}]
    log: {{percent: 100, headers: [x-user-id, x-modelproxy-force-secret, authorization, content-type]}}
"""

WRONG = {
    "twice": ("admin_token: ${{MP_TOKEN}}", "admin_token: ${{MP_OTHER}}\nadmin_token: ${{MP_TOKEN}}"),
    "too short, in plain text": ('{{unit_key: "${{MP_KEY}}"}}', "{{unit_key: short-4YcPud}}"),
    "a list": ("admin_token: ${{MP_TOKEN}}", 'admin_token: ["${{MP_TOKEN}}", "${{MP_OTHER}}"]'),
    "a key of a secret": ('{{unit_key: "${{MP_KEY}}"}}', '{{unit_key: {{"secret-of-nobody-4YcPud": 1}}}}'),
    "in the wrong place": ("log_level: debug", "log_level: ${{MP_OTHER}}"),
    "in a url": ('two: {{url: "{two}"}}', 'two: {{url: "http://u:${{MP_OTHER}}@h/"}}'),
    "in a duration": ("listen: 127.0.0.1:0", 'listen: 127.0.0.1:0\ntimeouts: {{drain: "${{MP_OTHER}}"}}'),
    "in a name": ("name: wine", 'name: "${{MP_OTHER}} "'),
    "another token": ("admin_token: ${{MP_TOKEN}}", "admin_token: ${{MP_OTHER}}"),
    "no YAML": ("log_level: debug", 'log_level: [debug\nadmin_token: "${{MP_OTHER}}"'),
}
"""Mistakes in the file that have a secret in them, and a change that a reload cannot make."""


class Heard:
    """Everything that came out of the proxy, by where it came from."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    def take(self, where: str, what: bytes) -> None:
        """Keep ``what``."""
        self.said[where] = self.said.get(where, b"") + what

    def leaks(self, secret: str) -> list[str]:
        """Return where ``secret`` was heard, as it is or in the forms that it may be quoted in."""
        forms = [secret.encode(), b64encode(secret.encode())[:-4], secret.encode().hex().encode()]
        return [where for where, what in self.said.items() if any(form in what for form in forms)]


async def ask_everything(proxy: Running, heard: Heard) -> None:
    """Read every page, try to write with and without the token, and be a client with and without the secret."""
    get = (
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/status",
        "/api/v1/table",
        "/api/v1/openapi.json",
        "/none",
    )
    async with aiohttp.ClientSession() as session:
        for path in get:
            async with session.get(proxy.admin + path) as answer:
                heard.take(path, str(answer.headers).encode() + await answer.read())
        for token in (None, "wrong", TOKEN[:-1], f"{TOKEN}x", TOKEN):
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            async with session.post(f"{proxy.admin}/api/v1/reload", headers=headers) as answer:
                heard.take("reload", str(answer.headers).encode() + await answer.read())
                assert (answer.status == 401) == (token != TOKEN)
        for secret in ("wrong", FORCE):
            headers = {"x-modelproxy-force": "v2", "x-modelproxy-force-secret": secret, "x-user-id": UNIT}
            url = f"{proxy.listen}/v2/models/wine/infer"
            async with session.post(url, json={"inputs": []}, headers=headers) as answer:
                heard.take("client", str(answer.headers).encode() + await answer.read())
                if secret == FORCE:
                    assert answer.headers["x-modelproxy-variant"] == "v2"


async def reload_wrong(proxy: Running, right: str, wrong: str) -> None:
    """Put a wrong file in place, wait until it is refused, and put the right one back."""
    for text, successful in ((wrong, False), (right, True)):
        proxy.config.write_text(text)
        os.kill(proxy.process.pid, signal.SIGHUP)

        async def is_told(expected: bool = successful) -> bool:
            status = await proxy.status()
            return bool(status) and status["config"]["last_reload_successful"] is expected

        await eventually(is_told, f"a reload that is {'accepted' if successful else 'refused'}")


def command_lines(pid: int) -> Iterator[bytes]:
    """Yield the command line of a process and of its children, which everybody on the machine can read."""
    yield Path(f"/proc/{pid}/cmdline").read_bytes()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from command_lines(int(child))


async def run_command(*arguments: str) -> bytes:
    """Return what ``modelproxy`` prints, and where it broke."""
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    broken = "" if isinstance(result.exception, SystemExit | None) else format_exception(result.exception)
    assert result.output
    return result.output.encode() + "".join(broken).encode()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_no_secret_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page, answer, log line, file, table or error holds a secret, nor a record the raw unit."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    heard = Heard()
    output = tmp_path / "stderr"
    async with model_server("one") as one, model_server("two") as two:
        values = {"state": str(tmp_path / "state"), "one": one.url, "two": two.url}
        right = CONFIG.format(**values)
        with output.open("wb") as log:
            async with serve(tmp_path, right, log) as proxy:
                await ask_everything(proxy, heard)
                for name, (old, new) in WRONG.items():
                    assert old in CONFIG, name
                    await reload_wrong(proxy, right, CONFIG.replace(old, new).format(**values))
                    heard.take(f"status after {name}", str(await proxy.status()).encode())
                    wrong = tmp_path / "wrong.yaml"
                    wrong.write_text(CONFIG.replace(old, new).format(**values))
                    for command in (("validate",), ("validate", "--json"), ("plan", str(proxy.config))):
                        heard.take(f"{command} of {name}", await run_command(*command, str(wrong)))
                os.kill(proxy.observer_pid(), signal.SIGKILL)
                await eventually(proxy.status, "another observer")
                await ask_everything(proxy, heard)
                heard.take("status", await run_command("status", "--admin", proxy.admin))
                explained = ("explain", str(proxy.config), "--path", "/v2/models/wine/x")
                heard.take("explain", await run_command(*explained))
                heard.take("command lines", b"\n".join(command_lines(proxy.process.pid)))
                await proxy.settled()
    heard.take("log", output.read_bytes())
    for path in (tmp_path / "state").rglob("*"):
        if path.is_file() and path.suffix != ".key":
            heard.take(path.name, path.read_bytes())
    assert b"request_id" in b"".join(
        what for where, what in heard.said.items() if where.startswith("payloads-")
    )
    assert b"refused" in heard.said["journal.jsonl"]
    for secret in (*SECRETS.values(), "short-4YcPud"):
        assert heard.leaks(secret) == []
    assert heard.leaks(UNIT) == []
