"""Where records go: one entry for each place, of a kind that says which other keys it may have."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ConfigDict
from pydantic.config import JsonDict

from proxy.settings import grammar, units
from proxy.settings.fields import REQUIRED, RESTART, Section, setting
from proxy.settings.grammar import size, text
from proxy.settings.kinds import Name

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

Kind = Literal["jsonl"]
Compression = Literal["none", "zstd"]

InnerDirectory = Annotated[
    Path, text(units.parse_inner_path, "a relative path that stays inside state_dir", pattern=r"[^/].*")
]

COMMON_KEYS: Final = frozenset({"kind", "name", "queue"})
"""What every kind may have."""

KEYS: Final[dict[str, frozenset[str]]] = {"jsonl": frozenset({"dir", "compression"})}
"""Kind → what else it may have."""

REQUIRED_KEYS: Final[dict[str, tuple[str, ...]]] = {"jsonl": ()}
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
        "jsonl: files of JSON lines.",
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

    @property
    def label(self) -> str:
        """What metrics, status and log call it."""
        return self.name or self.kind
