"""Conduct the demo: set the stage, play the scenes, collect the facts, judge them, end everything."""

import asyncio
import signal
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import orjson
from rich.console import Console

from proxy.clock import monotonic
from proxy.demo.checks import judge
from proxy.demo.collect import collect, collect_trials
from proxy.demo.facts import Facts
from proxy.demo.models import has_sklearn
from proxy.demo.paper import write_paper
from proxy.demo.play import Play
from proxy.demo.processes import DemoError, Fleet
from proxy.demo.rehearsal import rehearse
from proxy.demo.releases import Releases
from proxy.demo.report import Places, build_document, print_report
from proxy.demo.stage import Stage, set_stage
from proxy.demo.story import user_names
from proxy.demo.trial_checks import judge_trials
from proxy.demo.trials import Trials
from proxy.demo.view import LiveView, PlainView, View

__all__ = ["DURATION_S", "INTERRUPTED", "main"]

DURATION_S = 21.0
"""Seconds of the part that is steered by hand. The rollouts take as long as their evidence needs, about 30 s; training,
start and end about 10 s."""

QUICK_S = 9.0
"""The same of the quick run: the shortest in which every user visits in every scene."""

USERS = 400

LIMIT_S = 480.0
"""The whole run may take this much longer than its first part; then it is ended, whatever it waits for."""

_PIPE_WIDTH = 110
"""Columns where there is no terminal to ask."""

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it: 128 + SIGINT."""


@dataclass(frozen=True, slots=True)
class _Options:
    duration_s: float
    keep: bool
    as_json: bool


def main(
    duration_s: float = DURATION_S,
    quick: bool = False,
    keep: bool = False,
    plain: bool = False,
    as_json: bool = False,
) -> int:
    """Run the demo and return its exit code: 0 only if every check holds.

    Args:
        duration_s: seconds of the part that is steered by hand.
        quick: ``QUICK_S`` seconds of it instead.
        keep: leave models and proxy running afterwards, until Ctrl-C.
        plain: lines instead of the live page; always so where there is no terminal.
        as_json: print the result as JSON on standard output, everything else on standard error.
    """
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(stderr=as_json, width=_PIPE_WIDTH)
    if not has_sklearn():
        console.print(
            "The demo trains real models with scikit-learn: pip install 'modelproxy[demo]'", markup=False
        )
        return 1
    options = _Options(QUICK_S if quick else duration_s, keep, as_json)
    folder = Path(tempfile.mkdtemp(prefix="modelproxy-demo-"))
    fleet = Fleet(folder)
    view = _open_view(console, plain=plain)
    try:
        return asyncio.run(_run(options, folder, fleet, console, view))
    except (KeyboardInterrupt, asyncio.CancelledError):
        view.close()
        console.print("interrupted; everything it started was ended")
        return INTERRUPTED
    except DemoError as error:
        view.close()
        console.print(f"the demo stopped: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        view.close()
        fleet.kill()


def _open_view(console: Console, *, plain: bool) -> View:
    started = monotonic()

    def clock() -> float:
        return monotonic() - started

    return PlainView(console, clock) if plain or not console.is_terminal else LiveView(console, clock)


async def _run(options: _Options, folder: Path, fleet: Fleet, console: Console, view: View) -> int:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "asyncio.run makes one"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        async with aiohttp.ClientSession() as session:
            try:
                async with asyncio.timeout(options.duration_s + LIMIT_S):
                    stage, facts, trials = await _play(options, folder, fleet, session, view)
            except TimeoutError as error:
                raise DemoError(
                    f"it took more than {options.duration_s + LIMIT_S:g} s; see {folder}"
                ) from error
        view.close()
        ok = _report(options, stage, facts, trials, console)
        if options.keep:
            await _stay(console)
        return 0 if ok else 1
    finally:
        await fleet.stop()


async def _play(
    options: _Options, folder: Path, fleet: Fleet, session: aiohttp.ClientSession, view: View
) -> tuple[Stage, Facts, Trials]:
    users = user_names(USERS)
    stage = await set_stage(folder, fleet, session, view.event)
    play = Play(stage, users, options.duration_s, view)
    await play.run()
    facts = await collect(stage, play, users, view.event)
    rehearsals = await rehearse(stage, facts.log)
    for each in rehearsals:
        view.event(each.sentence())
    releases = Releases(stage, view)
    await releases.run()
    trials = await collect_trials(stage, releases, view.event)
    if not options.keep:
        view.event("ending the proxy, then the models")
        await fleet.stop()
        facts = replace(facts, proxy_exit=fleet.exit_code("proxy"))
    view.event("writing up the rollouts, and computing their decisions again")
    paper = await write_paper(folder, stage.state_folder, trials.trials)
    return stage, facts, replace(trials, paper=paper, rehearsals=rehearsals)


def _report(options: _Options, stage: Stage, facts: Facts, trials: Trials, console: Console) -> bool:
    places = Places(
        folder=stage.folder,
        config=stage.config.path,
        versions=stage.config.versions,
        log=stage.log_folder,
        state=stage.state_folder,
        listen=stage.listen,
        admin=stage.admin.url,
    )
    checks = judge(facts) + judge_trials(trials)
    print_report(console, facts, trials, checks, places, kept=options.keep)
    if options.as_json:
        document = build_document(facts, trials, checks, places)
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        sys.stdout.flush()
    return all(check.ok for check in checks)


async def _stay(console: Console) -> None:
    console.print("\nEverything keeps running; Ctrl-C ends it.")
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
