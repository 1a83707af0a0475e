"""W3C Trace Context: valid ones go on, invalid ones do not, and sampling follows the trace id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.trace import TraceContext, parse_traceparent, read_context

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00f067aa0ba902b7"
VALID = b"00-%b-%b-01" % (TRACE, PARENT)
ALL = 1 << 64
FRESH = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0xB7AD6B7169203331

VALID_CASES: dict[str, bytes] = {
    "sampled": VALID,
    "not sampled": b"00-%b-%b-00" % (TRACE, PARENT),
    "unknown flags": b"00-%b-%b-ff" % (TRACE, PARENT),
    "later version": b"01-%b-%b-01" % (TRACE, PARENT),
    "last version": b"fe-%b-%b-01" % (TRACE, PARENT),
    "later version with more": b"01-%b-%b-01-what-the-future-will-be" % (TRACE, PARENT),
    "later version with nothing more": b"01-%b-%b-01-" % (TRACE, PARENT),
}
INVALID_CASES: dict[str, bytes] = {
    "empty": b"",
    "version ff": b"ff-%b-%b-01" % (TRACE, PARENT),
    "version in capitals": b"FE-%b-%b-01" % (TRACE, PARENT),
    "version of one digit": b"0-%b-%b-01" % (TRACE, PARENT),
    "version 00 with more": VALID + b"-more",
    "version 00 with a dash": VALID + b"-",
    "later version with more and no dash": b"01-%b-%b-01x" % (TRACE, PARENT),
    "trace id of zeros": b"00-%b-%b-01" % (b"0" * 32, PARENT),
    "parent id of zeros": b"00-%b-%b-01" % (TRACE, b"0" * 16),
    "trace id in capitals": b"00-%b-%b-01" % (TRACE.upper(), PARENT),
    "parent id in capitals": b"00-%b-%b-01" % (TRACE, PARENT.upper()),
    "short trace id": b"00-%b-%b-01" % (TRACE[1:], PARENT),
    "long trace id": b"00-0%b-%b-01" % (TRACE, PARENT),
    "short parent id": b"00-%b-%b-01" % (TRACE, PARENT[1:]),
    "no hex": b"00-%b-%b-01" % (b"g" + TRACE[1:], PARENT),
    "flags of one digit": b"00-%b-%b-1" % (TRACE, PARENT),
    "flags no hex": b"00-%b-%b-0x" % (TRACE, PARENT),
    "no flags": b"00-%b-%b" % (TRACE, PARENT),
    "other separator": VALID.replace(b"-", b"_"),
    "blank in front": b" " + VALID,
    "blank behind": VALID + b" ",
    "line break behind": VALID + b"\n",
    "two in a list": VALID + b"," + VALID,
}


@pytest.mark.parametrize("value", VALID_CASES.values(), ids=VALID_CASES)
def test_valid(value: bytes) -> None:
    """W3C Trace Context §3.2: the trace id of a version known or to come."""
    assert parse_traceparent(value) == TRACE


@pytest.mark.parametrize("value", INVALID_CASES.values(), ids=INVALID_CASES)
def test_invalid(value: bytes) -> None:
    """W3C Trace Context §3.2: what does not fit is no trace context."""
    assert parse_traceparent(value) == b""
    assert read_context([b"traceparent", b"tracestate"], [value, b"a=b"]) == TraceContext()


def test_passed_on_as_it_came() -> None:
    """A valid context is forwarded, its state with it."""
    context = read_context([b"tracestate", b"traceparent"], [b"a=b", VALID])
    assert context == TraceContext(VALID, b"a=b", TRACE)
    assert context.lines() == b"traceparent: %b\r\ntracestate: a=b\r\n" % VALID


def test_states_are_one_list() -> None:
    """W3C Trace Context §3.3.1: several fields are joined in order, empty ones left out."""
    names = [b"traceparent", b"tracestate", b"tracestate", b"tracestate"]
    assert read_context(names, [VALID, b"a=b", b"", b"c=d"]).tracestate == b"a=b,c=d"


@pytest.mark.parametrize(
    "state",
    [
        b"a=1",
        b"a=1,b=2",
        b"a=1 ,\tb=2,,",
        b"0a_-*/b@c=~!x y",
        b"a=" + b"x" * 256,
        b",".join(b"k%d=1" % i for i in range(32)),
    ],
)
def test_states_that_are_passed_on(state: bytes) -> None:
    """A list of members with keys of their own goes on as it came (W3C Trace Context §3.3.1)."""
    assert read_context([b"traceparent", b"tracestate"], [VALID, state]).tracestate == state


@pytest.mark.parametrize(
    "state",
    [b"a", b"=1", b"a=", b"A=1", b"a b=1", b"a=1=2", b"a=1,a=2", b"a=\xe4", b"a=\t1", b"a=" + b"x" * 257,
     b"a" * 257 + b"=1", b",".join(b"k%d=1" % i for i in range(33))],
)  # fmt: skip
def test_states_that_are_not(state: bytes) -> None:
    """What is no such list is left out, and the trace goes on."""
    context = read_context([b"traceparent", b"tracestate"], [VALID, state])
    assert (context.traceparent, context.tracestate) == (VALID, b"")


def test_without_state() -> None:
    """No state, no line."""
    assert read_context([b"traceparent"], [VALID]).lines() == b"traceparent: %b\r\n" % VALID


@pytest.mark.parametrize("parents", [[], [VALID, VALID]], ids=["none", "two"])
def test_state_needs_one_parent(parents: list[bytes]) -> None:
    """W3C Trace Context §3.2.1, §3.3.1: none or several parents count as none, and the state goes with them."""
    names = [b"traceparent"] * len(parents) + [b"tracestate"]
    context = read_context(names, [*parents, b"a=b"])
    assert context == TraceContext()
    assert context.lines() == b""


def test_child_of_a_traced_one() -> None:
    """Our span becomes the parent in the same trace; the state goes along."""
    child = TraceContext(VALID, b"a=b", TRACE).child(FRESH, SPAN, ALL)
    assert child == TraceContext(b"00-%b-%016x-01" % (TRACE, SPAN), b"a=b", TRACE, SPAN, True)


def test_untraced_goes_on_unchanged() -> None:
    """A parent that is never exported would cut the caller's trace in two."""
    context = TraceContext(VALID, b"a=b", TRACE)
    assert context.child(FRESH, SPAN, 0) == context


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"00", b"01"), (b"01", b"01"), (b"02", b"03"), (b"03", b"03"), (b"ff", b"03"), (b"fc", b"01")],
)
def test_flags(before: bytes, after: bytes) -> None:
    """A traced one is sampled, stays random if it was (Level 2), and has no flag that version 00 does not know."""
    parent = b"00-%b-%b-%b" % (TRACE, PARENT, before)
    assert TraceContext(parent, b"", TRACE).child(FRESH, SPAN, ALL).traceparent[53:] == after


def test_child_of_a_later_version() -> None:
    """W3C Trace Context §4.3: a new parent is written in the version that we know."""
    parent = b"cc-%b-%b-01-more" % (TRACE, PARENT)
    child = read_context([b"traceparent"], [parent]).child(FRESH, SPAN, ALL)
    assert child.traceparent == b"00-%b-%016x-01" % (TRACE, SPAN)


@pytest.mark.parametrize(("limit", "sampled", "flags"), [(ALL, True, b"01"), (0, False, b"00")])
def test_new_trace(limit: int, sampled: bool, flags: bytes) -> None:
    """Without a valid parent a trace begins here, with an id that was drawn."""
    child = TraceContext().child(FRESH, SPAN, limit)
    assert child == TraceContext(
        b"00-%032x-%016x-%b" % (FRESH, SPAN, flags), b"", b"%032x" % FRESH, SPAN, sampled
    )


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_share_of_sampled_traces(percent: int) -> None:
    """Evenly spread trace ids are sampled in the share that was asked for, exactly."""
    limit = ALL * percent // 100
    ids = [(i * ALL // 10_000) + 1 for i in range(10_000)]
    sampled = sum(TraceContext().child(low, SPAN, limit).sampled for low in ids)
    assert sampled == 10_000 * percent // 100


@given(st.integers(1, (1 << 128) - 1), st.integers(1, ALL - 1), st.integers(0, ALL))
def test_every_service_samples_alike(trace: int, span: int, limit: int) -> None:
    """The decision depends on the low 64 bits of the trace id alone; what goes upstream is always valid."""
    value = b"00-%032x-%016x-00" % (trace, span)
    context = read_context([b"traceparent"], [value])
    child = context.child(FRESH, SPAN, limit)
    assert child.sampled == (trace % ALL < limit) == TraceContext().child(trace, SPAN, limit).sampled
    assert parse_traceparent(child.traceparent) == b"%032x" % trace
