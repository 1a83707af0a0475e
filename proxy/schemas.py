"""JSON Schema: whether a document has the form that somebody asked for."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import orjson

__all__ = ["compile_schema", "fits"]

_REMOTE: Final = ("http", "https", "ftp", "file")


def fits(schema: str, document: Any) -> bool:
    """Whether ``document``, as a JSON parser gives it, is valid against ``schema`` (JSON text).

    One that is nested too deep to tell is not.
    """
    try:
        return compile_schema(schema)(document)
    except RecursionError:
        return False


@lru_cache(maxsize=64)
def compile_schema(schema: str) -> Callable[[Any], bool]:
    """Return what tells whether a document is valid. Cached: schemas come from the config.

    Drafts 4, 6 and 7 (the last where ``$schema`` says nothing); a ``$ref`` may only point into the schema itself.

    Raises:
        ValueError: it is no such schema.
    """
    # Imported where it is needed: few have a schema.
    import fastjsonschema

    def refuse(uri: str) -> Any:
        raise ValueError(f"a $ref may only point into the schema itself, not to {uri}")

    try:
        check = fastjsonschema.compile(
            orjson.loads(schema),
            handlers=dict.fromkeys(_REMOTE, refuse),
            use_default=False,
            detailed_exceptions=False,
        )
    except Exception as error:  # its generator trusts the schema and fails in many ways
        raise ValueError(f"a JSON Schema of draft 4, 6 or 7 ({error})") from None

    def is_valid(document: Any) -> bool:
        try:
            check(document)
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return is_valid
