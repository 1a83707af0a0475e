"""Which changes a running proxy cannot take up."""

from collections.abc import Iterator

from pydantic import SecretStr

from proxy.settings.fields import RESTART, Section, reload_of
from proxy.settings.schema import Settings

__all__ = ["restart_needed"]


def restart_needed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return a sentence for each changed field that only a restart takes up; empty when a reload is enough.

    Whether a field needs a restart stands beside the field itself (``x-reload`` in the JSON Schema).
    """
    return tuple(_sentences(old, new, ""))


def _sentences(old: Section, new: Section, prefix: str) -> Iterator[str]:
    for name, field in type(old).model_fields.items():
        before, after, path = getattr(old, name), getattr(new, name), f"{prefix}{field.alias or name}"
        if isinstance(before, Section) and isinstance(after, Section):
            yield from _sentences(before, after, f"{path}.")
        elif before != after and reload_of(field) == RESTART:
            secret = isinstance(before, SecretStr) or isinstance(after, SecretStr)
            change = "changed" if secret else f"changed from {_shown(old, name)} to {_shown(new, name)}"
            yield f"{path}: {change}; needs a restart"


def _shown(section: Section, name: str) -> object:
    """Return the value in the words of the file, without keys of it that say nothing."""
    return section.model_dump(mode="json", include={name}, exclude_none=True).get(name, "nothing")
