"""One server, one client at a time, and every byte between them: directly, then through a proxy."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.likeness import Drawn, answer_differences, forwarded_differences, paired, redrawn
from tests.real.messages import Exchange, Message, NotYet, requests
from tests.real.processes import Driver, eventually, proxy
from tests.real.tap import Recording, Tap

__all__ = ["MODES", "OBSERVED", "PLAIN", "Stage", "stage"]

PLAIN = "plain"
OBSERVED = "observed"
MODES = (PLAIN, OBSERVED)
"""How the proxy runs: streaming and nothing else; or with everything that takes copies on the side."""

COPY_BYTES = 1 << 20
"""``limits.copy``: longer bodies are not mirrored."""

_CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  real: {{url: "http://127.0.0.1:{model}", keep_alive: 4s}}
  copy: {{url: "http://127.0.0.1:{shadow}", keep_alive: 4s}}
routes:
  - name: all
    match: {{path: "*"}}
    unit: [{unit}]
    variants: [{{name: v1, model: real, role: champion}}]
"""
_OBSERVED = """
    shadows: [{model: copy, percent: 100}]
    log: {percent: 100}
"""


@dataclass
class Stage:
    """A model server in reach of the taps."""

    front: Tap
    """What clients talk to, directly or not: always the same address."""
    back: Tap
    """Between a proxy and the server."""
    copies: Tap
    """Between a proxy and the server that gets copies."""
    server: int
    proxies: dict[str, tuple[int, int]]
    """Mode → ports for clients and for admin."""
    drawn: Drawn = ()

    def compare(self, driver: Driver, call: str, *, sees_same: bool = True, **arguments: Any) -> list[str]:
        """Make one call directly and through each proxy; return every difference that has no excuse.

        Args:
            driver: the client program.
            call: which of its calls.
            sees_same: what the program made of the answers is compared too.
            arguments: what the call is given.
        """
        for tap in (self.front, self.back, self.copies):  # what an earlier failure has left
            tap.take()
        self.front.aim(self.server)
        directly = driver.call(call, self.front.url, **arguments)
        direct, connections = _complete(self.front, "the direct call")
        assert direct, f"{call} asked nothing: {directly}"
        found = []
        for mode, (port, _) in self.proxies.items():
            self.back.take()
            self.copies.take()
            self.front.aim(port)
            proxied = driver.call(call, self.front.url, **arguments)
            clients, opened = _complete(self.front, "the call through the proxy")
            # Only where a call means to use a connection again: tritonclient gives up those whose body comes later
            # than the head, which is a matter of luck.
            if opened > connections and "times" in arguments:
                found.append(f"{mode}: {opened} connections instead of {connections}")
            found += [f"{mode}: {line}" for line in self._differences(mode, direct, clients)]
            if sees_same and self._redrawn(directly) != self._redrawn(proxied):
                found.append(f"{mode}: the program saw\n    {directly!r:.2000}\n    {proxied!r:.2000}")
        return found

    def heard(
        self, driver: Driver, call: str, *, mode: str = OBSERVED, **arguments: Any
    ) -> tuple[Any, list[Exchange]]:
        """Make one call through a proxy; return what the program saw of it, and every byte that it was told."""
        for tap in (self.front, self.back, self.copies):
            tap.take()
        self.front.aim(self.proxies[mode][0])
        told = driver.call(call, self.front.url, **arguments)
        return told, _complete(self.front, "the call through the proxy")[0]

    def views(self, driver: Driver, call: str, **arguments: Any) -> list[Any]:
        """Return what the program saw of one call: directly, and through each proxy."""
        seen = []
        for port in (self.server, *(port for port, _ in self.proxies.values())):
            self.front.aim(port)
            seen.append(self._redrawn(driver.call(call, self.front.url, **arguments)))
        return seen

    def _differences(self, mode: str, direct: list[Exchange], clients: list[Exchange]) -> Iterator[str]:
        if len(direct) != len(clients):
            yield f"{len(direct)} answers directly, {len(clients)} through the proxy"
            return
        servers, _ = _complete(self.back, "the proxy's call")
        for client, server in paired(clients, servers):
            yield from forwarded_differences(client, server, waits_for_body=mode == OBSERVED)
        if mode == OBSERVED:
            yield from self._copies(servers)
        for one, other in zip(direct, clients, strict=True):
            yield from answer_differences(one, other, self.drawn)

    def _copies(self, servers: list[Exchange]) -> Iterator[str]:
        """Compare what the shadow got with what the model got."""
        wanted = [server.request for server in servers if len(server.request.body) <= COPY_BYTES]
        copied: dict[bytes, Message] = {}

        def is_complete() -> bool:
            # Their answers are given up when nobody needs them, so only what was asked is looked at.
            with suppress(NotYet):
                for recording in self.copies.peek():
                    for copy in requests(bytes(recording.sent)):
                        copied[copy.values(b"x-request-id")[0]] = copy
            return len(copied) == len(wanted)

        eventually(is_complete, f"{len(wanted)} copies")
        for request in wanted:
            copy = copied[request.values(b"x-request-id")[0]]
            if (request.start, request.body) != (copy.start, copy.body):
                yield f"the copy is another request: {copy.start!r} with {len(copy.body)} bytes"
            if copy.values(b"x-modelproxy-shadow") != [b"1"]:
                yield "the copy does not say that it is one"

    def _redrawn(self, value: Any) -> Any:
        """Return what a program saw, without what the server draws afresh for each answer."""
        if isinstance(value, str):
            return redrawn(value.encode(), self.drawn)
        if isinstance(value, list):
            return [self._redrawn(each) for each in value]
        if isinstance(value, dict):
            short = {key: each for key, each in value.items() if not (key == "size" and self.drawn)}
            return {key: self._redrawn(each) for key, each in short.items()}
        return value


def _exchanges(recordings: list[Recording]) -> list[Exchange] | None:
    """Return all exchanges in the order of their connections, or None while one is not complete."""
    try:
        return [each for one in sorted(recordings, key=lambda r: r.order) for each in one.exchanges()]
    except NotYet:
        return None


def _complete(tap: Tap, what: str) -> tuple[list[Exchange], int]:
    """Return what was exchanged and over how many connections, once nothing is half said."""
    eventually(lambda: _exchanges(tap.peek()) is not None, f"whole messages of {what}")
    recordings = tap.take()
    return _exchanges(recordings) or [], len(recordings)


@contextmanager
def stage(server: int, shadow: int, directory: Path, drawn: Drawn = ()) -> Iterator[Stage]:
    """Run the proxies in front of a server; copies go to ``shadow``."""
    with ExitStack() as stack:
        front, back, copies = (stack.enter_context(Tap()) for _ in range(3))
        back.aim(server)
        copies.aim(shadow)
        proxies = {}
        for mode, extra, unit in (
            (PLAIN, "", "client_ip"),
            (OBSERVED, _OBSERVED, '"json:/user", client_ip'),
        ):
            place = directory / mode
            place.mkdir()
            config = _CONFIG.format(directory=place, model=back.port, shadow=copies.port, unit=unit)
            proxies[mode] = stack.enter_context(proxy(config + extra, place))
        yield Stage(front, back, copies, server, proxies, drawn)
