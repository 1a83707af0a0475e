"""Labels in the payload log: lines beside the records of inferences, of a kind of their own.

``{"schema", "kind": "label", "ts", "request_id", "route", "labels"}``: the true answer of each row of the request
with this id, null where it is not known, and when it was accepted. Several lines may speak of one request: of each row
the first that is not null counts. ``redacted`` and ``unit_key_id`` are there where hashes stand for the labels.

Records of inferences have no ``kind``, or another: who reads one kind passes over the others.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["KIND", "is_other_kind"]

KIND: Final = "label"


def is_other_kind(document: Mapping[str, Any]) -> bool:
    """Tell whether a line is of another kind than the record of an inference."""
    return document.get("kind") is not None
