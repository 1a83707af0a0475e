"""The settings as one immutable value: what the whole file says.

Durations are integers in nanoseconds, sizes integers in bytes, percents exact decimals. The texts here are
what editors show.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import SecretStr

from proxy.settings import grammar, units
from proxy.settings.embedding import Embedder
from proxy.settings.fields import (
    NEXT_CONNECTION,
    NEXT_REQUEST,
    NOW,
    REQUIRED,
    RESTART,
    Section,
    section,
    setting,
)
from proxy.settings.grammar import duration, size, text, whole
from proxy.settings.kinds import File, Name
from proxy.settings.rollout import Webhook
from proxy.settings.sinks import InnerDirectory, PayloadSink
from proxy.settings.traffic import Model, Route

__all__ = ["Limits", "ObserverSettings", "PayloadLog", "Settings", "Timeouts", "Tls", "Tracing"]

_MAX_MODELS = 1000
_MAX_ROUTES = 1000
_MAX_SINKS = 8
_MAX_WEBHOOKS = 16

Directory = Annotated[Path, text(units.parse_path, "a path")]
ListenAddress = Annotated[units.Address, text(units.parse_address, "host:port, port 0 to 65535")]
CollectorUrl = Annotated[
    str, text(units.parse_collector_url, "an http:// or https:// URL", pattern=r"https?://[^?#@\s]+")
]
Networks = tuple[Annotated[str, text(units.parse_network, "IP addresses, or ranges such as 10.0.0.0/8")], ...]
Level = Literal["debug", "info", "warning", "error"]


class Tls(Section):
    """How connections from clients are secured."""

    certificate: File | None = setting(
        None,
        "PEM file with the server's certificate and its chain, the server's own first; null: plain HTTP.",
        NEXT_CONNECTION,
    )
    key: File | None = setting(
        None,
        "PEM file with the certificate's private key, without a passphrase; null: it stands in the same file.",
        NEXT_CONNECTION,
    )
    client_ca: File | None = setting(
        None,
        "PEM file with the certificates that vouch for clients: who brings none that they do is turned away; "
        "null: clients need none.",
        NEXT_CONNECTION,
    )
    min_version: Annotated[str, grammar.tls_version()] = setting(
        1.2, "Oldest version of TLS that is spoken.", NEXT_CONNECTION
    )


class Timeouts(Section):
    """How long clients may take, and how long stopping may take."""

    client_head: Annotated[int, duration("1ms", "1h")] = setting(
        "10s", "From a request's first byte to its head complete; else 408 and close."
    )
    client_body: Annotated[int, duration("1ms", "24h")] = setting(
        "30s",
        "Longest gap between two pieces of a request body; else 408 and close. A client that takes nothing of "
        "its answer for so long is cut off.",
    )
    keep_alive: Annotated[int, duration("1ms", "24h")] = setting(
        "75s", "An idle client connection is closed after this long."
    )
    tunnel: Annotated[int, duration("1ms", "168h")] = setting(
        "1h", "A tunnel (see upgrade) in which nothing moves for this long is cut.", NEXT_CONNECTION
    )
    drain: Annotated[int, duration("0s", "24h")] = setting(
        "30s", "How long requests under way may take to finish after SIGTERM.", NOW
    )
    upgrade: Annotated[int, duration("0s", "168h")] = setting(
        "10m",
        "How long requests under way in the processes before an upgrade (SIGUSR2) may take to finish.",
        NOW,
    )


class Limits(Section):
    """How much is accepted."""

    head: Annotated[int, size("1KiB", "1MiB")] = setting(
        "64KiB",
        "Longest head, start line included; a request with a longer one is answered 431.",
    )
    headers: Annotated[int, whole(8, 10_000)] = setting(
        128, "Most header lines of a head; a request with more is answered 431."
    )
    body: Annotated[int, size("1B", "1024GiB")] = setting(
        "256MiB",
        "Longest request body; a longer one is answered 413. Bodies are streamed, not held in memory.",
    )
    copy_: Annotated[int, size("1KiB", "1GiB")] = setting(
        "1MiB",
        "Longest body that is copied on the side where something needs it whole: a json: unit, a shadow, a "
        "comparison, a record. A longer one goes its way all the same; only the copy is given up and counted.",
        alias="copy",
    )
    in_flight: Annotated[int, whole(1, 1_000_000)] = setting(
        4096,
        "Most requests of one worker under way; further ones are answered 503. Beyond three quarters no copies are "
        "sent to shadows.",
    )
    connections: Annotated[int, whole(1, 1_000_000)] = setting(
        10_000,
        "Most client connections of one worker; further ones are answered 503 and closed.",
        NEXT_CONNECTION,
    )


class ObserverSettings(Section):
    """The process that compares, counts and logs. It may fall behind; clients do not notice."""

    queue: Annotated[int, size("64KiB", "16GiB")] = setting(
        "64MiB",
        "Memory for what workers left behind and the observer has not taken yet; when full, the newest is "
        "dropped and counted.",
        RESTART,
    )
    pair_timeout: Annotated[int, duration("1s", "1h")] = setting(
        "60s", "How long one answer waits for the other before the pair counts as not compared.", NOW
    )


class Tracing(Section):
    """OpenTelemetry spans."""

    otlp: CollectorUrl | None = setting(
        None,
        "Collector that takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; null: no spans. "
        "Credentials go into the environment variable OTEL_EXPORTER_OTLP_HEADERS.",
        RESTART,
    )
    percent: Annotated[Decimal, grammar.percent()] = setting(
        1, "Percent of requests that become a span; by the trace id, so that all services pick the same ones."
    )
    service_name: Annotated[str, text(str, "1 to 255 characters", longest=255)] = setting(
        "modelproxy", "Value of the resource attribute service.name.", RESTART
    )


class PayloadLog(Section):
    """Where sampled inputs and outputs are written. What is sampled, each route says under log."""

    sinks: tuple[PayloadSink, ...] = setting(
        [{"kind": "jsonl"}],
        "Where records go: each of them to every entry. The first is the one whose outcomes "
        "modelproxy_payload_records_total counts.",
        RESTART,
        min_length=1,
        max_length=_MAX_SINKS,
    )
    dir: InnerDirectory | None = setting(
        None,
        "Directory of the files of a sink of kind jsonl: relative to state_dir, and inside it; null: payloads. "
        "Another volume is mounted there.",
        RESTART,
    )
    roll_size: Annotated[int, size("1KiB", "1024GiB")] = setting(
        "64MiB", "A file is closed when it has reached this size.", NOW
    )
    roll_every: Annotated[int, duration("1s", "168h")] = setting(
        "1h", "A file is closed when it is this old.", NOW
    )
    keep_size: Annotated[int, size("1KiB", "16384GiB")] = setting(
        "1GiB", "The oldest closed files are removed when all files of a sink together are larger.", NOW
    )
    keep_age: Annotated[int, duration("1m", "87600h")] | None = setting(
        None, "Files that were begun longer ago are removed; null: none for its age.", NOW
    )
    queue: Annotated[int, size("64KiB", "16GiB")] = setting(
        "16MiB",
        "Memory for records that wait for a sink; when full, the newest is dropped and counted.",
        RESTART,
    )
    unit_key: Annotated[SecretStr, grammar.secret(16)] | None = setting(
        None,
        "Key of the hash that stands for a unit in a record; null: made once and kept in state_dir. Several "
        "proxies with one key write records that can be joined.",
        RESTART,
    )
    unit_key_every: Annotated[int, duration("1h", "87600h")] | None = setting(
        None,
        "Age at which the key that is kept in state_dir is replaced by a new one: what is written then cannot be "
        "joined with what was written before; null: never.",
        NOW,
    )
    unit_key_keep: Annotated[int, duration("0s", "87600h")] | None = setting(
        None,
        "How long a key that was replaced is kept in state_dir. Without it nobody can tell whose hash is whose; null: "
        "until somebody deletes it (modelproxy unit-keys --forget).",
        NOW,
    )


class Settings(Section):
    """Configuration of modelproxy."""

    listen: ListenAddress = setting(
        "127.0.0.1:8080", "Address for clients, who call it as if it were the model.", RESTART
    )
    admin: ListenAddress = setting(
        "127.0.0.1:9090", "Address for metrics, health, status and commands.", RESTART
    )
    admin_token: Annotated[SecretStr, grammar.secret(8)] | None = setting(
        None, "Bearer token for commands on the admin address; required when that is not loopback.", RESTART
    )
    workers: Annotated[int | Literal["auto"], grammar.whole_or("auto", 1, 1024)] = setting(
        1, "Processes that carry traffic; auto: one per usable core.", RESTART
    )
    state_dir: Directory = setting(
        "modelproxy-state",
        "Directory for the journal, the unit key and payload files, relative to the working directory. Nothing "
        "is written outside of it but counters in memory.",
        RESTART,
    )
    log_level: Annotated[Level, grammar.choice(Level)] = setting(
        "info", "Least severe message that is written to standard error.", NOW
    )
    trusted: Networks = setting(
        [],
        "Peers whose x-forwarded-* headers are believed. Who asks from one of these addresses (behind a trusted "
        "peer: who x-forwarded-for says asks) may force a variant by x-modelproxy-force.",
        NEXT_REQUEST,
        max_length=1024,
    )
    tls: Tls = section("How connections from clients are secured.")
    timeouts: Timeouts = section("How long clients may take, and how long stopping may take.")
    limits: Limits = section("How much is accepted.")
    observer: ObserverSettings = section("The process that compares, counts and logs.")
    tracing: Tracing = section("OpenTelemetry spans.")
    payload_log: PayloadLog = section("Where sampled inputs and outputs are written.")
    embedder: Embedder | None = setting(
        None, "Who is asked how far texts are apart in meaning, for routes with compare.embedder.", RESTART
    )
    webhooks: tuple[Webhook, ...] = setting(
        [], "Who is told when a rollout moves or stops.", NOW, max_length=_MAX_WEBHOOKS
    )
    models: Mapping[Name, Model] = setting(
        REQUIRED,
        "Where answers come from: a name for each model server.",
        min_length=1,
        max_length=_MAX_MODELS,
    )
    routes: tuple[Route, ...] = setting(
        REQUIRED,
        "Which requests go where. The first route that matches a request wins.",
        min_length=1,
        max_length=_MAX_ROUTES,
    )

    @property
    def payload_dir(self) -> Path:
        """The directory of the payload log."""
        return self.state_dir / (self.payload_log.dir or "payloads")

    @property
    def public(self) -> dict[str, Any]:
        """The settings as JSON can hold them, in the words of the file, with ``***`` for every secret."""
        return self.model_dump(mode="json", by_alias=True)
