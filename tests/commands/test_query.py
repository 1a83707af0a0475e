"""``modelproxy query``: answers, forms, refusals, and that it reads what it was given and nothing else."""

import ast
import csv
import gzip
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from click.testing import CliRunner, Result

from proxy.commands import query as query_module
from proxy.commands.query import SHOWN_ROWS
from proxy.commands.query import query as command
from proxy.commands.query_output import COUNTED_ROWS
from proxy.records import table
from proxy.sinks.parquet import ParquetWriter
from proxy.sinks.rolling import FileLimits
from proxy.sinks.sink import Entry
from tests.sinks.lines import entry_of, record_of

README = (Path(__file__).parents[2] / "README.md").read_text()
FIRST = "select variant, count(*) as n, sum(weight) as w from records group by 1 order by 1"


ROWS = [
    {
        "shadow": "wine-v4",
        "row": 1,
        "agrees": False,
        "reason": "label",
        "primary_label": "1",
        "shadow_label": "2",
    },
    {"shadow": "wine-v4", "row": 0, "agrees": True, "primary_label": "1", "shadow_label": "1"},
]
AGREES = {
    "status": 200, "fault": None, "duration_ms": 1.0,
    "comparison": {
        "result": "agree", "distance": 0.0, "reason": None, "method": "json", "rows": 1, "rows_disagreeing": 0,
    },
}  # fmt: skip


def line(number: int, **changes: Any) -> bytes:
    return orjson.dumps(record_of(request_id=f"req-{number}", **changes)) + b"\n"


@pytest.fixture(name="log")
def fixture_log(tmp_path: Path) -> Path:
    """A log of lines and of frames: three of v1, two of v2, of which one failed, and half a line."""
    log = tmp_path / "payloads"
    log.mkdir()
    champions = [
        line(number, variant="v1", unit=f"u{number}", rows=ROWS, rows_omitted=0) for number in range(3)
    ]
    (log / "payloads-1.jsonl").write_bytes(b"".join(champions) + b'{"half')
    frames = [zstd.compress(line(3, noise=AGREES)), zstd.compress(line(4, response={"status": 503}))]
    (log / "payloads-2.jsonl.zst").write_bytes(b"".join(frames))
    return log


def ask(sql: str, log: Path | None, *options: str) -> Result:
    places = [] if log is None else ["--log", str(log)]
    return CliRunner().invoke(command, [sql, *places, *options])


COPIES = {
    "lines of two sinks": lambda log: zstd_copy(log, log.parent / "second"),
    "a file beside what it was made of": lambda log: gzip_copy(log / "payloads-1.jsonl"),
    "Parquet of two sinks": lambda log: parquet_copies(log),
}


def zstd_copy(log: Path, to: Path) -> Path:
    """Write the records of ``log`` as another sink would."""
    to.mkdir()
    (to / "payloads-9.jsonl.zst").write_bytes(zstd.compress(b"".join(line(number) for number in range(5))))
    return log.parent


def gzip_copy(path: Path) -> Path:
    """Compress a file, and leave it there."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    return path.parent


def parquet_copies(log: Path) -> Path:
    """Write records by two Parquet sinks."""
    for name in ("a", "b"):
        writer = ParquetWriter(FileLimits(log.parent / "columns" / name, 1 << 20, 1 << 60, 1 << 30))
        writer.write(
            [Entry(line(number, variant="v1" if number < 3 else "v2"), (0, 0, 0)) for number in range(5)]
        )
        writer.close()
    return log.parent / "columns"


@pytest.mark.parametrize("name", COPIES)
def test_a_record_counts_once(log: Path, name: str) -> None:
    """Whatever files it is in: two sinks write the same ones into directories of their own."""
    result = ask(
        "select count(*) as n, count(distinct request_id) as d from records", COPIES[name](log), "--json"
    )
    assert orjson.loads(result.stdout) == [{"n": 5, "d": 5}]


def test_a_wrong_question_reads_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a column that there is not is told so at once, and not after a log of a week was looked through."""
    monkeypatch.setattr(table, "survey_of_lines", lambda _: "select error('looked through')")
    assert "looked through" in ask("select status from records", log).stderr
    refused = ask("select statuus from records", log)
    assert (refused.exit_code, "looked through" in refused.stderr) == (1, False)
    assert 'column "statuus" not found' in refused.stderr


def test_a_table(log: Path) -> None:
    """For people there is a table; what could not be read is said on standard error."""
    result = ask(FIRST, log)
    assert result.exit_code == 0
    assert re.search(r"variant\s+n\s+w\s+─+\s+v1\s+3\s+6.0\s+v2\s+2\s+4.0", result.stdout)
    assert result.stderr == "1 line could not be read: left out\n"


def test_json(log: Path) -> None:
    """For programs there is JSON, times and lists included."""
    result = ask(
        "select ts, kept_by, shadows[1] as s, 2::hugeint ** 70 as h from records limit 1", log, "--json"
    )
    (row,) = orjson.loads(result.stdout)
    assert (row["ts"], row["kept_by"], row["s"]["reason"]) == (
        "2026-11-21T04:05:20.111541",
        ["sample"],
        "label",
    )
    assert float(row["h"]) == 2.0**70


def test_csv(log: Path) -> None:
    """CSV has a header, and quotes what must be quoted."""
    result = ask("select 'a,\"b' as x, null as y", log, "--csv")
    assert list(csv.reader(io.StringIO(result.stdout))) == [["x", "y"], ['a,"b', ""]]


def test_long_tables_are_cut(log: Path) -> None:
    """A table shows so many rows and says how many there are; JSON has all."""
    sql = "select * from range(1000)"
    result = ask(sql, log)
    assert f"{SHOWN_ROWS} of 1000 rows; --limit 0 shows all" in result.stderr
    assert result.stdout.count("\n") < SHOWN_ROWS + 10
    assert "999" in ask(sql, log, "--limit", "0").stdout
    assert len(orjson.loads(ask(sql, log, "--json").stdout)) == 1000


def test_wide_tables_are_shown_one_value_below_the_other(log: Path) -> None:
    """What has more columns than a screen has room for is shown row by row, without what is null."""
    found = ask("select * from records order by request_id limit 2", log).stdout
    first, second = found.split("\n\n")
    assert re.search(r"^row 1\n  schema +2$.*^  request_id +req-0$", first, re.MULTILINE | re.DOTALL)
    assert second.startswith("row 2\n")
    assert "\n  fault " not in found
    assert ask("select * from records where false", log).stdout.startswith("no rows of schema, ts, ")


def test_rows_are_not_all_in_memory(log: Path) -> None:
    """A result of any length is counted so far, and written batch by batch."""
    result = ask("select * from range(3_000_000)", log)
    assert f"{SHOWN_ROWS} of more than {COUNTED_ROWS} rows" in result.stderr
    written = ask("select range as a, 2 as a from range(25_000)", log, "--json").stdout
    assert orjson.loads(written) == [{"a": number, "a_1": 2} for number in range(25_000)]
    assert ask("select 1 where false", log, "--json").stdout == "[]\n"
    assert ask("select * from range(25_000)", log, "--csv").stdout.split() == [
        "range",
        *map(str, range(25_000)),
    ]


def test_values_in_csv(log: Path) -> None:
    """What is no text or number is JSON there."""
    result = ask("select true as a, [1, null] as b, {'c': 'd'} as e, null as f", log, "--csv")
    assert list(csv.reader(io.StringIO(result.stdout)))[1] == ["true", "[1,null]", '{"c":"d"}', ""]


def test_times_are_utc(log: Path) -> None:
    """A time with a zone can be shown, and compared with those of records, wherever the machine is."""
    at = orjson.loads(ask("select max(ts) as at from records", log, "--json").stdout)[0]["at"]
    sql = f"select timestamptz '{at}+00' as at, count(*) as n from records where ts >= timestamptz '{at}+00'"  # noqa: S608
    command = [sys.executable, "-m", "proxy", "query", "--log", str(log), "--json", sql]
    environment = {**os.environ, "TZ": "America/New_York"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert orjson.loads(done.stdout) == [{"at": f"{at}+00:00", "n": 5}]


def test_ctrl_c_is_no_trace(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who interrupts a question is told that it was, and no more."""

    class Interrupted:
        extract_statements = staticmethod(duckdb.extract_statements)

        def sql(self, sql: str) -> None:
            raise RuntimeError("Query interrupted")

    monkeypatch.setattr(query_module, "_connect", lambda *_: (Interrupted(), ""))
    result = ask("select 1", log)
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (1, "", "Aborted!")


def test_what_a_body_holds_does_not_reach_the_terminal(log: Path) -> None:
    """A value is shown as text, whatever it would do to a terminal, and not at any length."""
    result = ask("select chr(27) || '[2J' as a, repeat('x', 1000) as b", log)
    assert "\x1b" not in result.stdout
    assert 0 < result.stdout.count("x") < 1000


REFUSED = {
    "not SQL": ("selekt 1", "syntax error"),
    "no such column": ("select nothing from records", '"nothing" not found'),
    "two statements": ("select 1; select 2", "one SELECT is taken"),
    "nothing": ("", "one SELECT is taken"),
    "a write": ("copy (select 1) to '{log}/x.csv'", "one SELECT is taken"),
    "another database": ("attach '{log}/x.db'", "one SELECT is taken"),
    "a setting": ("set enable_external_access = true", "one SELECT is taken"),
    "an extension": ("install httpfs", "one SELECT is taken"),
    "a drop": ("drop view records", "one SELECT is taken"),
    "another file": ("select * from read_text('/etc/hostname')", "Permission Error"),
    "a file beside": ("select * from read_text('{log}/../beside.txt')", "Permission Error"),
    "the network": ("select * from read_csv('http://127.0.0.1:1/x.csv')", "Error"),
    "a variable of ours": ("select * from places", "Catalog Error"),
}


@pytest.mark.parametrize(("sql", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(sql: str, why: str, log: Path) -> None:
    """What is no question to the records is refused with a reason and code 1, and does nothing."""
    (log.parent / "beside.txt").write_text("hunter2")
    before = sorted(log.parent.rglob("*"))
    result = ask(sql.format(log=log), log)
    assert result.exit_code == 1
    assert why in result.stderr
    assert "hunter2" not in result.output
    assert sorted(log.parent.rglob("*")) == before


def test_logs_that_cannot_be_asked(tmp_path: Path, log: Path) -> None:
    """Without records, and with two kinds of files at once, it says what to do."""
    assert "no such file or directory" in ask(FIRST, tmp_path / "none").stderr
    (tmp_path / "empty").mkdir()
    assert "no records there" in ask(FIRST, tmp_path / "empty").stderr
    (log / "a.parquet").touch()
    result = ask(FIRST, log)
    assert result.exit_code == 1
    assert "perhaps of the same records" in result.stderr


def test_without_the_library(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DuckDB is not installed it says how to."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    result = ask(FIRST, log)
    assert (result.exit_code, "pip install 'modelproxy[query]'" in result.stderr) == (1, True)


def test_usage(log: Path) -> None:
    """Wrong usage is code 2."""
    assert CliRunner().invoke(command, []).exit_code == 2
    assert ask(FIRST, log, "--json", "--csv").exit_code == 2


def test_columns() -> None:
    """What the view has is shown without a log."""
    result = CliRunner().invoke(command, ["--columns", "--json"])
    columns = {row["name"]: row for row in orjson.loads(result.stdout)}
    assert {row["view"] for row in orjson.loads(result.stdout)} == {"records", "rows", "labels"}
    assert columns["weight"]["type"] == "DOUBLE"
    assert all(row["meaning"] for row in columns.values())
    shown = CliRunner().invoke(command, ["--columns"]).stdout
    assert "inclusion_probability" in shown
    assert "primary_label" in shown


EXAMPLES = re.findall(r"```sql\n(.*?)```", README, re.S)


@pytest.mark.parametrize("sql", EXAMPLES)
def test_the_examples_of_the_readme(sql: str, log: Path) -> None:
    """Each example can be asked as it stands."""
    label = {"schema": 2, "kind": "label", "ts": "2026-11-21T05:00:00Z", "route": "wine", "labels": [1]}
    labels = [orjson.dumps({**label, "request_id": f"req-{number}"}) for number in range(5)]
    (log / "labels.jsonl").write_bytes(b"\n".join(labels))
    result = ask(sql, log, "--json")
    assert result.exit_code == 0, result.stderr
    assert orjson.loads(result.stdout)


def test_the_weights_of_the_readme(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example in Python runs as it stands, over records of old versions too; each share lies in its interval."""
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", README, re.S) if "weighting_of" in each)
    old = {key: value for key, value in record_of(request_id="old").items() if key != "budget_probability"}
    (log / "old.jsonl").write_bytes(orjson.dumps(old) + b"\n")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    exec(code.replace("modelproxy-state/payloads", str(log)), {})  # noqa: S102
    said = [line.split(" ", 2) for line in capsys.readouterr().out.splitlines()]
    shares = {variant: (float(share), ast.literal_eval(interval)) for variant, share, interval in said}
    assert {variant: share for variant, (share, _) in shares.items()} == {
        "v1": 0.0,
        "v2": pytest.approx(1 / 3),
    }
    assert all(low <= share <= high < 1 for share, (low, high) in shares.values())


def test_labels(log: Path) -> None:
    """The README's example counts rows by what both answers call them."""
    (sql,) = (each for each in EXAMPLES if "of_all" in each)
    assert orjson.loads(ask(sql, log, "--json").stdout) == [
        {"shadow": "wine-v4", "primary_label": "1", "shadow_label": other, "rows": 3, "of_all": 6}
        for other in "12"
    ]


@pytest.mark.parametrize("is_parquet", [False, True], ids=["lines", "Parquet"])
def test_true_answers(log: Path, tmp_path: Path, *, is_parquet: bool) -> None:
    """The README's example says of each model how often it was right, in the rows that got a label."""
    (sql,) = (each for each in EXAMPLES if "join labels" in each)
    label = {"schema": 2, "kind": "label", "ts": "2026-11-21T05:00:00Z", "route": "wine"}
    lines = [
        {**label, "request_id": "req-0", "labels": [1, 1]},
        {**label, "request_id": "req-1", "labels": [None, 2]},
    ]
    if is_parquet:
        records = [orjson.loads(line(n, variant="v1", rows=ROWS, rows_omitted=0)) for n in range(2)]
        log = tmp_path / "parquet"
        writer = ParquetWriter(FileLimits(log, 1 << 20, 1 << 60, 1 << 30))
        writer.write([Entry(orjson.dumps(each), (0, 0, 0)) for each in (*records, *lines)])
        writer.close()
    else:
        (log / "labels.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    (found,) = orjson.loads(ask(sql, log, "--json").stdout)
    assert (found["variant"], found["shadow"], found["rows"]) == ("v1", "wine-v4", 3)
    assert (found["accuracy"], found["of_shadow"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_true_answers_are_weighted(tmp_path: Path) -> None:
    """The README's example counts a row as often as its record stands for, and no row of a record that lacks some."""
    (sql,) = (each for each in EXAMPLES if "join labels" in each)
    told: list[dict[str, Any]] = [
        {"inclusion_probability": 0.1, "rows_omitted": 0},
        {"inclusion_probability": 1.0, "rows_omitted": 0},
        {"inclusion_probability": 1.0, "rows_omitted": 7},
    ]
    label = {"schema": 2, "kind": "label", "ts": "2026-11-21T05:00:00Z", "route": "wine"}
    truths = ("1", "2", "2")
    lines = [line(n, variant="v1", rows=ROWS[1:], **each) for n, each in enumerate(told)]
    lines += [
        orjson.dumps({**label, "request_id": f"req-{n}", "labels": [truth]}) + b"\n"
        for n, truth in enumerate(truths)
    ]
    (tmp_path / "payloads.jsonl").write_bytes(b"".join(lines))
    (found,) = orjson.loads(ask(sql, tmp_path, "--json").stdout)
    assert (found["rows"], found["accuracy"]) == (2, pytest.approx(10 / 11))


def test_excess_disagreement(log: Path) -> None:
    """The README's example counts what has three answers: here one request of weight 2, in which only the shadow
    differs.
    """
    (sql,) = (each for each in EXAMPLES if "excess_disagreement" in each)
    (row,) = orjson.loads(ask(sql, log, "--json").stdout)
    assert row == {"model": "wine-v4", "only_shadow": 2, "only_champion": 0, "excess_disagreement": 1}


def parquet_bytes(tmp_path: Path, *numbers: int) -> bytes:
    """Return a Parquet file with these records."""
    writer = ParquetWriter(FileLimits(tmp_path / "made", 1 << 20, 1 << 60, 1 << 30))
    writer.write([entry_of(number) for number in numbers])
    writer.close()
    (path,) = (tmp_path / "made").rglob("*.parquet")
    data = path.read_bytes()
    path.unlink()
    return data


BROKEN: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a frame that is damaged": (".jsonl.zst", lambda data: data + b"rest", "damaged zstd"),
    "gzip that ends too early": (".jsonl.gz", lambda data: data[:-9], "damaged gzip"),
    "no footer": (".parquet", lambda data: data[:-9], "damaged Parquet"),
    "nothing": (".parquet", lambda _: b"", "damaged Parquet"),
}


@pytest.mark.parametrize(("suffix", "breaks", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_costs_itself_alone(
    suffix: str, breaks: Callable[[bytes], bytes], why: str, tmp_path: Path
) -> None:
    """A file that cannot be read is named and left out, and the others answer; a refused question reads no file."""
    log = tmp_path / "log"
    log.mkdir()
    whole = {
        ".jsonl.zst": zstd.compress(line(1)),
        ".jsonl.gz": gzip.compress(line(1)),
        ".parquet": parquet_bytes(tmp_path, 1),
    }[suffix]
    (log / f"payloads-1{suffix}").write_bytes(whole)
    broken = log / f"payloads-2{suffix}"
    broken.write_bytes(breaks(whole))
    result = ask("select count(*) as n from records", log, "--csv")
    assert (result.exit_code, result.stdout.split()) == (0, ["n", "1"])
    assert result.stderr == f"{broken.resolve()}: {why}; the file is left out\n"
    (log / f"payloads-1{suffix}").unlink()
    alone = ask("select 1 from records", log)
    assert (alone.exit_code, alone.stderr.splitlines()[-1]) == (1, f"{log}: no records that can be read")


def test_files_of_others(tmp_path: Path) -> None:
    """A Parquet file without records is named and left out; a directory with the name of a file is none."""
    log = tmp_path / "log"
    (log / "x.parquet").mkdir(parents=True)
    (log / "route=wine").mkdir()
    (log / "route=wine" / "payloads-1.parquet").write_bytes(parquet_bytes(tmp_path, 1, 2))
    pq.write_table(pa.table({"a": [1]}), log / "other.parquet")
    result = ask("select route, count(*) as n from records group by 1", log, "--csv")
    assert (result.exit_code, result.stdout.split()) == (0, ["route,n", "wine,2"])
    assert "other.parquet: no payload records; the file is left out" in result.stderr


def test_a_name_that_is_a_pattern(tmp_path: Path) -> None:
    """DuckDB would read every file that matches, some of them twice: such a name is refused."""
    for name in ("p*.jsonl", "p1.jsonl"):
        (tmp_path / name).write_bytes(line(1))
    result = ask("select 1 from records", tmp_path)
    assert (result.exit_code, "rename it" in result.stderr) == (1, True)
