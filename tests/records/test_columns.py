"""Columns follow from the fields, and no name that users ask by ever changes."""

from collections import Counter

from proxy.records.columns import COLUMNS, LISTS, ROWS, SHADOW_COLUMNS, value_at
from proxy.records.schema import leaves

PROMISED = {
    "schema": "integer", "ts": "time", "request_id": "text", "route": "text", "table_version": "integer",
    "config_version": "integer", "unit": "text", "unit_source": "text", "variant": "text", "role": "text",
    "model": "text", "served_by": "text", "probability": "number", "inclusion_probability": "number",
    "kept_by": "list of text", "budget_probability": "number", "method": "text", "path": "text",
    "request_content_type": "text", "request_size": "integer", "request_body": "text",
    "request_encoding": "text", "request_truncated": "boolean", "request_headers": "object",
    "status": "integer", "response_content_type": "text", "response_size": "integer", "response_body": "text",
    "response_encoding": "text", "response_truncated": "boolean", "response_headers": "object",
    "ttfb_ms": "number", "duration_ms": "number", "prompt_tokens": "integer", "completion_tokens": "integer",
    "pace_time_to_first_token_ms": "number", "fault": "text", "trace_id": "text", "span_id": "text",
    "slices": "map of text", "noise_status": "integer", "noise_fault": "text", "noise_duration_ms": "number",
    "noise_result": "text", "noise_distance": "number", "noise_reason": "text", "noise_rows": "integer",
    "rows_omitted": "integer",
    "noise_rows_disagreeing": "integer", "noise_scores": "map of numbers", "noise_fields": "list of text",
}  # fmt: skip
PROMISED_OF_SHADOWS = {
    "model": "text", "status": "integer", "fault": "text", "duration_ms": "number", "content_type": "text",
    "size": "integer", "body": "text", "encoding": "text", "truncated": "boolean", "result": "text",
    "distance": "number", "reason": "text", "method": "text", "rows": "integer", "rows_disagreeing": "integer",
    "pace_tokens_per_second": "number", "scores": "map of numbers", "fields": "list of text",
}  # fmt: skip


PROMISED_OF_ROWS = {
    "shadow": "text", "row": "integer", "agrees": "boolean", "reason": "text", "distance": "number",
    "primary_label": "text", "primary_number": "number", "primary_score": "number", "shadow_label": "text",
    "shadow_number": "number", "shadow_score": "number",
}  # fmt: skip


def test_names_and_kinds_that_users_ask_by() -> None:
    """A column that was there once stays, with its name and its kind."""
    assert {column.name: column.kind for column in COLUMNS}.items() >= PROMISED.items()
    assert {column.name: column.kind for column in SHADOW_COLUMNS}.items() >= PROMISED_OF_SHADOWS.items()
    assert {column.name: column.kind for column in LISTS[ROWS]}.items() >= PROMISED_OF_ROWS.items()


def test_every_field_is_a_column() -> None:
    """Nothing of a record is left out, and no two fields have one name."""
    assert len(COLUMNS) + sum(map(len, LISTS.values())) == len(leaves())
    for columns in (COLUMNS, *LISTS.values()):
        assert max(Counter(column.name for column in columns).values()) == 1
    # A line of the view of rows has both.
    both = Counter(column.name for column in (*COLUMNS, *LISTS[ROWS]))
    assert max(both.values()) == 1
    assert not set(LISTS) & both.keys()


def test_values() -> None:
    """A value is found wherever it stands, and what is not there is null."""
    record = {"a": 1, "b": {"c": {"d": 0}, "e": None}}
    assert value_at(("a",))(record) == 1
    assert value_at(("b", "c", "d"))(record) == 0
    for path in (("x",), ("b", "x"), ("b", "e", "f"), ("x", "y", "z")):
        assert value_at(path)(record) is None
