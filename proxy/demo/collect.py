"""Gather everything that was seen, once it has come to rest: answers, books, metrics, payload log and journal."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from proxy.clock import monotonic
from proxy.demo.facts import Claims, Facts, LogLine
from proxy.demo.oip import parse_answer
from proxy.demo.play import Play
from proxy.demo.processes import DemoError
from proxy.demo.releases import Releases
from proxy.demo.stage import MODELS, RELEASED_MODELS, Stage
from proxy.demo.story import ROLLOUT_ROUTE, ROUTE, SCENES, log_sample, variants_of
from proxy.demo.trials import Steered, Trials

__all__ = ["collect", "collect_trials", "read_journal", "read_log", "steered"]

SETTLE_S = 20.0
"""After the last answer: until every shadow is compared and every record written. It takes about 1 s."""

_POLL_S = 0.2

Line = Mapping[str, Any]


async def collect(stage: Stage, played: Play, users: list[str], say: Callable[[str], None]) -> Facts:
    """Return the facts of the part that was steered by hand.

    Raises:
        DemoError: one of the sources cannot be read.
    """
    answers = played.traffic.answers
    say(f"traffic over after {len(answers):,} requests; waiting for shadows and log to settle")
    routes = [stage.config.route(scene.canary_weight) for scene in SCENES]
    logged_users = log_sample(routes[0], users)
    records = sum(answer.user in logged_users for answer in answers)
    claims = await _settle(stage, ROUTE, lambda claims: claims.is_settled(len(answers), records), say)
    books = await asyncio.gather(*(stage.books(model) for model in MODELS))
    return Facts(
        arms=stage.config.arms(),
        steps=played.steps,
        answers=answers,
        backends={backend.model: backend for backend in books},
        claims=claims,
        by_variant=await _by_variant(stage),
        log=read_log(stage.log_folder),
        expected=[variants_of(route, users) for route in routes],
        logged_users=logged_users,
        shadow_models=[shadow.model.name for shadow in routes[0].shadows],
        truth=stage.dataset.held_out_labels.tolist(),
    )


async def collect_trials(stage: Stage, played: Releases, say: Callable[[str], None]) -> Trials:
    """Return the facts of the rollouts.

    Raises:
        DemoError: one of the sources cannot be read.
    """
    answers = played.traffic.answers
    say(f"traffic over after {len(answers):,} requests; waiting for shadows to settle")

    def is_settled(claims: Claims) -> bool:
        under_way = sum(claim.under_way() for claim in claims.shadows.values())
        return sum(claims.requests.values()) >= len(answers) and under_way == 0

    claims = await _settle(stage, ROLLOUT_ROUTE, is_settled, say)
    books = await asyncio.gather(*(stage.books(model) for model in RELEASED_MODELS))
    journal = read_journal(stage.state_folder / "journal.jsonl")
    return Trials(
        trials=played.trials,
        answers=answers,
        backends={backend.model: backend for backend in books},
        claims=claims,
        journal=[steered(line) for line in journal if line.get("route") == ROLLOUT_ROUTE],
        versions=[line["version"] for line in journal if line["event"] in ("publish", "decision", "verb")],
    )


async def _by_variant(stage: Stage) -> dict[tuple[str, str], dict[str, int]]:
    status = await stage.admin.wait("a status", SETTLE_S, lambda status: bool(status.get("routes")))
    route = next(route for route in status["routes"] if route["name"] == ROUTE)
    return {
        (shadow["model"], variant): counts
        for shadow in route["shadows"]
        for variant, counts in shadow["by_variant"].items()
    }


async def _settle(
    stage: Stage, route: str, is_settled: Callable[[Claims], bool], say: Callable[[str], None]
) -> Claims:
    # Whether the books are right is for the checks to say, so running out of time is no error here.
    deadline = monotonic() + SETTLE_S
    while True:
        stage.fleet.check_alive()
        claims = await stage.admin.claims(route)
        if is_settled(claims):
            return claims
        if monotonic() > deadline:
            say(f"shadows or log had not settled after {SETTLE_S:g} s")
            return claims
        await asyncio.sleep(_POLL_S)


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


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return every line of the journal.

    Raises:
        DemoError: it cannot be read.
    """
    try:
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, orjson.JSONDecodeError) as error:
        raise DemoError(f"cannot read the journal {path}: {error!r}") from error


def steered(line: Line) -> Steered:
    """Return a line of the journal about a rollout."""
    return Steered(
        event=line["event"],
        verdict=line.get("verdict", ""),
        reason=line.get("reason", ""),
        by=line["by"],
        rollout=line.get("rollout", ""),
        version=line["version"],
        wall_s=datetime.fromisoformat(line["ts"]).timestamp(),
        from_weight=line.get("from_weight"),
        to_weight=line.get("to_weight"),
        config_digest=line.get("digest", ""),
        evidence_digest=line.get("evidence", ""),
        requests_exposed=line.get("requests_exposed", 0),
        units_exposed=line.get("units_exposed", 0),
        harm=(line.get("log_e") or {}).get("harm") or 0.0,
    )
