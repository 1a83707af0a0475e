"""Gather everything that was seen, once it has come to rest: answers, books, metrics and the payload log."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import orjson

from proxy.clock import monotonic
from proxy.demo.admin import fetch_books
from proxy.demo.facts import Facts, LogLine
from proxy.demo.oip import parse_answer
from proxy.demo.play import Play
from proxy.demo.processes import DemoError
from proxy.demo.stage import Stage
from proxy.demo.story import ROUTE, SCENES, log_sample, variants_of

__all__ = ["collect", "read_log"]

SETTLE_S = 20.0
"""After the last answer: until every shadow is compared and every record written. It takes about 1 s."""

_POLL_S = 0.2


async def collect(
    stage: Stage, play: Play, users: list[str], session: aiohttp.ClientSession, say: Callable[[str], None]
) -> Facts:
    """Return the facts of the run.

    Raises:
        DemoError: one of the sources cannot be read.
    """
    say(f"traffic over after {len(play.traffic.answers):,} requests; waiting for shadows and log to settle")
    routes = [stage.config.route(scene.canary_weight) for scene in SCENES]
    logged_users = log_sample(routes[0], users)
    await _settle(stage, play, logged_users, say)
    books = await asyncio.gather(*(fetch_books(session, model, url) for model, url in stage.models.items()))
    return Facts(
        arms=stage.config.arms(),
        steps=play.steps,
        answers=play.traffic.answers,
        backends={backend.model: backend for backend in books},
        claims=await stage.admin.claims(ROUTE),
        by_variant=await _by_variant(stage),
        log=read_log(stage.log_folder),
        expected=[variants_of(route, users) for route in routes],
        logged_users=logged_users,
        shadow_models=[shadow.model.name for shadow in routes[0].shadows],
        truth=stage.dataset.held_out_labels.tolist(),
    )


async def _by_variant(stage: Stage) -> dict[tuple[str, str], dict[str, int]]:
    status = await stage.admin.wait("a status", SETTLE_S, lambda status: bool(status.get("routes")))
    route = next(route for route in status["routes"] if route["name"] == ROUTE)
    return {
        (shadow["model"], variant): counts
        for shadow in route["shadows"]
        for variant, counts in shadow["by_variant"].items()
    }


async def _settle(stage: Stage, play: Play, logged_users: frozenset[str], say: Callable[[str], None]) -> None:
    # Whether the books are right is for the checks to say, so running out of time is no error here.
    answers = play.traffic.answers
    records = sum(answer.user in logged_users for answer in answers)
    deadline = monotonic() + SETTLE_S
    while monotonic() < deadline:
        stage.fleet.check_alive()
        claims = await stage.admin.claims(ROUTE)
        if claims.is_settled(len(answers), records):
            return
        await asyncio.sleep(_POLL_S)
    say(f"shadows or log had not settled after {SETTLE_S:g} s")


def read_log(folder: Path) -> list[LogLine]:
    """Return every complete line of the payload log in ``folder``; empty when there is none.

    Raises:
        DemoError: a complete line is not a payload record.
    """
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            if line.endswith(b"\n"):
                found.append(_parse_line(line, f"{path}:{number}"))
    return found


def _parse_line(line: bytes, where: str) -> LogLine:
    try:
        record = orjson.loads(line)
        return LogLine(
            request_id=record["request_id"],
            variant=record["variant"],
            unit=str(record["unit"]),
            config_version=int(record["config_version"]),
            body_label=parse_answer((record["response"]["body"] or "").encode()),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DemoError(f"{where} is not a payload record: {error!r}") from error
