"""Set the stage: four model servers that have trained, and the proxy in front of them, ready."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.clock import monotonic
from proxy.demo.admin import Admin, Status, has_applied
from proxy.demo.models import ROLES, Dataset, load_dataset
from proxy.demo.oip import build_question
from proxy.demo.processes import DemoError, Fleet, free_address
from proxy.demo.story import SCENES, ConfigFile, find_config

__all__ = ["MODELS", "Stage", "set_stage"]

MODELS = {"digits-v1": "champion", "digits-v2": "challenger", "digits-v3": "canary", "digits-v4": "shadow"}
"""What each model of ``config/demo.yaml`` plays: a key of ``ROLES``."""

READY_S = 30.0
"""The proxy may take this long to serve in every worker. It takes about 1 s."""

_POLL_S = 0.1
_PREFERRED_LISTEN, _PREFERRED_ADMIN = 8080, 9090


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and where it is."""

    folder: Path
    """The run's own directory: configuration, logs of the processes, state of the proxy."""
    fleet: Fleet
    config: ConfigFile
    dataset: Dataset
    listen: str
    """``host:port`` of the proxy."""
    admin: Admin
    models: Mapping[str, str]
    """URL by model."""
    first_version: int
    """The configuration version the proxy started with."""

    @property
    def log_folder(self) -> Path:
        """Where the proxy writes its payload log."""
        return self.folder / "modelproxy-state" / "payloads"


async def set_stage(
    folder: Path, fleet: Fleet, session: aiohttp.ClientSession, say: Callable[[str], None]
) -> Stage:
    """Start everything and return when requests can be sent; ``say`` is told each step.

    Raises:
        DemoError: a process ended or was not ready in time.
    """
    say("training four models on handwritten digits, each in a server process of its own")
    loading = asyncio.to_thread(load_dataset)
    starting = asyncio.gather(*(_start_model(fleet, model, say) for model in MODELS))
    dataset, urls = await asyncio.gather(loading, starting)
    models = dict(zip(MODELS, urls, strict=True))
    listen, admin_address = free_address(_PREFERRED_LISTEN), free_address(_PREFERRED_ADMIN)
    environ = {"DEMO_LISTEN": listen, "DEMO_ADMIN": admin_address}
    environ |= {f"DEMO_V{number}_URL": url for number, url in enumerate(urls, 1)}
    config = ConfigFile(find_config().read_text(encoding="utf-8"), folder, environ)
    config.write(SCENES[0].canary_weight)
    admin = Admin(admin_address, session)
    # For whoever wants to ask by hand.
    (folder / "question.json").write_bytes(build_question(dataset.held_out_rows[0]))
    await fleet.start_proxy(config.path, environ)
    version = await _wait_ready(fleet, admin)
    say(f"proxy at http://{listen}, its metrics and status at {admin.url}")
    return Stage(folder, fleet, config, dataset, listen, admin, models, version)


async def _start_model(fleet: Fleet, model: str, say: Callable[[str], None]) -> str:
    role = ROLES[MODELS[model]]
    url, accuracy = await fleet.start_model(role.name)
    say(f"{model} ({role.name}: {role.family}) at {url}, right on {accuracy:.1%} of unseen scans")
    return url


async def _wait_ready(fleet: Fleet, admin: Admin) -> int:
    deadline = monotonic() + READY_S
    while not await admin.is_ready():
        fleet.check_alive()
        if monotonic() > deadline:
            raise DemoError(f"the proxy was not ready within {READY_S:g} s; see {fleet.folder}/proxy.log")
        await asyncio.sleep(_POLL_S)
    status = await admin.wait("serving in every worker", READY_S, _is_complete)
    return int(status["config"]["version"])


def _is_complete(status: Status) -> bool:
    """Return whether every worker serves and has reached the observer, so that no record is lost.

    Clients could be served earlier: the proxy waits for no observer.
    """
    workers = len(status.get("workers") or ())
    return has_applied(status, 1) and int(status.get("observer", {}).get("connections", workers)) >= workers
