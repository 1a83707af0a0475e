"""What a row of the conformance table is, and how it is judged."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.conformance.reading import Message
from tests.conformance.stage import Outcome, Script, Stage

__all__ = [
    "Case",
    "Expected",
    "Verdict",
    "answered",
    "chunks",
    "get",
    "judge",
    "passes",
    "play",
    "post",
    "refused",
    "request",
    "response",
    "stream",
    "summary",
]


@dataclass(frozen=True)
class Expected:
    """What client and model server must have seen when all is quiet. ``None``: not looked at."""

    statuses: tuple[int, ...] = (200,)
    """Every answer that the client got, interim ones included."""
    closed: bool = False
    """The proxy has ended the client's connection."""
    is_cut: bool = False
    """The last answer is not whole, and the client can tell."""
    forwarded: int = 1
    """Whole requests that the model server got."""
    begun: int = 0
    """Further requests of which the model server got a part."""
    start: bytes | None = None
    """First line of the first request at the model server."""
    has: tuple[bytes, ...] = ()
    """Field lines of the first request at the model server."""
    lacks: tuple[bytes, ...] = ()
    """Field names (lower case) that it must not have."""
    body: bytes | None = None
    """Body of the first request at the model server."""
    trailers: tuple[bytes, ...] | None = None
    """Its trailer lines."""
    answer_has: tuple[bytes, ...] = ()
    """Field lines of the last answer."""
    answer_lacks: tuple[bytes, ...] = ()
    """Field names (lower case) that it must not have."""
    answer_body: bytes | None = None
    """Body of the last answer."""
    answer_trailers: tuple[bytes, ...] | None = None
    """Its trailer lines."""
    model_closed: bool | None = None
    """The proxy has ended its first connection to the model server."""
    connections: int | None = None
    """Connections to the model server on which a request came."""

    def __str__(self) -> str:
        return _summary(self.statuses, self.closed, self.is_cut, self.forwarded, self.begun)


@dataclass(frozen=True)
class Case:
    """One row: what is sent, what must come of it, and who says so."""

    name: str
    source: str
    """The paragraph that demands or allows it."""
    sent: tuple[bytes, ...]
    """By the client, each piece alone."""
    expected: Expected
    scripts: tuple[Script, ...] = ()
    """Of the model server."""
    methods: tuple[bytes, ...] = (b"GET",)
    warm: bool = False
    """Over a kept connection to the model server."""
    note: str = ""
    """Where the standard leaves a choice, or we differ from it on purpose: why it is so."""


@dataclass(frozen=True)
class Verdict:
    """How a case went: one row of the printed table."""

    name: str
    source: str
    expected: str
    got: str
    note: str = ""
    differences: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """What came is what was expected."""
        return not self.differences


def play(stage: Stage, case: Case) -> Verdict:
    """Play a case and judge what came of it."""
    return judge(case, stage.play(case.sent, case.scripts, case.methods, warm=case.warm))


def judge(case: Case, outcome: Outcome) -> Verdict:
    """Compare what came of a case with what was expected of it."""
    expected = case.expected
    answers, requests = outcome.answers, outcome.requests
    got = summary(outcome)
    differences = [] if got == str(expected) else [f"expected {expected}, got {got}"]
    differences += [error for error in (outcome.error, *(seen.error for seen in outcome.seen)) if error]
    first, last = requests[0] if requests else Message(b""), answers[-1] if answers else Message(b"")
    differences += _differences(
        "forwarded", first, expected.has, expected.lacks, expected.body, expected.trailers
    )
    differences += _differences(
        "answer", last, expected.answer_has, expected.answer_lacks,
        expected.answer_body, expected.answer_trailers,
    )  # fmt: skip
    differences += [wrong for answer in answers for wrong in _wrong_with(answer)]
    used = [seen for seen in outcome.seen if seen.raw]
    for what, wanted, found in (
        ("first line", expected.start, first.start),
        ("model's connection closed", expected.model_closed, bool(used) and used[0].closed),
        ("connections", expected.connections, len(used)),
    ):
        if wanted is not None and wanted != found:
            differences.append(f"{what}: expected {wanted!r}, got {found!r}")
    return Verdict(case.name, case.source, str(expected), got, case.note, tuple(differences))


_DATE = re.compile(rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


def _wrong_with(answer: Message) -> Iterator[str]:
    """Yield what no row need say: every answer has its id, and ours a date (RFC 9110 §6.6.1)."""
    if answer.status < 200:
        return
    if len(answer.values(b"x-request-id")) != 1:
        yield f"answer: expected one x-request-id, got {answer.values(b'x-request-id')}"
    is_ours = not answer.values(b"x-modelproxy-variant")
    if is_ours and not _DATE.fullmatch(answer.value(b"date")):
        yield f"answer: expected a date in a reply of our own, got {answer.value(b'date')!r}"


def _differences(
    what: str,
    message: Message,
    has: Sequence[bytes],
    lacks: Sequence[bytes],
    body: bytes | None,
    trailers: Sequence[bytes] | None,
) -> list[str]:
    lines = message.lines
    names = {name.lower() for name, _ in message.fields}
    found = [f"{what}: no line {line!r} in {lines}" for line in has if line not in lines]
    found += [f"{what}: must not have {name!r}: {message.values(name)}" for name in lacks if name in names]
    if body is not None and message.body != body:
        found.append(f"{what}: expected body {body[:60]!r}, got {message.body[:60]!r}")
    told = [b"%b: %b" % pair for pair in message.trailers]
    if trailers is not None and list(trailers) != told:
        found.append(f"{what}: expected trailers {list(trailers)}, got {told}")
    return found


def summary(outcome: Outcome) -> str:
    """Return in a few words what came of a case."""
    answers, requests = outcome.answers, outcome.requests
    whole = sum(request.is_whole for request in requests)
    is_cut = bool(answers) and not answers[-1].is_whole
    statuses = [answer.status for answer in answers]
    return _summary(statuses, outcome.closed, is_cut, whole, len(requests) - whole)


def _summary(statuses: Sequence[int], closed: bool, is_cut: bool, whole: int, begun: int) -> str:
    answers = ", ".join(map(str, statuses)) or "no answer"
    end = " cut" if is_cut else ""
    return f"{answers}{end}, {'closed' if closed else 'open'}; forwarded {whole}{f' + {begun} cut' if begun else ''}"


# What rows are made of


def refused(status: int = 400, before: int = 0) -> Expected:
    """Return: answered by the proxy and closed, after ``before`` requests that were answered 200."""
    return Expected((*[200] * before, status), closed=True, forwarded=before)


def passes(
    *has: bytes,
    lacks: Sequence[bytes] = (),
    start: bytes | None = None,
    body: bytes | None = None,
    trailers: Sequence[bytes] | None = None,
    times: int = 1,
    closed: bool = False,
) -> Expected:
    """Return: so many requests forwarded and answered 200; ``has`` and the like are about the first of them."""
    return Expected(
        (200,) * times,
        closed=closed,
        forwarded=times,
        start=start,
        has=has,
        lacks=tuple(lacks),
        body=body,
        trailers=None if trailers is None else tuple(trailers),
    )


def answered(
    status: int | tuple[int, ...],
    *has: bytes,
    lacks: Sequence[bytes] = (),
    body: bytes | None = None,
    trailers: Sequence[bytes] | None = None,
    closed: bool = False,
    is_cut: bool = False,
    model_closed: bool | None = None,
    connections: int | None = None,
    forwarded: int = 1,
) -> Expected:
    """Return: one request forwarded, and so answered; ``has`` and the like are about the last answer."""
    return Expected(
        status if isinstance(status, tuple) else (status,),
        closed=closed,
        is_cut=is_cut,
        forwarded=forwarded,
        answer_has=has,
        answer_lacks=tuple(lacks),
        answer_body=body,
        answer_trailers=None if trailers is None else tuple(trailers),
        model_closed=model_closed,
        connections=connections,
    )


def request(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    """Return a message of these lines and this body; nothing is added."""
    return b"\r\n".join([start, *lines, b"", b""]) + body


def get(*lines: bytes, target: bytes = b"/a", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    """Return a request with ``Host`` and these lines."""
    return request(b"%b %b %b" % (method, target, version), b"Host: h", *lines)


def post(body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    """Return a request with ``Host``, ``Content-Length`` and these lines."""
    return get(b"Content-Length: %d" % len(body), *lines, method=method) + body


def stream(body: bytes, *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """Return a request with ``Host``, ``Transfer-Encoding: chunked``, these lines, and ``body`` as it is."""
    return get(b"Transfer-Encoding: chunked", *lines, method=b"POST", version=version) + body


def response(status: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    """Return a response of these lines and this body; nothing is added."""
    return request(b"HTTP/1.1 " + status, *lines, body=body)


def chunks(*pieces: bytes, trailers: Sequence[bytes] = ()) -> bytes:
    """Return a chunked body of these pieces."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
