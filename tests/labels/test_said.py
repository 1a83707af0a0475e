"""What was predicted as bytes and back, and what stands for labels that must not be written."""

from hashlib import blake2b
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.compare.labels import label_family
from proxy.compare.values import Predicted
from proxy.labels import Truth, disguise, dump_said, fits, load_said, outcomes_of

KEY = ("v4", "00")
PLAIN = st.one_of(
    st.text(max_size=5),
    st.integers(-(2**63), 2**63),
    st.integers(-3, 3),
    st.booleans(),
    st.floats(allow_nan=False),
)
LABELS = st.one_of(PLAIN, st.lists(PLAIN, max_size=3).map(tuple))
ROWS = st.lists(st.one_of(st.none(), LABELS), min_size=1, max_size=4).map(tuple)


def hide(value: bytes) -> str:
    return blake2b(value, digest_size=16).hexdigest()


def both(primary: Any, shadow: Any = None, *, is_number: bool = False) -> Predicted:
    return Predicted(primary, shadow, is_number)


def same(said: Predicted, hidden: bool = False) -> Predicted:
    """Return what comes back of what was put by."""
    data = dump_said([(KEY, said)], hide if hidden else None)
    assert data is not None
    ((key, found),) = load_said(data)
    assert key == KEY
    return found


ROWS_OF = [
    both((1, "red", 2.5, True, None, ("a", 1))),
    both(None, ("",)),
    both((1.5, 2), (nan, inf), is_number=True),
]


@pytest.mark.parametrize("said", ROWS_OF[:2])
def test_it_comes_back(said: Predicted) -> None:
    """Labels come back as what they were, whole numbers as whole ones."""
    found = same(said)
    assert found == said
    assert [type(each) for each in found.primary or ()] == [type(each) for each in said.primary or ()]


def test_what_no_label_is_close_to() -> None:
    """NaN and infinity come back as nothing, which every label is as far from."""
    found = same(ROWS_OF[2])
    assert found == both((1.5, 2), (None, None), is_number=True)
    assert outcomes_of((1, 1), found) == outcomes_of((1, 1), ROWS_OF[2])


def test_equal_ones_are_written_once() -> None:
    """Sides that share what the client got share it afterwards."""
    primary = tuple(range(1000))
    data = dump_said([(("a", "0"), both(primary, (1,))), (("b", "0"), both(primary, None))])
    assert data is not None
    assert len(data) < 5000
    (_, first), (_, second) = load_said(data)
    assert first.primary is second.primary


@given(truth=ROWS, primary=ROWS, shadow=ROWS)
@example(truth=(1,), primary=(True,), shadow=(1.0,))
@example(truth=(2**53 + 1,), primary=(float(2**53),), shadow=(2**53,))
@example(truth=("1",), primary=(1,), shadow=("1",))
def test_hashes_are_equal_where_labels_are(truth: Truth, primary: Truth, shadow: Truth) -> None:
    """Held against a hidden label, hidden answers come to what the plain ones do, and are of the same kind."""
    rows = min(len(truth), len(primary), len(shadow))
    plain = both(primary[:rows], shadow[:rows])
    found = same(plain, hidden=True)
    hidden = tuple(disguise(label, hide) for label in truth[:rows])
    assert outcomes_of(hidden, found) == outcomes_of(truth[:rows], plain)
    assert label_family(found.primary or ()) == label_family(plain.primary or ())
    if any(label is not None for label in truth[:rows]):
        assert fits(hidden, [found]) == fits(truth[:rows], [plain])


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_a_hash_of_a_number_is_one_that_every_reader_holds(value: float) -> None:
    """It has 60 bits at most: JSON's integers end at 64."""
    hidden = disguise(value, hide)
    assert isinstance(hidden, int)
    assert 0 <= hidden < 1 << 60


def test_nothing_of_it_can_be_read() -> None:
    """No label stands in the bytes, and numbers that must be close to something are not written at all."""
    said = [
        (KEY, both(("malignant", 123456789, ("benign",)), ("malignant", 7, None))),
        (KEY, both((0.123456,), (5.5,), is_number=True)),
    ]
    data = dump_said(said, hide)
    assert data is not None
    for secret in (b"malignant", b"benign", b"123456"):
        assert secret not in data
    assert len(load_said(data)) == 1
    assert dump_said(said[1:], hide) is None


def test_what_json_has_not() -> None:
    """A number that is too large for it is refused, and is no different hidden."""
    with pytest.raises(TypeError):
        dump_said([(KEY, both((2**70,)))])
    assert same(both((2**70, 2**70 + 1)), hidden=True).primary == (
        disguise(2**70, hide),
        disguise(2**70 + 1, hide),
    )


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"[[],[[1]]]", b"[[],[[1,2,true]]]", b"7", b'[[1],[["a",0,0,true]]]']
)
def test_bytes_of_others(data: bytes) -> None:
    """What is something else is refused."""
    with pytest.raises(ValueError, match="no predictions"):
        load_said(data)
