"""Who takes part. Each does the same work, or its entry says what it does less."""

import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tools import Tools

__all__ = ["ANSWERS", "BACKEND", "CONTENDERS", "MIRRORED", "SPLIT", "Contender", "start_command"]

PEERS = Path(__file__).with_name("peers")
SPLIT = "split"
MIRRORED = "mirrored"

ANSWERS = tuple(
    f'{{"model_name":"wine","model_version":"{version}",'
    '"outputs":[{"name":"predict","datatype":"INT64","shape":[1],"data":[2]}]}'
    for version in (1, 2, 3, 4)
)
"""What the three variants and the shadow answer: they differ in the version only."""


class Filled(string.Template):
    """A configuration with ``@name`` to fill in: ``$`` belongs to nginx."""

    delimiter = "@"


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table."""

    name: str
    tool: str
    """The program that must be there."""
    config: str
    """File in ``peers/``; empty when the program takes only arguments."""
    command: tuple[str, ...]
    """Arguments, ``@name`` filled in."""
    less: str
    """What it does less than modelproxy in the same kind of row."""
    mirror: str = ""
    """What fills ``@mirror``."""
    kind: str = SPLIT
    """``split``: the split alone. ``mirrored``: every request is also sent to the shadow."""
    compares: bool = False
    """Whether it also compares the shadow's answer with the client's."""


BACKEND = Contender("backend", "nginx", "backend.conf", ("-p", "@directory", "-c", "@config"), "")

CONTENDERS = (
    Contender(
        "modelproxy",
        "python",
        "modelproxy.yaml",
        ("-m", "proxy", "serve", "@config"),
        "—",
        mirror="[]",
    ),
    Contender(
        "HAProxy",
        "haproxy",
        "haproxy.cfg",
        ("-db", "-f", "@config"),
        "no latency histogram",
    ),
    Contender(
        "nginx",
        "nginx",
        "nginx.conf",
        ("-p", "@directory", "-c", "@config"),
        "no metrics at all",
    ),
    Contender(
        "Envoy",
        "envoy",
        "envoy.yaml",
        ("-c", "@config", "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"),
        "—",
        mirror="[]",
    ),
    Contender(
        "aiohttp",
        "python",
        "",
        (
            "-m",
            "benchmarks.aiohttp_proxy",
            "@listen",
            "http://127.0.0.1:@v1",
            "http://127.0.0.1:@v2",
            "http://127.0.0.1:@v3",
        ),
        "no metrics, no request id, no limits",
    ),
    Contender(
        "modelproxy, mirrored and compared",
        "python",
        "modelproxy.yaml",
        ("-m", "proxy", "serve", "@config"),
        "—",
        mirror="[{model: shadow, percent: 100}]",
        kind=MIRRORED,
        compares=True,
    ),
    Contender(
        "nginx, mirror",
        "nginx",
        "nginx.conf",
        ("-p", "@directory", "-c", "@config"),
        "no comparison, no metrics",
        mirror="mirror /shadow;",
        kind=MIRRORED,
    ),
    Contender(
        "Envoy, request_mirror_policies",
        "envoy",
        "envoy.yaml",
        ("-c", "@config", "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"),
        "no comparison",
        mirror="[{cluster: shadow}]",
        kind=MIRRORED,
    ),
)


def start_command(contender: Contender, tools: Tools, directory: Path, ports: Mapping[str, int]) -> list[str]:
    """Write the contender's configuration into ``directory`` and return the command that starts it."""
    values: dict[str, object] = {
        **ports,
        **{f"answer_{version}": answer for version, answer in enumerate(ANSWERS, start=1)},
        "directory": directory,
        "mirror": contender.mirror,
        "config": directory / contender.config,
    }
    if contender.config:
        template = Filled((PEERS / contender.config).read_text(encoding="utf-8"))
        (directory / contender.config).write_text(template.substitute(values), encoding="utf-8")
    program = sys.executable if contender.tool == "python" else tools[contender.tool]
    return [program, *(Filled(argument).substitute(values) for argument in contender.command)]
