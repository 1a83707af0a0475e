"""Records and labels as tables: the documented columns, each kind in a directory of its own."""

import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from proxy.records.columns import COLUMNS, LISTS
from proxy.records.label import LABEL_COLUMNS
from proxy.records.reading import PayloadReader
from proxy.sinks.parquet_tables import LABEL_SCHEMA, LABELS, SCHEMA, label_table_of, partition_of, table_of
from proxy.sinks.retention import stamp_of
from proxy.sinks.sink import Entry
from tests.sinks.lines import LABEL, RECORD, entry_of, record_of
from tests.sinks.test_parquet import MINUTE_NS, NOW_NS, PARTITION, Bench

TOKEN = (0, 1, 99)


def label_of(*labels: Any, **changes: Any) -> Entry:
    return Entry(orjson.dumps({**LABEL, "labels": labels, **changes}) + b"\n", TOKEN)


def test_the_schema_is_documented() -> None:
    """Every column says what it means; the file says which version of the record it holds."""
    assert set(SCHEMA.names) == {column.name for column in COLUMNS} - {"route"} | {"shadows", "rows"}
    assert LABEL_SCHEMA.names == [column.name for column in LABEL_COLUMNS if column.name != "route"]
    for schema, columns in ((SCHEMA, COLUMNS), (LABEL_SCHEMA, LABEL_COLUMNS)):
        for column in columns:
            if column.name != "route":
                assert schema.field(column.name).metadata[b"meaning"].decode() == column.meaning
        assert schema.metadata[b"modelproxy.schema"] == b"2"
    for name, inner in LISTS.items():
        kind = SCHEMA.field(name).type.value_type
        assert [kind.field(i).metadata[b"meaning"].decode() for i in range(kind.num_fields)] == [
            column.meaning for column in inner
        ]


def test_partitions() -> None:
    """Route, day and hour of the request, or of the label."""
    assert partition_of(RECORD) == PARTITION
    assert partition_of(LABEL) == f"_labels/{PARTITION.replace('04', '05')}"


def test_versions_before() -> None:
    """A record of an older version has null where it has no field."""
    old = {
        name: value
        for name, value in record_of().items()
        if name not in ("schema", "kept_by", "budget_probability")
    }
    (row,) = table_of([old]).to_pylist()
    assert (row["schema"], row["kept_by"], row["variant"]) == (None, None, "v2")
    assert isinstance(table_of([]), pa.Table)


def test_a_row_for_each_label() -> None:
    """A line becomes as many rows as it has labels; each is text, as it is or as JSON."""
    found = label_table_of([{**LABEL, "labels": ["red", None, 7, 1.5, True, ["a", "b"]]}]).to_pylist()
    assert [(row["row"], row["label"]) for row in found] == [
        (0, "red"), (2, "7"), (3, "1.5"), (4, "true"), (5, '["a","b"]'),
    ]  # fmt: skip
    assert {(row["request_id"], row["kind"], row["redacted"]) for row in found} == {("req-1", "label", None)}
    hashed = {**LABEL, "labels": ["0f"], "redacted": True, "unit_key_id": "ab"}
    (row,) = label_table_of([hashed]).to_pylist()
    assert (row["label"], row["redacted"], row["unit_key_id"]) == ("0f", True, "ab")


def test_two_data_sets(tmp_path: Path) -> None:
    """The sink's directory is a data set of records alone, and the labels' directory one of labels; a line counts once,
    however many labels it has."""
    bench = Bench(tmp_path)
    bench.writer.write([entry_of(1), label_of(1, None, "x"), entry_of(2), label_of(2, route="beer")])
    result = bench.writer.close()
    assert (sorted(result.written), result.failed) == ([(0, 1, 1), (0, 1, 2), TOKEN, TOKEN], [])
    records = ds.dataset(tmp_path, partitioning="hive").to_table()
    assert records.column("request_id").to_pylist() == ["req-1", "req-2"]
    labels = ds.dataset(tmp_path / LABELS, partitioning="hive").to_table()
    found = [(row["route"], row["row"], row["label"], row["hour"]) for row in labels.to_pylist()]
    assert sorted(found) == [("beer", 0, "2", 5), ("wine", 0, "1", 5), ("wine", 2, "x", 5)]


def test_readers_of_records_pass_over_labels(tmp_path: Path) -> None:
    """They are neither records nor damage, also in a file in which somebody has put both."""
    bench = Bench(tmp_path)
    bench.writer.write([label_of(1, 2), entry_of(1)])
    bench.writer.close()
    reader = PayloadReader([tmp_path])
    assert [record.request_id for record in reader] == ["req-1"]
    assert (reader.reading.records, reader.reading.others, reader.reading.damaged) == (1, 2, 0)
    both = tmp_path / "both" / "route=wine"
    both.mkdir(parents=True)
    tables = [pq.ParquetFile(path).read() for path in bench.files()]
    pq.write_table(pa.concat_tables(tables, promote_options="default"), both / "a.parquet")
    reader = PayloadReader([both])
    assert [record.request_id for record in reader] == ["req-1"]
    assert (reader.reading.records, reader.reading.others, reader.reading.damaged) == (1, 2, 0)


@pytest.mark.parametrize(
    "line",
    [{**LABEL, "kind": "of tomorrow"}, {**LABEL, "labels": 7}, {**LABEL, "ts": None}, {"kind": "label"}],
    ids=["another kind", "no list", "no time", "nothing"],
)
def test_a_label_that_does_not_fit_fails_alone(tmp_path: Path, line: dict[str, Any]) -> None:
    """It is counted as failed, and the others are written."""
    bench = Bench(tmp_path)
    bench.writer.write([label_of(1), Entry(orjson.dumps(line), (0, 1, 5)), entry_of(1)])
    result = bench.writer.close()
    assert (sorted(result.written), result.failed) == ([(0, 1, 1), TOKEN], [(0, 1, 5)])
    assert len(bench.files()) == 2


def test_retention_of_both(tmp_path: Path) -> None:
    """Labels go by age and size as records do, together with them; what a killed process left is deleted."""
    bench = Bench(tmp_path, keep_age_ns=60 * MINUTE_NS)
    folder = tmp_path / LABELS / "route=wine/date=2025-10-09/hour=07"
    folder.mkdir(parents=True)
    old = folder / f"payloads-{stamp_of(NOW_NS - 61 * MINUTE_NS)}-000.parquet"
    left = folder / ".payloads-20251009T070000-000.parquet.tmp"
    for path in (old, left):
        path.touch()
        os.utime(path, ns=(0, NOW_NS))
    bench.writer.write([label_of(1), entry_of(1)])
    bench.later()
    assert not left.exists()
    assert not old.exists()
    assert len(bench.files()) == 2
    Bench(tmp_path, keep_size=1).writer.tick()
    assert bench.files() == []
