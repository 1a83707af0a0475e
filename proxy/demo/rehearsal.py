"""Before a build meets anybody it meets the log: ``modelproxy replay`` sends it what users asked of another route.

Those builds that bake are rehearsed; the one that comes in a hurry is not. What the replay counted is held against the
books of the model server, which knows replayed requests by their ids.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress

import orjson

from proxy.demo.facts import LogLine
from proxy.demo.models import ROLES
from proxy.demo.processes import environment
from proxy.demo.stage import Stage
from proxy.demo.story import CHAMPION, RELEASES, ROUTE, Release
from proxy.demo.trials import LIMIT_PERCENT, Rehearsal

__all__ = ["read_rehearsal", "rehearse"]

_PREFIX = "replay-"
"""What ``modelproxy replay`` puts before the id of a request."""

_LIMIT_S = 60.0
"""A replay may take this long. It takes about two seconds."""


async def rehearse(stage: Stage, log: Sequence[LogLine]) -> list[Rehearsal]:
    """Replay the champion's part of the log to each build that comes with time, all at once."""
    logged = {_PREFIX + line.request_id: line.body_label for line in log if line.variant == CHAMPION.variant}
    builds = [release for release in RELEASES if release.bakes]
    return list(await asyncio.gather(*(_replay(stage, release, logged) for release in builds)))


async def _replay(stage: Stage, release: Release, logged: Mapping[str, int | None]) -> Rehearsal:
    version = ROLES[release.role].version
    url = f"{stage.servers['parcels']}/v2/models/digits/versions/{version}"
    command = ["replay", "--log", str(stage.log_folder), "--to", url, "--match", "/v2/models/digits/*"]
    command += ["--route", ROUTE, "--variant", CHAMPION.variant, "--as", "classification"]
    command += ["--fail-over", f"{LIMIT_PERCENT}%", "--json"]
    said = stage.folder / f"replay-{release.variant}.log"
    with said.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", *command, stdout=PIPE, stderr=errors, env=environment()
        )
        try:
            async with asyncio.timeout(_LIMIT_S):
                out, _ = await process.communicate()
        except TimeoutError:
            return Rehearsal(release.variant, -1)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    return read_rehearsal(release.variant, process.returncode or 0, out, logged)


def read_rehearsal(variant: str, exit_code: int, out: bytes, logged: Mapping[str, int | None]) -> Rehearsal:
    """Return what a replay said; nothing but its exit code if it said nothing."""
    try:
        document = orjson.loads(out)
    except orjson.JSONDecodeError:
        return Rehearsal(variant, exit_code)
    share = document["disagreement"] or {"low": 0.0, "high": 1.0}
    return Rehearsal(
        variant,
        exit_code,
        document["sent"],
        document["agree"],
        document["disagree"],
        share["low"],
        share["high"],
        logged,
    )
