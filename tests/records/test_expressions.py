"""Expressions over records: what JMESPath says of them, at a bounded cost."""

import time
import tracemalloc
from contextlib import suppress
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records import expressions
from proxy.records.expressions import BUDGET, BoundedExpression, DearError

RECORD: dict[str, Any] = {
    "body": "x" * 1000,
    "rows": [{"n": n, "label": f"l{n % 3}"} for n in range(100)],
    "response": {"status": 429, "headers": {"a": "b"}},
}
LONGEST = 1024
"""Characters that an expression may have in a configuration."""

PLAIN = (
    "response.status == `429` && rows[?n > `50`].label | [0]",
    "sort_by(rows, &label)[-1].n",
    "map(&join('-', [label, to_string(n)]), rows)",
    "{a: length(body), b: rows[*].n | sum(@), c: values(response.headers)}",
    "rows[::2][].n",
    "not_null(nothing, body) == body",
    "max_by(rows, &n).n > min_by(rows, &n).n",
    "!nothing || response.*",
)


@pytest.mark.parametrize("text", PLAIN)
def test_as_the_library_has_it(text: str) -> None:
    """Counting changes nothing of what comes out."""
    found = BoundedExpression(text)
    assert found.search(RECORD) == found.search(RECORD) == jmespath.search(text, RECORD)


def repeated(step: str, last: str = "@", first: str = "@", room: int = LONGEST) -> str:
    """Return an expression that takes ``step`` as often as there is room for."""
    count = (room - len(first) - len(last) - 2) // (len(step) + 1)
    return "|".join([first, *[step] * count, last])


TREE = repeated("[@,@]", room=500)

DEAR: dict[str, str] = {
    "a text that doubles": repeated("join('',[@,@])", first="body"),
    "a tree that doubles, written down": repeated("[@,@]", "to_string(@)"),
    "a tree that doubles, compared": f"[{TREE}]==[{TREE}]",
    "a tree that doubles, looked through": repeated("[@,@]", "contains(@,'x')"),
    "a list that doubles": repeated("[@,@][]", first="rows"),
    "objects that double": repeated("{a:@,b:@}", "to_string(@)"),
    "steps in steps": repeated("[*][*].[n,[n,n]]", first="[rows,rows,rows]"),
    "escapes that double": repeated("to_string([@])", first="body"),
    "one text many times": "[" + ",".join(["to_string(@)"] * 78) + "]",
    "comparisons of comparisons": "(" * 200 + "body==body" + "==body)" * 100 + ")" * 100,
}


@pytest.mark.parametrize("name", DEAR)
def test_the_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take for ever, or all memory, ends soon and small: with a value, or an error that says so."""
    # Memory that is traced takes its time.
    monkeypatch.setattr(expressions, "BUDGET", BUDGET >> 3)
    expression = BoundedExpression(DEAR[name])
    record = {**RECORD, "body": 'x"' * (1 << 16)}
    tracemalloc.start()
    began = time.process_time()
    with suppress(ValueError):
        expression.search(record)
    took = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 2.0
    assert peak < 16 * expressions.BUDGET


def test_what_is_dear_is_said() -> None:
    """The error does not quote the record."""
    with pytest.raises(DearError, match="costs too much") as caught:
        BoundedExpression(DEAR["a text that doubles"]).search(RECORD)
    assert "xx" not in str(caught.value)


def test_each_record_has_its_own_budget() -> None:
    """What one record has cost the next one does not pay."""
    expression = BoundedExpression("contains(body, 'yy')")
    large = {"body": "x" * (BUDGET * 3 // 4)}
    assert [expression.search(large) for _ in range(3)] == [False] * 3


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_document(document: Any) -> None:
    """Small documents are never too dear."""
    for text in ("to_string(@) == to_string(@)", "[@, @] == [@, @]", "length(to_array(@)) > `-1`"):
        assert BoundedExpression(text).search(document) == jmespath.search(text, document)
