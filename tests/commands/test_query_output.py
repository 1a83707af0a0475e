"""What a query found, as it is written."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.commands.query_output import first_page, unlike, write_csv, write_json

ROWS = [(1, "a"), (2, None), (3, "c"), (4, "d"), (5, "e")]


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_batches_do_not_show(size: int) -> None:
    """What is written does not depend on how the rows came."""
    batches = [ROWS[at : at + size] for at in range(0, len(ROWS), size)]
    as_json, as_csv = io.BytesIO(b"earlier, and longer than what follows it" * 9), io.BytesIO(b"earlier")
    write_json(as_json, ["n", "x"], iter(batches))
    write_csv(as_csv, ["n", "x"], iter(batches))
    assert orjson.loads(as_json.getvalue()) == [{"n": n, "x": x} for n, x in ROWS]
    assert list(csv.reader(io.StringIO(as_csv.getvalue().decode(), newline=""))) == [
        ["n", "x"],
        *([str(n), x or ""] for n, x in ROWS),
    ]
    page = first_page(2, ["n", "x"], iter(batches))
    assert (page.rows, page.total) == (ROWS[:2], 5)


VALUES: dict[str, tuple[Any, Any, str]] = {
    "a truth": (True, True, "true"),
    "nothing": (None, None, ""),
    "a list": ([1, None, {"a": b"\1"}], [1, None, {"a": "01"}], '[1,null,{"a":"01"}]'),
    "a whole number that JSON's readers round": (1 << 70, str(1 << 70), str(1 << 70)),
    "a decimal": (Decimal("1.5"), 1.5, "1.5"),
    "a while": (timedelta(seconds=90), "0:01:30", "0:01:30"),
    "no number": (float("nan"), None, "nan"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    """Each value has a form in JSON and one in CSV."""
    value, in_json, in_csv = VALUES[name]
    as_json, as_csv = io.BytesIO(), io.BytesIO()
    write_json(as_json, ["v"], iter([[(value,)]]))
    write_csv(as_csv, ["v", "w"], iter([[(value, 1)]]))
    assert orjson.loads(as_json.getvalue()) == [{"v": in_json}]
    assert list(csv.reader(io.StringIO(as_csv.getvalue().decode())))[1] == [in_csv, "1"]


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "b", ""])))
def test_names_are_unlike(names: list[str]) -> None:
    """Every column has a name of its own, the first of each name that one."""
    found = unlike(names)
    assert len(set(found)) == len(found) == len(names)
    assert all(found[names.index(name)] == name for name in set(names) if name not in ("a_1", "a_2"))
