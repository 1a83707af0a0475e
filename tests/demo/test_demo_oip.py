"""The Open Inference Protocol as values: what is refused, what is answered, what comes back."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo.models import ROLES
from proxy.demo.oip import (
    BadInputError,
    build_answer,
    build_metadata,
    build_question,
    parse_answer,
    parse_question,
)


def tensor(**changes: Any) -> dict[str, Any]:
    """A good input tensor with changes."""
    return {"name": "pixels", "datatype": "FP64", "shape": [1, 64], "data": [0.0] * 64, **changes}


def body(**changes: Any) -> bytes:
    """A good request body with changes."""
    return orjson.dumps({"inputs": [tensor()], **changes})


REFUSED: list[tuple[str, bytes, str]] = [
    ("not JSON", b"{", "not JSON"),
    ("not UTF-8", b'{"a": "\xff"}', "not JSON"),
    ("not an object", b"[]", "not a JSON object"),
    ("no inputs", b"{}", "inputs"),
    ("no tensor", body(inputs=[]), "inputs"),
    ("two tensors", body(inputs=[tensor(), tensor()]), "inputs"),
    ("a tensor that is no object", body(inputs=[3]), "inputs"),
    ("an id that is a number", body(id=3), "id: expected a string"),
    ("another name", body(inputs=[tensor(name="image")]), "expected 'pixels', got 'image'"),
    ("text", body(inputs=[tensor(datatype="BYTES")]), "datatype"),
    ("no datatype", body(inputs=[tensor(datatype=None)]), "datatype"),
    ("an unhashable datatype", body(inputs=[tensor(datatype=["FP64"])]), "datatype"),
    ("no shape", body(inputs=[tensor(shape=None)]), "shape"),
    ("one dimension", body(inputs=[tensor(shape=[64])]), "shape"),
    ("other features", body(inputs=[tensor(shape=[1, 63])]), "shape"),
    ("no rows", body(inputs=[tensor(shape=[0, 64])]), "shape"),
    ("too many rows", body(inputs=[tensor(shape=[257, 64])]), "shape"),
    ("a size that is a float", body(inputs=[tensor(shape=[1.0, 64])]), "shape"),
    ("a size that is true", body(inputs=[tensor(shape=[True, 64])]), "shape"),
    ("no data", body(inputs=[tensor(data=None)]), "data"),
    ("too few numbers", body(inputs=[tensor(data=[1.0] * 63)]), "expected 64 numbers"),
    ("numbers as text", body(inputs=[tensor(data=["1"] * 64)]), "expected numbers"),
    ("booleans", body(inputs=[tensor(data=[True] * 64)]), "expected numbers"),
    ("an object", body(inputs=[tensor(data={"a": 1})]), "data"),
    ("ragged rows", body(inputs=[tensor(shape=[2, 64], data=[[1.0] * 64, [1.0] * 63])]), "data"),
    ("a huge number", body(inputs=[tensor(data=[1e300] * 64)]), "within"),
    ("a huge integer", body(inputs=[tensor(data=[2**63] * 64)]), "within"),
    ("unknown output", body(outputs=[{"name": "score"}]), "label and probabilities"),
    ("an output without a name", body(outputs=[{}]), "label and probabilities"),
    ("an output with a list as its name", body(outputs=[{"name": ["label"]}]), "outputs"),
    ("outputs that are no list", body(outputs="label"), "outputs"),
]


@pytest.mark.parametrize(("body", "expected"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(body: bytes, expected: str) -> None:
    """Each bad question is refused with a sentence that names the place."""
    with pytest.raises(BadInputError, match=expected):
        parse_question(body)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
QUESTIONS = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries({k: DOCUMENTS | st.just(v) for k, v in tensor().items()}), max_size=2
        )
    },
    optional={"id": DOCUMENTS, "outputs": DOCUMENTS},
)


@given(st.binary(max_size=200) | DOCUMENTS.map(orjson.dumps) | QUESTIONS.map(orjson.dumps))
def test_any_bytes_are_answered_or_refused(body: bytes) -> None:
    """Any bytes give a question or a refusal, never another exception."""
    try:
        parse_question(body)
    except BadInputError:
        return


ACCEPTED: list[tuple[str, bytes, int]] = [
    ("one row", body(), 1),
    ("integers", body(inputs=[tensor(datatype="UINT8", data=[3] * 64)]), 1),
    ("two rows, flat", body(inputs=[tensor(shape=[2, 64], data=[1.0] * 128)]), 2),
    ("two rows, nested", body(inputs=[tensor(shape=[2, 64], data=[[1.0] * 64, [2.0] * 64])]), 2),
]


@pytest.mark.parametrize(("body", "rows"), [c[1:] for c in ACCEPTED], ids=[c[0] for c in ACCEPTED])
def test_accepted(body: bytes, rows: int) -> None:
    """Rows come as a matrix of 64 columns, whether the data was flat or nested."""
    assert parse_question(body).rows.shape == (rows, 64)


def test_a_question_survives_the_wire() -> None:
    """What is asked is what is read, and id and outputs are kept."""
    row = np.arange(64, dtype=np.float64)
    assert (parse_question(build_question(row)).rows == row).all()
    question = parse_question(body(id="q", outputs=[{"name": "label"}]))
    assert (question.request_id, question.outputs) == ("q", ("label",))


def test_an_answer_survives_the_wire() -> None:
    """The label that is answered is the label that is read."""
    labels, probabilities = np.array([7]), np.full((1, 10), 0.1)
    answer = build_answer(ROLES["skewed"], parse_question(body(id="q")), labels, probabilities)
    assert parse_answer(answer) == 7
    document = orjson.loads(answer)
    assert (document["model_name"], document["model_version"], document["id"]) == ("digits", "3", "q")
    assert [output["shape"] for output in document["outputs"]] == [[1], [1, 10]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"outputs": [{"name": "probabilities", "data": [1]}]}',
        b'{"outputs": 3}',
        b'{"outputs": [{"name": "label", "data": [1, 2]}]}',
        b'{"outputs": [{"name": "label", "data": ["x"]}]}',
    ],
)
def test_other_bodies_have_no_label(body: bytes) -> None:
    """What is not a one-row answer has no label."""
    assert parse_answer(body) is None


def test_metadata_names_the_tensors() -> None:
    """A client can learn the tensors from the metadata alone."""
    document = orjson.loads(build_metadata(ROLES["shadow"]))
    assert document["name"] == "digits-forest"
    assert [t["name"] for t in document["inputs"] + document["outputs"]] == [
        "pixels",
        "label",
        "probabilities",
    ]
