"""Kinds of values that several sections have."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from proxy.settings import grammar, units
from proxy.settings.grammar import text

__all__ = [
    "Attribute",
    "File",
    "HeaderName",
    "Label",
    "Name",
    "Percent",
    "Pointer",
    "Salt",
    "Source",
    "TensorName",
]

Name = Annotated[
    str,
    text(
        units.parse_name,
        "letters, digits, '.', '_' and '-', 1 to 63 characters",
        pattern=units.NAME_PATTERN,
    ),
]
Salt = Annotated[str, text(str, "1 to 256 characters", longest=256)]
Pointer = Annotated[
    str, text(units.parse_pointer, "a JSON pointer (RFC 6901)", pattern=units.POINTER_PATTERN)
]
HeaderName = Annotated[
    str, text(units.parse_header_name, "a header name (RFC 9110 token)", pattern=units.TOKEN_PATTERN)
]
Percent = Annotated[Decimal, grammar.percent()]
File = Annotated[Path, text(units.parse_path, "a path")]
Source = Annotated[
    units.UnitSource,
    text(
        units.parse_unit_source,
        "header:NAME, cookie:NAME, query:NAME, json:/POINTER, client_ip",
        pattern=units.SOURCE_PATTERN,
    ),
]
Label = Annotated[str, text(units.parse_label, "a JSON pointer, or a tensor's name")]
Attribute = Annotated[
    units.UnitSource,
    text(
        units.parse_attribute,
        "header:NAME, cookie:NAME, query:NAME, json:/POINTER",
        pattern=units.ATTRIBUTE_PATTERN,
    ),
]
TensorName = Annotated[str, text(str, "1 to 256 characters", longest=256)]
