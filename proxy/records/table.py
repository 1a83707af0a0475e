"""Records as views of DuckDB: one set of columns, whatever the files are and however old.

``records`` has a line for each record, ``rows`` one for each row that was compared and told in it, ``labels`` one for
each row of a request that a true answer came for. Files may hold records, labels or both: ``kind`` tells them apart.

Pure: names of files → SQL. Lines are read with a type that is spelt out, never guessed from the first of them, so a
column has its type also where no record has a value. What a file lacks is null.

Two sinks write the same records, each into a directory of its own, and replicas write different ones. So where files
lie in several directories, or one twice in one, compressed and not, a record that is in more than one file is taken
from the first of them alone. That costs reading them twice, so in all other cases it is not asked.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from proxy.records.columns import COLUMNS, LISTS, ROWS, Column
from proxy.records.label import KIND, KIND_COLUMN, LABEL_COLUMNS

__all__ = [
    "COLUMN_TYPES",
    "LABELS",
    "LABEL_TYPES",
    "ROW_TYPES",
    "VIEW",
    "VIEW_OF_ROWS",
    "WEIGHT",
    "parquet_scan",
    "quoted",
    "view_of_lines",
    "view_of_parquet",
]

VIEW: Final = "records"
VIEW_OF_ROWS: Final = "rows"
LABELS: Final = "labels"
"""The view of what true answers came for."""
WEIGHT: Final = "weight"
"""Column that is not in the files: for how many requests a record stands, ``1 / inclusion_probability``."""

_FILE: Final = "modelproxy_file"
"""Column of the views' sources: which file a row is from."""

_KEY: Final = "concat_ws('|', ts, route, request_id)"
"""What tells records apart, with the microsecond; never null."""

_TYPES: Final = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP",
    "list of text": "VARCHAR[]",
    "map of numbers": "MAP(VARCHAR, DOUBLE)",
    "map of text": "MAP(VARCHAR, VARCHAR)",
    "object": "JSON",
}
"""Kind of a column → its type. Times are UTC."""


def quoted(text: str) -> str:
    """Return ``text`` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _struct(columns: Sequence[Column]) -> str:
    return f"STRUCT({', '.join(f'{_named(column.name)} {_TYPES[column.kind]}' for column in columns)})"


COLUMN_TYPES: Final = {
    **{column.name: _TYPES[column.kind] for column in COLUMNS},
    **{name: f"{_struct(columns)}[]" for name, columns in LISTS.items()},
    WEIGHT: "DOUBLE",
}
"""Every column of the view with its type, in its order."""

ROW_TYPES: Final = {
    **{column.name: _TYPES[column.kind] for column in LISTS[ROWS]},
    **{name: kind for name, kind in COLUMN_TYPES.items() if name not in LISTS},
}
"""Likewise of the view of rows: what it says of the row, and all that the record says of the request."""

_WEIGHT: Final = f"CAST(1.0 / inclusion_probability AS DOUBLE) AS {WEIGHT}"


_ROWS_VIEW: Final = (
    f"CREATE VIEW {VIEW_OF_ROWS} AS SELECT r.*, records_of.* EXCLUDE ({', '.join(map(_named, LISTS))}, r) "
    f"FROM (SELECT *, unnest({_named(ROWS)}) AS r FROM {VIEW}) AS records_of"
)
"""One line for each row that was compared; names of ours alone come into it."""


def _tree(columns: Sequence[Column]) -> dict[str, Any]:
    """Return the types of ``columns`` by the keys of their paths."""
    root: dict[str, Any] = {}
    for column in columns:
        place = root
        for key in column.path[:-1]:
            place = place.setdefault(key, {})
        place[column.path[-1]] = _TYPES[column.kind]
    return root


def _type_of(tree: dict[str, Any] | str) -> str:
    if isinstance(tree, str):
        return tree
    return f"STRUCT({', '.join(f'{_named(key)} {_type_of(inner)}' for key, inner in tree.items())})"


def _access(root: str, path: Sequence[str]) -> str:
    return ".".join((*([root] if root else []), *map(_named, path)))


LABEL_TYPES: Final = {
    column.name: _TYPES[column.kind]
    for column in LABEL_COLUMNS
    if column.name in ("route", "request_id", "row", "label", "ts")
}
"""Every column of the view of labels with its type."""


def _labels_view(source: str) -> str:
    """Return what makes the view out of a row for each label: of several the first counts, as it does in the proxy."""
    return (
        f"CREATE VIEW {LABELS} AS SELECT route, request_id, row, arg_min(label, ts) AS label, min(ts) AS ts "
        f"FROM ({source}) WHERE label IS NOT NULL GROUP BY route, request_id, row"
    )


_LABELS_OF_LINES: Final = _labels_view(
    "SELECT route, request_id, ts, unnest(range(len(labels))) AS row, unnest(labels) ->> '$' AS label "
    f"FROM lines WHERE {KIND_COLUMN} = {quoted(KIND)}"
)

_NO_LABELS: Final = (
    f"CREATE VIEW {LABELS} AS SELECT '' AS route, '' AS request_id, 0::BIGINT AS row, '' AS label, "
    "TIMESTAMP 'epoch' AS ts WHERE false"
)


def view_of_lines(files: Sequence[str]) -> str:
    """Return the statements that make the views over files of lines; ``.gz`` and ``.zst`` are undone by their names.

    A line that cannot be read is a row of nulls in ``lines``, which the view leaves out.
    """
    types = {key: _type_of(inner) for key, inner in _tree(COLUMNS).items()}
    types |= {KIND_COLUMN: "VARCHAR", "labels": "JSON[]"}
    for name, inner in LISTS.items():
        types[name] = f"{_type_of(_tree(inner))}[]"
    columns = ", ".join(f"{_named(key)}: {quoted(kind)}" for key, kind in types.items())
    listed = ", ".join(map(quoted, files))
    is_record = f"{KIND_COLUMN} IS NULL AND request_id IS NOT NULL"
    selected = [f"{_access('', column.path)} AS {_named(column.name)}" for column in COLUMNS]
    for name, inner in LISTS.items():
        fields = ", ".join(f"{_named(column.name)} := {_access('s', column.path)}" for column in inner)
        selected.append(f"list_transform({_named(name)}, lambda s: struct_pack({fields})) AS {_named(name)}")
    # What comes into it are names of files, as literals, and names of ours.
    return (
        f"CREATE VIEW lines AS SELECT * FROM read_json([{listed}], format='newline_delimited', "
        f"columns={{{columns}}}, ignore_errors=true, maximum_object_size=1073741824, filename={quoted(_FILE)}); "
        f"CREATE VIEW {VIEW} AS SELECT *, {_WEIGHT} FROM "
        f"(SELECT {', '.join(selected)} FROM lines WHERE {is_record}{_once(files, 'lines', is_record)}); "
        f"{_ROWS_VIEW}; {_LABELS_OF_LINES}"
    )


def _once(files: Sequence[str], source: str, condition: str) -> str:
    """Return what more must hold of a row of ``source``, so that each record is there once."""
    stems = {file.partition(".jsonl")[0] for file in files}
    if len({_place_of(file) for file in files}) < 2 and len(stems) == len(files):
        return ""
    first = f"SELECT {_KEY}, min({_FILE}) FROM {source} WHERE {condition} GROUP BY ALL"
    return f" AND ({_KEY}, {_FILE}) IN ({first})"


def _place_of(file: str) -> str:
    """Return the directory of a sink that a file is of: above those of Hive's partitions, which are ``name=value``."""
    parts = file.split("/")[:-1]
    while parts and "=" in parts[-1]:
        parts.pop()
    return "/".join(parts)


def view_of_parquet(files: Sequence[str], present: Collection[str]) -> str:
    """Return the statements that make the views over Parquet files.

    Args:
        files: their paths, with Hive's partitions in them.
        present: names of the columns that any of them has.
    """
    scan, has_labels = f"(FROM {parquet_scan(files, _FILE)})", KIND_COLUMN in present
    selected = [_cast(name, kind, present) for name, kind in COLUMN_TYPES.items() if name != WEIGHT]
    is_record = f"{KIND_COLUMN} IS NULL" if has_labels else "true"
    records = f"SELECT {', '.join(selected)} FROM {scan} WHERE {is_record}{_once(files, scan, is_record)}"
    labels = _NO_LABELS
    if has_labels:
        selected = [_cast(name, kind, present) for name, kind in LABEL_TYPES.items()]
        labels = _labels_view(
            f"SELECT {', '.join(selected)} FROM {scan} WHERE {KIND_COLUMN} = {quoted(KIND)}"
        )
    return f"CREATE VIEW {VIEW} AS SELECT *, {_WEIGHT} FROM ({records}); {_ROWS_VIEW}; {labels}"


def _cast(name: str, kind: str, present: Collection[str]) -> str:
    source = f"make_timestamp(epoch_us({_named(name)}))" if kind == "TIMESTAMP" else _named(name)
    return f"CAST({source if name in present else 'NULL'} AS {kind}) AS {_named(name)}"


def parquet_scan(files: Sequence[str], file_column: str | None = None) -> str:
    """Return what reads Parquet files, with the route out of their paths and columns matched by name.

    Args:
        files: their paths.
        file_column: of the path that a row is from; None: there is no such column.
    """
    listed = ", ".join(map(quoted, files))
    more = "" if file_column is None else f", filename={quoted(file_column)}"
    return f"read_parquet([{listed}], hive_partitioning=true, hive_types_autocast=false, union_by_name=true{more})"
