"""What speaks of the call is found by its name, or by how it looks; what may be the answer is left."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.identities import find_identities

UUID = "9f1c6b9e-3f5e-4a8b-8f55-0d3b1f1f6d2a"

CASES: dict[str, tuple[Any, Any, list[str]]] = {
    "names of the call": (
        {"request_id": 1, "traceId": "x", "x-request-id": "y", "ResponseId": "z", "y": 1},
        {},
        ["/ResponseId", "/request_id", "/traceId", "/x-request-id"],
    ),
    "times and durations": (
        {"created": 1, "createdAt": 2, "processing_time_ms": 3, "y": 1},
        {},
        ["/created", "/createdAt", "/processing_time_ms"],
    ),
    "who answered": ({"model_version": "3", "hostname": "a", "y": 1}, {}, ["/hostname", "/model_version"]),
    "a UUID": ({"id": UUID, "y": 1}, {"id": UUID.upper()}, ["/id"]),
    "a word and letters": (
        {"id": "rerank-0a1b2c3d4e5f", "model": "m", "y": 1},
        {"id": "rerank-f5e4d3c2b1a0"},
        ["/id", "/model"],
    ),
    "an id of a product": ({"id": "B07XJ8C8F5", "y": 1}, {"id": "B07XJ8C8F6"}, []),
    "an id that is a number": ({"id": 123456789012345, "y": 1}, {"id": 1}, []),
    "an id of digits": ({"id": "4006381333931", "y": 1}, {"id": "4006381333932"}, []),
    "an id of words": ({"id": "dog-golden-retriever", "y": 1}, {"id": "cat-egyptian-mau"}, []),
    "an id on one side": ({"id": UUID, "y": 1}, {}, []),
    "a model that is no model": ({"model": "Golf", "y": 1}, {"model": "Polo"}, []),
    "what was predicted": ({"latency_ms": 3.5}, {"latency_ms": 4.5}, []),
    "what was predicted, in an envelope": ({"meta": {"puid": "a"}, "latency_ms": 3.5}, {}, []),
    "an envelope": ({"meta": {"puid": "a", "tags": {}}, "y": 1}, {"meta": {"puid": "b"}}, ["/meta/puid"]),
    "rows": (
        {"predictions": [{"detection_id": "a", "x": 1}, {"detection_id": "b", "x": 1}]},
        {},
        ["/predictions/*/detection_id"],
    ),
    "rows alone": ([{"id": UUID, "y": 1}], [{"id": UUID}], ["/*/id"]),
    "rows of times": ([{"timestamp": 1, "y": 1}], [{"timestamp": 2}], []),
    "rows of nothing else": ([{"prediction_id": 1}], [], []),
    "no object": (3, {}, []),
    "no rows": ([], [], []),
}


@pytest.mark.parametrize("name", CASES)
def test_identities(name: str) -> None:
    """Pointers to what is left out."""
    document, other, expected = CASES[name]
    assert list(find_identities(document, other)) == expected


values = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from([UUID, "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "request_id", "meta", "results", "model", "y"]), inner)
    ),
    max_leaves=9,
)


@given(values, values)
def test_some_of_a_document_is_always_left(document: Any, other: Any) -> None:
    """Whatever the documents, no exception; and of an object that holds something, something is compared."""
    found = find_identities(document, other)
    assert not isinstance(document, dict) or not document or not {f"/{key}" for key in document} <= set(found)
