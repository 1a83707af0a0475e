"""Records as views of DuckDB: one set of columns, whatever the files are and however old.

``records`` has a line for each record, ``rows`` one for each row that was compared and told in it, ``labels`` one for
each row of a request that a true answer came for. Files may hold records, labels or both: ``kind`` tells them apart.

Pure: names of files → SQL. Lines are read with a type that is spelt out, never guessed from the first of them, so a
column has its type also where no record has a value. What a file lacks is null.

Two sinks write the same records, each into a directory of its own, and replicas write different ones. So where files
lie in several directories, or one twice in one, compressed and not, a record that is in more than one file is taken
from the first of them alone. Which those are is found out before the question, in a survey that counts unreadable lines
as well: each file is read once for it, and once for each view that the question names.
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
    "survey_of_lines",
    "survey_of_parquet",
    "unreadable_lines",
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

_SEEN: Final = "CREATE TABLE seen (seen_record VARCHAR, seen_first VARCHAR, seen_times BIGINT)"
"""What a survey finds: each record that is in several files, by its key, with the first of them; and for null how many
lines cannot be read."""

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


_LINE_IS_RECORD: Final = f"{KIND_COLUMN} IS NULL AND request_id IS NOT NULL"


def view_of_lines(files: Sequence[str]) -> str:
    """Return the statements that make the views over files of lines; ``.gz`` and ``.zst`` are undone by their names.

    A line that cannot be read is a row of nulls in ``lines``, which the view leaves out. The survey has to be made
    before the views are asked.
    """
    types = {key: _type_of(inner) for key, inner in _tree(COLUMNS).items()}
    types |= {KIND_COLUMN: "VARCHAR", "labels": "JSON[]"}
    for name, inner in LISTS.items():
        types[name] = f"{_type_of(_tree(inner))}[]"
    columns = ", ".join(f"{_named(key)}: {quoted(kind)}" for key, kind in types.items())
    listed = ", ".join(map(quoted, files))
    selected = [f"{_access('', column.path)} AS {_named(column.name)}" for column in COLUMNS]
    for name, inner in LISTS.items():
        fields = ", ".join(f"{_named(column.name)} := {_access('s', column.path)}" for column in inner)
        selected.append(f"list_transform({_named(name)}, lambda s: struct_pack({fields})) AS {_named(name)}")
    # What comes into it are names of files, as literals, and names of ours.
    return (
        f"CREATE VIEW lines AS SELECT * FROM read_json([{listed}], format='newline_delimited', "
        f"columns={{{columns}}}, ignore_errors=true, maximum_object_size=1073741824, filename={quoted(_FILE)}); "
        f"{_SEEN}; CREATE VIEW {VIEW} AS SELECT *, {_WEIGHT} FROM "
        f"(SELECT {', '.join(selected)} FROM lines{_once(files)} WHERE {_LINE_IS_RECORD}); "
        f"{_ROWS_VIEW}; {_LABELS_OF_LINES}"
    )


def survey_of_lines(files: Sequence[str]) -> str:
    """Return the statement that finds out what the view of records and :func:`unreadable_lines` have to know."""
    unreadable = "SELECT NULL, NULL, count(*) FROM lines WHERE request_id IS NULL"
    if not _may_repeat(files):
        return f"INSERT INTO seen {unreadable}"
    key = f"CASE WHEN request_id IS NOT NULL THEN {_KEY} END"
    return (
        f"INSERT INTO seen SELECT {key} AS record, min({_FILE}), count(*) FROM lines "
        f"WHERE request_id IS NULL OR {_LINE_IS_RECORD} GROUP BY record "
        f"HAVING record IS NULL OR min({_FILE}) <> max({_FILE})"
    )


def survey_of_parquet(files: Sequence[str], present: Collection[str]) -> str:
    """Return the statement that finds out what the view of records has to know; empty: there is nothing to find out."""
    if not _may_repeat(files):
        return ""
    return (
        f"INSERT INTO seen SELECT {_KEY} AS record, min({_FILE}), count(*) FROM {_scan(files)} "
        f"WHERE {_row_is_record(present)} GROUP BY record HAVING min({_FILE}) <> max({_FILE})"
    )


def unreadable_lines() -> str:
    """Return what tells, after the survey, how many lines cannot be read."""
    return "SELECT coalesce(sum(seen_times), 0)::BIGINT FROM seen WHERE seen_record IS NULL"


def _once(files: Sequence[str]) -> str:
    """Return what leaves out the records that came from an earlier file."""
    return f" ANTI JOIN seen ON seen_record = {_KEY} AND seen_first <> {_FILE}" if _may_repeat(files) else ""


def _may_repeat(files: Sequence[str]) -> bool:
    """Tell whether a record may be in several of ``files``: they are of several sinks, or one file is there twice."""
    stems = {file.partition(".jsonl")[0] for file in files}
    return len({_place_of(file) for file in files}) > 1 or len(stems) < len(files)


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
    scan, has_labels = _scan(files), KIND_COLUMN in present
    selected = [_cast(name, kind, present) for name, kind in COLUMN_TYPES.items() if name != WEIGHT]
    records = f"SELECT {', '.join(selected)} FROM {scan}{_once(files)} WHERE {_row_is_record(present)}"
    labels = _NO_LABELS
    if has_labels:
        selected = [_cast(name, kind, present) for name, kind in LABEL_TYPES.items()]
        labels = _labels_view(
            f"SELECT {', '.join(selected)} FROM {scan} WHERE {KIND_COLUMN} = {quoted(KIND)}"
        )
    return f"{_SEEN}; CREATE VIEW {VIEW} AS SELECT *, {_WEIGHT} FROM ({records}); {_ROWS_VIEW}; {labels}"


def _row_is_record(present: Collection[str]) -> str:
    return f"{KIND_COLUMN} IS NULL" if KIND_COLUMN in present else "true"


def _scan(files: Sequence[str]) -> str:
    return f"(FROM {parquet_scan(files, _FILE)})"


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
