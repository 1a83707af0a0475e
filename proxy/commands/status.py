"""``modelproxy status``: what a running proxy says of itself, as tables."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from proxy.commands.asking import admin_option, ask, refuse
from proxy.commands.output import as_json_option, build_console, build_grid, fail, print_json
from proxy.plural import count
from proxy.printable import printable_document

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["fetch_status", "render_status", "status"]

TIMEOUT_S = 5
WATCH_EVERY_S = 2
_FIELDS_SHOWN = 8


@click.command()
@click.argument("route", required=False)
@admin_option
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_EVERY_S} seconds, until Ctrl-C.")
@as_json_option
def status(route: str | None, admin: str, watch: bool, as_json: bool) -> None:
    """Show what a running proxy does: traffic, latency, faults, shadows, workers. With ROUTE only that route.

    Exit code 1 if the proxy cannot be reached or does not know the route.

    \b
    Examples:
      modelproxy status
      modelproxy status wine --watch --admin http://127.0.0.1:9090
    """
    if not watch:
        _show(fetch_status(admin, route), as_json)
        return
    try:
        _watch(admin, route, as_json)
    except KeyboardInterrupt:
        sys.exit(0)


def fetch_status(admin: str, route: str | None) -> dict[str, Any]:
    """Return the status document of the proxy at ``admin``, with only ``route`` if one is given.

    Raises:
        click.exceptions.Exit: with code 1, after one sentence that says why.
    """
    code, document = ask(admin, "/api/v1/status", timeout_s=TIMEOUT_S)
    if code == 503 and isinstance(document, dict) and "error" in document:
        raise fail(f"{admin}: {document['error']}")
    if code != 200 or not isinstance(document, dict) or "routes" not in document:
        raise refuse(admin, code)
    if route is not None:
        names = [each["name"] for each in document["routes"]]
        if route not in names:
            raise fail(f"no route is called {route}; there are: {', '.join(names)}")
        document["routes"] = [each for each in document["routes"] if each["name"] == route]
    return document


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        build_console().print(render_status(document))


def _watch(admin: str, route: str | None, as_json: bool) -> None:
    from rich.live import Live

    from proxy.clock import sleep

    console = build_console()
    if as_json or not console.is_terminal:
        while True:
            _show(fetch_status(admin, route), as_json)
            sleep(WATCH_EVERY_S)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(render_status(fetch_status(admin, route)), refresh=True)
            sleep(WATCH_EVERY_S)


def render_status(document: Mapping[str, Any]) -> "RenderableType":
    """Return the status document as tables. Its texts are another program's: none is more than text here."""
    from rich.console import Group
    from rich.text import Text

    document = printable_document(document)
    parts: list[RenderableType] = [*_head(document)]
    for route in document["routes"]:
        parts += [Text(f"route {route['name']}", style="bold"), _variants(route), *_rollout(route)]
        if route["shadows"]:
            parts += [_shadows(route), *_noise(route)]
        parts += _route_lines(route)
    parts += _sinks(document)
    parts += _servers(document)
    parts += _faults(document)
    return Group(*parts)


def _head(document: Mapping[str, Any]) -> "list[RenderableType]":
    from rich.text import Text

    config = document["config"]
    up = sum(bool(worker.get("up")) for worker in document["workers"])
    restarts = sum(worker.get("restarts", 0) for worker in document["workers"])
    line = f"modelproxy {document['version']}   config version {config.get('version')}   "
    line += f"workers {up}/{len(document['workers'])} up, {restarts} restarts"
    lines: list[RenderableType] = [Text(line, style="bold")]
    if config.get("last_reload_successful") is False:
        lines.append(Text("the last reload was refused; the table in force stays:", style="red"))
        lines += [Text(f"  {problem}", style="red") for problem in config.get("last_error") or ()]
    lines.append(Text(""))
    return lines


def _variants(route: Mapping[str, Any]) -> "RenderableType":
    table = build_grid(
        "variant role model >weight >requests >errors >in_flight >p50_ms >p95_ms >p99_ms",
    )
    for variant in route["variants"]:
        latency = variant["latency_ms"]
        table.add_row(
            variant["name"],
            variant["role"],
            variant["model"],
            f"{variant['weight']:g} %",
            str(variant["requests"]),
            str(variant["errors"]),
            str(variant["in_flight"]),
            *(_number(latency[name]) for name in ("p50", "p95", "p99")),
            style="red" if variant["errors"] else None,
        )
    return table


def _rollout(route: Mapping[str, Any]) -> "list[RenderableType]":
    """Return where the route's rollout stands, and what the engine thinks of it; nothing where there is none."""
    from rich.text import Text

    rollout = route.get("rollout")
    if not rollout:
        return []
    where = str(rollout["phase"]).replace("_", " ")
    if rollout["phase"] == "ramping":
        where += f", step {rollout['step'] + 1} of {len(rollout['steps'])}"
    line = f"rollout of {rollout['variant']}: {where} at {rollout['weight']:g} %"
    line += f" for {_span(rollout['seconds_in_step'])}, by {rollout['by']}"
    is_bad = rollout["phase"] in ("rolled_back", "inconclusive")
    lines = [Text(f"{line}: {rollout['reason']}", style="red" if is_bad else "green")]
    if rollout["paused_by"]:
        why = f" ({rollout['paused_reason']})" if rollout.get("paused_reason") else ""
        line = f"  paused by {rollout['paused_by']}{why}: the engine moves nothing until resume"
        lines.append(Text(line, style="yellow"))
    if rollout.get("dry_run"):
        lines.append(Text("  dry run: the engine moves nothing", style="yellow"))
    judgement = rollout.get("judgement") or {}
    sentence = judgement.get("sentence")
    if sentence and not _is_repeated(rollout["reason"], sentence):
        lines.append(Text(f"  engine: {sentence}"))
    if rollout["phase"] == "rolled_back":
        how = f"modelproxy resume {route['name']} starts it again; so does another name, model or server"
        lines.append(Text(f"  {how}", style="dim"))
    return [*lines, Text("")]


def _is_repeated(reason: str, sentence: str) -> bool:
    """Tell whether what the engine says is what was said of the last move: that a canary was rolled back, and why."""
    _, _, why = reason.partition(": ")
    return bool(reason) and (why or reason) in sentence


def _span(seconds: float) -> str:
    """Return a time in its two largest units: ``2 h 5 min``."""
    whole = int(seconds)
    for size, unit, rest, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // rest} {small}"
    return f"{whole} s"


def _shadows(route: Mapping[str, Any]) -> "RenderableType":
    table = build_grid(
        "shadow >percent >sent >dropped >answered >failed >agree >disagree >rate >uncomparable >distance",
    )
    for shadow in route["shadows"]:
        rate = shadow.get("disagreement_rate")
        table.add_row(
            shadow["model"],
            f"{shadow['percent']:g} %",
            *(str(shadow[name]) for name in ("sent", "dropped", "answered", "failed", "agree", "disagree")),
            "–" if rate is None else f"{rate:.2%}",
            str(shadow["uncomparable"]),
            _number(shadow.get("mean_distance"), digits=4),
        )
    return table


def _noise(route: Mapping[str, Any]) -> "list[RenderableType]":
    """Return how much more each shadow differs than the champion from itself, or that nobody knows."""
    from rich.text import Text

    lines: list[RenderableType] = []
    for shadow in route["shadows"]:
        noise = shadow.get("noise")
        if not noise:
            if shadow.get("disagreement_rate"):
                line = f"  {shadow['model']}: how much of this is the champion's own is not measured (compare.noise)"
                lines.append(Text(line, style="dim"))
            continue
        line = f"  {shadow['model']}, {count(noise['triples'], 'request')} asked twice: {noise['sentence']}"
        lines.append(Text(line, style="red" if noise["is_more"] else ""))
        if named := [field["path"] or "the answer" for field in noise["fields"] if field["is_above_noise"]]:
            lines.append(Text(f"    above noise: {', '.join(named[:_FIELDS_SHOWN])}", style="red"))
    return lines


def _sinks(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return what the sinks of the payload log have done; nothing where no route logs."""
    sinks = document.get("sinks") or []
    if not any(route.get("log", {}).get("percent") for route in document["routes"]):
        return []
    table = build_grid("sink kind >written >dropped >failed >queue_bytes problem")
    for sink in sinks:
        counts = (str(sink[name]) for name in ("written", "dropped", "failed", "queue_bytes"))
        style = "red" if sink["failing"] else None
        table.add_row(sink["name"], sink["kind"], *counts, sink["problem"], style=style)
    return [table] if sinks else []


def _route_lines(route: Mapping[str, Any]) -> "list[RenderableType]":
    from rich.text import Text

    lines = []
    sources = route.get("unit_sources") or {}
    if sources:
        named = ", ".join(f"{source} {count}" for source, count in sources.items())
        lines.append(f"units from: {named}")
    log = route.get("log") or {}
    if log.get("percent") or log.get("keep"):
        names = ["sampled", "written", "dropped", "failed", *(["thinned"] if log.get("budget") else ())]
        counted = ", ".join(f"{name} {log.get(name, 0)}" for name in names)
        what = ", ".join([f"{log.get('percent') or 0:g} % of units", *(log.get("keep") or ())])
        lines.append(f"payload log: {what} into {log.get('dir')}: {counted}")
    return [*(Text(line, style="dim") for line in lines), Text("")]


def _servers(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Return a table of the servers that are watched: of models with several, or with health checks."""
    from rich.text import Text

    rows = [
        (model["name"], server["url"], *_condition(server), str(server["ejections"]))
        for model in document.get("models", ())
        for server in model.get("servers", ())
        if "up" in server
    ]
    if not rows:
        return []
    table = build_grid("model server state >checks >failed >ejections")
    for row in rows:
        table.add_row(*row)
    return [Text("model servers", style="bold"), table]


def _condition(server: Mapping[str, Any]) -> tuple[str, str, str]:
    reasons = []
    if server["unhealthy_workers"]:
        reasons.append(f"unhealthy in {server['unhealthy_workers']} workers")
    if server["ejected"]:
        reasons.append("ejected")
    checks = server["checks"]
    return ", ".join(reasons) or "up", str(checks["passed"] + checks["failed"]), str(checks["failed"])


def _faults(document: Mapping[str, Any]) -> "list[RenderableType]":
    from rich.text import Text

    rows = [
        (model["name"], model["url"], kind, str(count))
        for model in document.get("models", ())
        for kind, count in model["faults"].items()
        if count
    ]
    if not rows:
        return []
    table = build_grid("model url kind >count")
    for row in rows:
        table.add_row(*row)
    return [Text("faults of model servers", style="bold"), table]


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
