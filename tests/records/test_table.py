"""The view of DuckDB: the same for lines and for Parquet files, of every version."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from proxy.records.columns import COLUMNS
from proxy.records.table import (
    COLUMN_TYPES,
    LABEL_TYPES,
    ROW_TYPES,
    parquet_scan,
    quoted,
    survey_of_lines,
    survey_of_parquet,
    unreadable_lines,
    view_of_lines,
    view_of_parquet,
)
from proxy.sinks.parquet import ParquetWriter
from proxy.sinks.rolling import FileLimits
from proxy.sinks.sink import Entry
from tests.sinks.lines import LABEL, RECORD, record_of

COMPARED = {
    "result": "disagree",
    "distance": 0.25,
    "reason": "text",
    "scores": {"chrf": 75.0, "token_f1": 0.5},
}
NEW = record_of(
    response={"headers": {"a": "b"}},
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    of_tomorrow={"x": 1},
    slices={"tier": "gold", "lang": "none"},
    shadows=[{**RECORD["shadows"][0], "comparison": COMPARED}],
    rows=[
        {
            "shadow": "wine-v4",
            "row": 1,
            "agrees": False,
            "reason": "label",
            "primary_label": "a",
            "shadow_label": "b",
        },
        {
            "shadow": "wine-v4",
            "row": 0,
            "agrees": True,
            "distance": 0.5,
            "primary_number": 2,
            "shadow_number": 2.5,
        },
    ],
    rows_omitted=3,
    noise={"status": 200, "fault": None, "duration_ms": 1.0, "comparison": {**COMPARED, "fields": ["/a/*"]}},
)
OLD = {
    name: value for name, value in record_of(request_id="old").items() if name not in ("schema", "kept_by")
}
RECORDS = (RECORD, NEW, OLD)


def lines(directory: Path, records: Sequence[Any] = RECORDS) -> duckdb.DuckDBPyConnection:
    path = directory / "it's.jsonl"
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    connection = duckdb.connect(":memory:")
    connection.execute(view_of_lines([str(path)]))
    return connection


def parquet(directory: Path, records: Sequence[Any] = RECORDS) -> duckdb.DuckDBPyConnection:
    writer = ParquetWriter(FileLimits(directory / "it's", 1 << 20, 1 << 60, 1 << 30))
    writer.write([Entry(orjson.dumps(record), (0, 0, 0)) for record in records])
    assert len(writer.close().written) == len(records)
    files = [str(path) for path in (directory / "it's").rglob("*.parquet")]
    connection = duckdb.connect(":memory:")
    present = {row[0] for row in connection.execute("describe from " + parquet_scan(files)).fetchall()}
    connection.execute(view_of_parquet(files, present))
    return connection


KINDS = pytest.mark.parametrize("connect", [lines, parquet])


@KINDS
def test_columns_and_types(connect: Any, tmp_path: Path) -> None:
    """The view has the documented columns with their types, in their order."""
    described = connect(tmp_path).execute("describe records").fetchall()
    assert {row[0]: row[1].replace('"', "") for row in described} == {
        name: kind.replace('"', "") for name, kind in COLUMN_TYPES.items()
    }
    assert [row[0] for row in described] == list(COLUMN_TYPES)
    assert set(COLUMN_TYPES) == {column.name for column in COLUMNS} | {"shadows", "rows", "weight"}


@KINDS
def test_rows(connect: Any, tmp_path: Path) -> None:
    """The view of rows has a line for each compared row, with what the record says of its request."""
    connection = connect(tmp_path)
    described = connection.execute("describe rows").fetchall()
    assert {row[0]: row[1].replace('"', "") for row in described} == ROW_TYPES
    assert [row[0] for row in described] == list(ROW_TYPES)
    found = connection.execute(
        "select row, agrees, reason, primary_label, shadow_label, shadow_number, distance, variant, weight, "
        "slices['tier'], rows_omitted from rows order by row"
    ).fetchall()
    request = ("v2", 2.0, "gold", 3)
    assert found == [
        (0, True, None, None, None, 2.5, 0.5, *request), (1, False, "label", "a", "b", None, None, *request),
    ]  # fmt: skip
    pairs = "select primary_label, shadow_label, count(*) from rows group by all order by all"
    assert connection.execute(pairs).fetchall() == [("a", "b", 1), (None, None, 1)]


def test_both_say_the_same(tmp_path: Path) -> None:
    """Every value of every record is the same, read from lines and from Parquet files."""
    query = "select * from records order by request_id, trace_id"
    from_lines, from_parquet = (connect(tmp_path).execute(query).fetchall() for connect in (lines, parquet))
    assert from_lines == from_parquet
    assert len(from_lines) == len(RECORDS)


@KINDS
def test_values(connect: Any, tmp_path: Path) -> None:
    """What was written comes back; what an older record lacks is null."""
    connection = connect(tmp_path)
    (row,) = connection.execute(
        "select weight, status, kept_by, shadows[1].result, shadows[1].distance, response_headers ->> '$.a', "
        "ts = timestamp '2026-11-21 04:05:20.111541', route from records where trace_id is not null"
    ).fetchall()
    assert row == (2.0, 200, ["sample"], "disagree", 0.25, "b", True, "wine")
    (row,) = connection.execute(
        "select slices['tier'], slices['other'], shadows[1].scores['chrf'], noise_reason, noise_scores['token_f1'], "
        "noise_fields from records where slices is not null"
    ).fetchall()
    assert row == ("gold", None, 75.0, "text", 0.5, ["/a/*"])
    assert connection.execute(
        "select \"schema\", kept_by, variant from records where request_id = 'old'"
    ).fetchall() == [(None, None, "v2")]


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    """A file that is being written, or was cut, gives its whole lines; the others can be counted."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(orjson.dumps(RECORD) + b'\n{"schema": 2, "ts"')
    connection = duckdb.connect(":memory:")
    connection.execute(view_of_lines([str(path)]))
    assert connection.execute("select count(*) from records").fetchall() == [(1,)]
    connection.execute(survey_of_lines([str(path)]))
    assert connection.execute(unreadable_lines()).fetchall() == [(1,)]


APART = [record_of(request_id=f"q{number}") for number in range(3)]


def test_files_of_several_directories_are_read_once(tmp_path: Path) -> None:
    """A view reads each file once, whatever the survey found; of a record in two files it has the first."""
    files = []
    for name in ("a", "b"):
        files.append(str(tmp_path / name / "it's.jsonl"))
        (tmp_path / name).mkdir()
        lines(tmp_path / name, APART if name == "b" else APART[:1]).close()
    with Path(files[1]).open("ab") as file:
        file.write(b'{"half')
    connection = duckdb.connect(":memory:")
    connection.execute(view_of_lines(files))
    connection.execute(survey_of_lines(files))
    ids = connection.execute("select request_id from records").fetchall()
    assert sorted(ids) == [(record["request_id"],) for record in APART]
    assert connection.execute(unreadable_lines()).fetchall() == [(1,)]
    plan = str(connection.execute("explain select count(*) from rows").fetchall())
    assert plan.count("READ_JSON") == 1


def test_parquet_of_several_directories_is_read_once(tmp_path: Path) -> None:
    """Likewise of Parquet files."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        parquet(tmp_path / name, APART if name == "b" else APART[:1]).close()
    files = sorted(map(str, tmp_path.rglob("*.parquet")))
    connection = duckdb.connect(":memory:")
    present = {row[0] for row in connection.execute("describe from " + parquet_scan(files)).fetchall()}
    connection.execute(view_of_parquet(files, present))
    connection.execute(survey_of_parquet(files, present))
    ids = connection.execute("select request_id from records").fetchall()
    assert sorted(ids) == [(record["request_id"],) for record in APART]
    assert connection.execute(unreadable_lines()).fetchall() == [(0,)]
    plan = str(connection.execute("explain select count(*) from records").fetchall())
    assert plan.count("READ_PARQUET") == 1


def test_files_of_before_a_column(tmp_path: Path) -> None:
    """A Parquet file without a column gives null for it, of its type."""
    (tmp_path / "route=r").mkdir()
    path = tmp_path / "route=r" / "a.parquet"
    connection = duckdb.connect(":memory:")
    connection.execute(
        "copy (select 'x' as request_id, 0.5 as inclusion_probability, "
        f"[{{'model': 'm', 'result': 'agree'}}] as shadows) to {quoted(str(path))} (format parquet)"
    )
    connection.execute(
        view_of_parquet([str(path)], {"request_id", "inclusion_probability", "shadows", "route"})
    )
    query = "select route, weight, status, shadows[1].result, shadows[1].reason from records"
    assert connection.execute(query).fetchall() == [("r", 2.0, None, "agree", None)]


ANSWER = record_of(
    request_id="r1", response={"body": orjson.dumps({"outputs": [{"name": "y", "data": [3, 4]}]}).decode()}
)
TRUE = [
    {**LABEL, "ts": f"2026-11-21T04:05:2{i}Z", "request_id": "r1", "labels": each}
    for i, each in enumerate([[3, None], [9, "red"], [None, ["a", "b"]]])
]


@KINDS
def test_labels(connect: Any, tmp_path: Path) -> None:
    """True answers are a view of their own, a row for each row of a request, the first label of each; records are
    without them; they join."""
    connection = connect(tmp_path, (TRUE[1], ANSWER, TRUE[0], TRUE[2]))
    assert connection.execute("select request_id from records").fetchall() == [("r1",)]
    described = connection.execute("describe labels").fetchall()
    assert {row[0]: row[1] for row in described} == LABEL_TYPES
    found = connection.execute("select route, request_id, row, label, ts::text from labels order by row")
    assert found.fetchall() == [
        ("wine", "r1", 0, "3", "2026-11-21 04:05:20"), ("wine", "r1", 1, "red", "2026-11-21 04:05:21"),
    ]  # fmt: skip
    joined = connection.execute(
        "select variant, row, label = response_body ->> ('$.outputs[0].data[' || row || ']') "
        "from records join labels using (route, request_id) order by row"
    ).fetchall()
    assert joined == [("v2", 0, True), ("v2", 1, False)]


@KINDS
def test_labels_alone(connect: Any, tmp_path: Path) -> None:
    """Where there are labels and no records the view of records is empty."""
    connection = connect(tmp_path, (TRUE[0],))
    assert connection.execute("select count(*) from records").fetchall() == [(0,)]
    assert connection.execute("select route, label from labels").fetchall() == [("wine", "3")]


@KINDS
def test_without_labels(connect: Any, tmp_path: Path) -> None:
    """Where nobody said what is true the view is there, and empty."""
    assert connect(tmp_path).execute("select * from labels").fetchall() == []
