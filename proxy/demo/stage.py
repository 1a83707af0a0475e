"""Set the stage: model servers that have trained, and the proxy in front of them, ready."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.clock import monotonic
from proxy.demo.admin import Admin, Status, fetch_books, has_applied
from proxy.demo.facts import Backend
from proxy.demo.models import ROLES, Dataset, load_dataset
from proxy.demo.oip import build_question
from proxy.demo.processes import DemoError, Fleet, free_address
from proxy.demo.story import CHAMPION, RELEASES, SCENES, ConfigFile, find_config

__all__ = ["MODELS", "RELEASED_MODELS", "SERVERS", "Stage", "set_stage"]

MODELS = {"digits-v1": "champion", "digits-v2": "challenger", "digits-v3": "skewed", "digits-v4": "shadow"}
"""What each model of the route that is steered by hand is: a key of ``ROLES``."""

RELEASED_MODELS = {CHAMPION.model: "champion"} | {release.model: release.role for release in RELEASES}
"""The same of the route with rollouts."""

SERVERS = {role: (role,) for role in MODELS.values()} | {"parcels": tuple(RELEASED_MODELS.values())}
"""Which models each server has. One has all that are compared in rollouts, as model servers with versions do: what
else the machine is busy with slows the champion and the canary alike, and says nothing about either."""

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
    servers: Mapping[str, str]
    """URL by name."""
    session: aiohttp.ClientSession
    first_version: int
    """The configuration version the proxy started with."""

    @property
    def state_folder(self) -> Path:
        """Where the proxy keeps its state."""
        return self.folder / "modelproxy-state"

    @property
    def log_folder(self) -> Path:
        """Where the proxy writes its payload log."""
        return self.state_folder / "payloads"

    @property
    def addresses(self) -> dict[str, str]:
        """What is where, for the reader of the demo."""
        return {"clients": f"http://{self.listen}", "admin": self.admin.url, "files": str(self.folder)}

    async def books(self, model: str) -> Backend:
        """Return the books of ``model``, as its server keeps them.

        Raises:
            DemoError: they cannot be had.
        """
        role = (MODELS | RELEASED_MODELS)[model]
        server = "parcels" if model in RELEASED_MODELS else role
        return await fetch_books(self.session, model, self.servers[server], ROLES[role].version)


async def set_stage(
    folder: Path, fleet: Fleet, session: aiohttp.ClientSession, say: Callable[[str], None]
) -> Stage:
    """Start everything and return when requests can be sent; ``say`` is told each step.

    Raises:
        DemoError: a process ended or was not ready in time.
    """
    say(f"training {len(ROLES)} models on handwritten digits, in {len(SERVERS)} servers")
    loading = asyncio.to_thread(load_dataset)
    starting = asyncio.gather(*(_start(fleet, server, say) for server in SERVERS))
    dataset, urls = await asyncio.gather(loading, starting)
    servers = dict(zip(SERVERS, urls, strict=True))
    listen, admin_address = free_address(_PREFERRED_LISTEN), free_address(_PREFERRED_ADMIN)
    environ = {"DEMO_LISTEN": listen, "DEMO_ADMIN": admin_address}
    environ |= {f"DEMO_{server.upper()}_URL": url for server, url in servers.items()}
    config = ConfigFile(find_config().read_text(encoding="utf-8"), folder, environ)
    config.write(SCENES[0].canary_weight)
    admin = Admin(admin_address, session)
    # For whoever wants to ask by hand.
    (folder / "question.json").write_bytes(build_question(dataset.held_out_rows[0]))
    await fleet.start_proxy(config.path, environ)
    version = await _wait_ready(fleet, admin)
    say(f"proxy at http://{listen}, its metrics and status at {admin.url}")
    return Stage(folder, fleet, config, dataset, listen, admin, servers, session, version)


async def _start(fleet: Fleet, server: str, say: Callable[[str], None]) -> str:
    url, accuracies = await fleet.start_models(server, SERVERS[server])
    right = ", ".join(f"{role} {accuracy:.1%}" for role, accuracy in accuracies.items())
    say(f"{server} server at {url}, right on unseen scans: {right}")
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
