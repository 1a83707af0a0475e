"""Where records go: one entry for each place, of a kind that says which other keys it may have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, SecretStr
from pydantic.config import JsonDict

from proxy.settings import grammar, units
from proxy.settings.fields import REQUIRED, RESTART, Section, setting
from proxy.settings.grammar import duration, size, text
from proxy.settings.kinds import HeaderName, Name

__all__ = [
    "COMMON_KEYS",
    "COMPRESSIONS",
    "DIRECTORIES",
    "KEYS",
    "LIBRARIES",
    "REQUIRED_KEYS",
    "InnerDirectory",
    "PayloadSink",
]

Kind = Literal["jsonl", "cloudevents", "otlp"]
Compression = Literal["none", "zstd"]
Mode = Literal["binary", "structured", "batch"]

InnerDirectory = Annotated[
    Path, text(units.parse_inner_path, "a relative path that stays inside state_dir", pattern=r"[^/].*")
]

COMMON_KEYS: Final = frozenset({"kind", "name", "queue"})
"""What every kind may have."""

KEYS: Final[dict[str, frozenset[str]]] = {
    "jsonl": frozenset({"dir", "compression"}),
    "cloudevents": frozenset({"url", "headers", "timeout", "mode", "source"}),
    "otlp": frozenset({"url", "headers", "timeout"}),
}
"""Kind → what else it may have."""

REQUIRED_KEYS: Final[dict[str, tuple[str, ...]]] = {"jsonl": (), "cloudevents": ("url",), "otlp": ("url",)}
"""Kind → what it must have."""

COMPRESSIONS: Final[dict[str, tuple[str, ...]]] = {"jsonl": ("none", "zstd")}
"""Kind → compressions that it knows, its default first."""

DIRECTORIES: Final[dict[str, str]] = {"jsonl": "payloads"}
"""Kind that writes files → its directory unless said otherwise, inside state_dir."""

LIBRARIES: Final[dict[str, tuple[str, str]]] = {}
"""Kind → module that it needs, and the extra that installs it."""


def _kind_rule(kind: str) -> JsonDict:
    """Return what an editor checks of one kind: no key of another one, and none of its own forgotten."""
    others = frozenset().union(*KEYS.values()) - KEYS[kind]
    allowed: JsonDict = {name: {"type": "null"} for name in sorted(others)}
    if kind in COMPRESSIONS:
        allowed["compression"] = {"enum": [*COMPRESSIONS[kind], None]}
    then: JsonDict = {
        "properties": {**allowed, **{name: {"not": {"type": "null"}} for name in REQUIRED_KEYS[kind]}}
    }
    if REQUIRED_KEYS[kind]:
        then["required"] = list(REQUIRED_KEYS[kind])
    return {"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": then}


class PayloadSink(Section):
    """One place that records go to."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_kind_rule(kind) for kind in KEYS]})

    kind: Annotated[Kind, grammar.choice(Kind)] = setting(
        REQUIRED,
        "jsonl: files of JSON lines; cloudevents: events over HTTP, in the words of KServe's logger; otlp: log records "
        "over HTTP to an OpenTelemetry collector.",
        RESTART,
    )
    name: Name | None = setting(
        None, "What metrics, status and log call it; null: its kind. Two of a kind need names.", RESTART
    )
    queue: Annotated[int, size("64KiB", "16GiB")] | None = setting(
        None, "Memory for records that wait for this sink; null: payload_log.queue.", RESTART
    )
    dir: InnerDirectory | None = setting(
        None,
        "jsonl: directory of the files: relative to state_dir, and inside it; null: payload_log.dir, else payloads.",
        RESTART,
    )
    compression: Annotated[Compression, grammar.choice(Compression)] | None = setting(
        None, "jsonl: none or zstd, which writes .jsonl.zst; null: none.", RESTART
    )
    url: Annotated[SecretStr, grammar.hidden_url()] | None = setting(
        None,
        "cloudevents, otlp: where to; http:// or https://. Its path and query are not shown again. For otlp a URL "
        "without a path is a collector's base, and /v1/logs is added.",
        RESTART,
    )
    headers: Mapping[HeaderName, Annotated[SecretStr, grammar.hidden_text()]] | None = setting(
        None,
        "cloudevents, otlp: further headers, such as authorization; their values are not shown. null: none.",
        RESTART,
        max_length=32,
    )
    timeout: Annotated[int, duration("100ms", "5m")] | None = setting(
        None,
        "cloudevents, otlp: from opening the connection to the whole answer, of one attempt; null: 10s.",
        RESTART,
    )
    mode: Annotated[Mode, grammar.choice(Mode)] | None = setting(
        None,
        "cloudevents: binary: attributes are headers, as KServe's logger does; structured: an event is a JSON object; "
        "batch: a JSON array of many; null: binary.",
        RESTART,
    )
    source: (
        Annotated[str, text(units.parse_source, "a URI reference", pattern=r"[!-~]+", longest=256)] | None
    ) = setting(
        None,
        "cloudevents: beginning of every event's source, before the route's name; null: /modelproxy.",
        RESTART,
    )

    @property
    def label(self) -> str:
        """What metrics, status and log call it."""
        return self.name or self.kind
