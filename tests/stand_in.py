"""A stand-in for a worker or the observer: it speaks the link, holds counters, and does nothing else.

Run as a child of the supervisor: ``python stand_in.py KIND DIR RUN_DIR SOCKET LINK``. ``KIND`` is
``worker-0`` or ``observer``. Everything it receives and does is appended to ``DIR/KIND.log``, a line each;
files in ``DIR`` change how it behaves:

* ``KIND.dead``: ends with exit code 3 before it is ready;
* ``KIND.mute``: never answers a prepare;
* ``KIND.full``: refuses to prepare, for lack of space;
* ``KIND.stubborn``: ignores the drain;
* ``KIND.asks``: asks for a reload once, when it has committed;
* ``KIND.says``: sends the message in it, a JSON object, and removes it.
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import orjson

from proxy.link import Link, open_link
from proxy.routing.position import parse_positions
from proxy.routing.table import Table, compile_table
from proxy.settled import read_settled
from proxy.tally import block_path, open_block
from proxy.tasks import spawn


class StandIn:
    """One process."""

    def __init__(self, kind: str, box: Path, run_dir: Path, listener: int) -> None:
        self.kind = kind
        self.box = box
        self.run_dir = run_dir
        self.listener = socket.socket(fileno=listener)
        self.tables: dict[int, Table] = {}
        self.current = 0
        self.done = asyncio.Event()
        self.link: Link

    def is_told(self, word: str) -> bool:
        """Tell whether the file for ``word`` is there."""
        return (self.box / f"{self.kind}.{word}").exists()

    def note(self, *words: object) -> None:
        """Append one line to the log."""
        with (self.box / f"{self.kind}.log").open("a") as file:
            file.write(" ".join(str(word) for word in words) + "\n")

    def on_message(self, message: dict[str, Any]) -> None:
        """Do what the supervisor says."""
        op = str(message["op"])
        getattr(self, f"on_{op}")(message)

    def on_prepare(self, message: dict[str, Any]) -> None:
        """Compile, map the counters, answer."""
        version = int(message["version"])
        self.note("prepare", version)
        if positions := message.get("positions"):
            self.note("weights", version, *(f"{each['route']}={each['weight']}" for each in positions))
        if self.is_told("mute"):
            return
        if self.is_told("full"):
            self.link.send({"op": "refused", "version": version, "reason": "no space left on device"})
            return
        positions = parse_positions(message.get("positions", ()))
        is_observer = self.kind == "observer"
        table = compile_table(read_settled(message["settled"]), version, message["digest"], positions)
        self.tables[version] = table
        if is_observer:
            open_block(block_path(self.run_dir, "o0", version), table.observer_layout.size)
        else:
            open_block(block_path(self.run_dir, f"w{self.kind[-1]}", version), table.layout.size)
        self.link.send({"op": "prepared", "version": version})

    def on_commit(self, message: dict[str, Any]) -> None:
        """Make the version current, answer."""
        self.current = int(message["version"])
        self.note("commit", self.current)
        self.link.send({"op": "committed", "version": self.current})
        if self.kind != "observer" and self.listener:
            asyncio.get_running_loop().add_reader(self.listener.fileno(), self.on_client)
        if self.is_told("asks"):
            (self.box / f"{self.kind}.asks").unlink()
            self.link.send({"op": "request", "id": 7, "verb": "reload", "by": "admin 127.0.0.1"})

    def on_client(self) -> None:
        """Answer a client with process id and version, and close."""
        try:
            client, _ = self.listener.accept()
        except BlockingIOError:
            return
        with client:
            client.sendall(f"{os.getpid()} {self.current}\n".encode())

    def on_retire(self, message: dict[str, Any]) -> None:
        """Forget the versions, answer."""
        self.note("retire", *message["versions"])
        for version in message["versions"]:
            self.tables.pop(version, None)
        self.link.send({"op": "retired", "versions": message["versions"]})

    def on_fleet(self, message: dict[str, Any]) -> None:
        """Keep the fleet's description where a test reads it."""
        fresh = self.box / "fleet.new"
        fresh.write_bytes(orjson.dumps(message))
        fresh.replace(self.box / "fleet.json")

    def on_open(self, message: dict[str, Any]) -> None:
        """Note it; nothing is served at the admin address."""
        self.note("open")

    def on_hush(self, message: dict[str, Any]) -> None:
        """Note it, answer."""
        self.note("hush")
        self.link.send({"op": "hushed"})

    def on_ping(self, message: dict[str, Any]) -> None:
        """Answer."""
        self.link.send({"op": "pong"})

    def on_reply(self, message: dict[str, Any]) -> None:
        """Note the reply."""
        self.note("reply", orjson.dumps(message).decode())

    def on_drain(self, message: dict[str, Any]) -> None:
        """End, unless stubborn."""
        self.note("drain")
        if not self.is_told("stubborn"):
            self.done.set()

    def on_closed(self) -> None:
        """End: the supervisor is gone."""
        self.note("closed")
        self.done.set()

    async def run(self, link: int) -> None:
        """Live until drained."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.done.set)
        self.note("start", os.getpid(), self.run_dir)
        self.link = await open_link(link, self.on_message, self.on_closed)
        self.link.send({"op": "ready", "pid": os.getpid()})
        spawn(self.keep_saying(), name="says")
        await self.done.wait()

    async def keep_saying(self) -> None:
        """Send what a test wants said."""
        path = self.box / f"{self.kind}.says"
        while True:
            if path.exists():
                message = orjson.loads(path.read_bytes())
                path.unlink()
                self.link.send(message)
            await asyncio.sleep(0.01)


def supervise(box: Path) -> int:
    """Run a supervisor over stand-ins, with the file ``box/config.yaml``, less patient than in earnest."""
    # Here, so that a stand-in starts as fast as it can.
    from proxy.children import Timing
    from proxy.fleet import Commands, FoldRule
    from proxy.supervisor import serve

    def commands_of(run_dir: Path, listen: int, admin: int) -> Commands:
        def command(kind: str, listener: int, link: int) -> tuple[str, ...]:
            return (sys.executable, __file__, kind, str(box), str(run_dir), str(listener), str(link))

        return Commands(
            worker=lambda index, link: command(f"worker-{index}", listen, link),
            observer=lambda link: command("observer", admin, link),
        )

    return serve(
        box / "config.yaml",
        commands_of=commands_of,
        timing=Timing(first_pause_s=0.02, longest_pause_s=0.1, answer_s=2.0, unlinked_s=0.5, retry_s=0.5),
        fold_rule=FoldRule(keep=1, age_s=0),
    )


def main() -> int:
    """Run one stand-in, or a supervisor over them."""
    if sys.argv[1] == "supervise":
        return supervise(Path(sys.argv[2]))
    kind, box, run_dir, listener, link = sys.argv[1:]
    if (Path(box) / f"{kind}.dead").exists():
        return 3
    asyncio.run(StandIn(kind, Path(box), Path(run_dir), int(listener)).run(int(link)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
