"""Who takes part. Each does the same work, or its entry says what it does less.

A *program* is what is started; a *flavour* is what it is told to do. An entrant of a cell is a program in a flavour:
its configuration in ``peers/`` is one text for all flavours, with ``@name`` filled in by the flavour.
"""

import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.payloads import ANSWERS, CHAT_ANSWER
from benchmarks.tools import Tools

__all__ = ["BACKEND", "DIRECT", "PROGRAMS", "Entrant", "Program", "start_command"]

PEERS = Path(__file__).with_name("peers")


class Filled(string.Template):
    """A configuration with ``@name`` to fill in: ``$`` belongs to nginx."""

    delimiter = "@"


@dataclass(frozen=True, slots=True)
class Program:
    """Something that can be started."""

    name: str
    tool: str
    """The program that must be there; empty: nothing is started, the load goes to the first model itself."""
    config: str = ""
    """File in ``peers/``; empty when the program takes only arguments."""
    command: tuple[str, ...] = ()
    """Arguments, ``@name`` filled in."""
    less: str = "—"
    """What it does less than modelproxy, whatever the flavour."""
    is_sticky: bool = True
    """Whether a user, named by a header, stays with a variant."""
    usual: Mapping[str, str] = field(default_factory=dict)
    """What fills the configuration unless the flavour says otherwise."""
    flavours: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By name, what a flavour fills in instead; under ``less`` what it does less in this flavour."""
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A program in one flavour."""

    program: Program
    flavour: str = "split"
    cores: int = 1

    @property
    def name(self) -> str:
        """What it is called in its cell's table."""
        return self.program.name + ("" if self.flavour in SAME_NAME else f", {self.flavour}")

    @property
    def less(self) -> str:
        """What it does less than modelproxy."""
        here = self.fills.get("less", "")
        return ", ".join(part for part in (self.program.less, here) if part and part != "—") or "—"

    @property
    def fills(self) -> Mapping[str, str]:
        """What the flavour fills in."""
        return {**self.program.usual, **self.program.flavours[self.flavour]}


SAME_NAME = ("split", "mirror", "TLS", "chat")
"""Flavours that all rows of a cell share."""

MIRRORED = "[{model: shadow, percent: 100}]"

DIRECT = Program("no proxy", "", less="everything", is_sticky=False, flavours={"split": {}})

BACKEND = Program(
    "backend", "nginx", "backend.conf", ("-p", "@directory", "-c", "@config"), flavours={"split": {}}
)

MODELPROXY = Program(
    "modelproxy",
    "python",
    "modelproxy.yaml",
    ("-m", "proxy", "serve", "@config"),
    usual={
        "workers": "1",
        "tls": "{}",
        "canary": "weight: 5",
        "mirrors": "[]",
        "compare": "classification",
        "log": "{}",
    },
    flavours={
        "split": {},
        "log 5 %": {"log": "{percent: 5}"},
        "mirror": {"mirrors": MIRRORED, "compare": "none"},
        "mirror and compare": {"mirrors": MIRRORED},
        "everything": {
            "mirrors": MIRRORED,
            "log": "{percent: 5}",
            "canary": "rollout: {steps: [5, 100], hold: 12h}",
        },
        "TLS": {"tls": "{certificate: @directory/server.pem, key: @directory/server.key}"},
        "chat": {},
        "1 worker": {},
        "2 workers": {"workers": "2"},
        "no shadow": {},
        "dead shadow": {"mirrors": MIRRORED, "shadow": "@dead"},
        "shadow of 10 s": {"mirrors": MIRRORED, "shadow": "@slow"},
        "shadow of 100 MiB": {"mirrors": MIRRORED, "shadow": "@flood"},
        "observer idle": {"mirrors": MIRRORED, "compare": "exact"},
        "observer saturated": {
            "mirrors": MIRRORED,
            # One element is named, so the 1,200 of an answer are looked at one by one.
            "compare": "json, ignore: [/**/nothing, /outputs/*/none, /outputs/*/data/0]",
        },
    },
)
HAPROXY = Program(
    "HAProxy",
    "haproxy",
    "haproxy.cfg",
    ("-db", "-f", "@config"),
    less="no latency histogram",
    usual={"secured": "", "threads": "1"},
    flavours={
        "split": {},
        "TLS": {"secured": "ssl crt @directory/both.pem"},
        "1 worker": {},
        "2 workers": {"threads": "2"},
    },
)
NGINX = Program(
    "nginx",
    "nginx",
    "nginx.conf",
    ("-p", "@directory", "-c", "@config"),
    less="no metrics at all, request bodies whole in memory",
    usual={"mirror": "", "secured": "", "certificate": ""},
    flavours={
        "split": {},
        "mirror": {"mirror": "mirror /shadow;", "less": "no comparison"},
        "TLS": {
            "secured": "ssl",
            "certificate": "ssl_certificate @directory/both.pem; ssl_certificate_key @directory/server.key;",
        },
    },
)
ENVOY = Program(
    "Envoy",
    "envoy",
    "envoy.yaml",
    ("-c", "@config", "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"),
    usual={"mirror": "[]", "transport": "name: plain"},
    flavours={
        "split": {},
        "mirror": {"mirror": "[{cluster: shadow}]", "less": "no comparison"},
        "TLS": {
            "transport": "transport_socket: {name: envoy.transport_sockets.tls, typed_config: "
            '{"@@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, '
            "common_tls_context: {tls_certificates: [{certificate_chain: {filename: @directory/server.pem}, "
            "private_key: {filename: @directory/server.key}}]}}}"
        },
    },
)
TRAEFIK = Program(
    "Traefik",
    "traefik",
    "traefik.yaml",
    (
        "--entryPoints.clients.address=127.0.0.1:@listen",
        "--entryPoints.admin.address=127.0.0.1:@admin",
        "--providers.file.filename=@config",
        "--metrics.prometheus=true",
        "--metrics.prometheus.entryPoint=admin",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--log.level=ERROR",
    ),
    less="no stickiness by header, no request id",
    is_sticky=False,
    usual={"service": "split", "secured": ""},
    flavours={
        "split": {},
        "mirror": {"service": "mirrored", "less": "no comparison"},
        "TLS": {"secured": "tls: {}"},
    },
    environ={"GOMAXPROCS": "1"},
)
AIOHTTP = Program(
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
        "@option",
    ),
    less="no metrics, no request id, no limits, whole bodies in memory",
    usual={"option": "--shadow="},
    flavours={
        "split": {},
        "mirror": {"option": "--shadow=http://127.0.0.1:@shadow", "less": "no comparison"},
        "TLS": {"option": "--certificate=@directory/both.pem"},
    },
)
LITELLM = Program(
    "LiteLLM",
    "litellm",
    "litellm.yaml",
    (
        "--config",
        "@config",
        "--host",
        "127.0.0.1",
        "--port",
        "@listen",
        "--num_workers",
        "1",
        "--telemetry",
        "False",
    ),
    less="no stickiness by header, no mirror",
    is_sticky=False,
    flavours={"chat": {}},
    environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
)

PROGRAMS = {
    program.name: program
    for program in (DIRECT, MODELPROXY, HAPROXY, NGINX, ENVOY, TRAEFIK, AIOHTTP, LITELLM)
}


def start_command(entrant: Entrant, tools: Tools, directory: Path, ports: Mapping[str, int]) -> list[str]:
    """Write the entrant's configuration into ``directory`` and return the command that starts it."""
    program = entrant.program
    values: dict[str, object] = {
        **ports,
        **{f"answer_{version}": answer for version, answer in enumerate(ANSWERS, start=1)},
        "chat_answer": CHAT_ANSWER,
        "directory": directory,
        "config": directory / program.config,
    }
    # What a flavour fills in may name ports and folders itself.
    values |= {name: Filled(text).substitute(values) for name, text in entrant.fills.items()}
    if program.config:
        template = Filled((PEERS / program.config).read_text(encoding="utf-8"))
        (directory / program.config).write_text(template.substitute(values), encoding="utf-8")
    path = sys.executable if program.tool == "python" else tools[program.tool]
    return [path, *(Filled(argument).substitute(values) for argument in program.command)]
