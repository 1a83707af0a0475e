"""How long connections live, on either side (RFC 9112 §9): pipelining, closing, HTTP/1.0, early answers, stale ones."""

from tests.conformance.case import Case, Expected, answered, get, passes, post, request, response, stream
from tests.conformance.stage import CLOSE, CUT, OK, Script

__all__ = ["ROWS"]

EARLY = Script(at_head=(OK,), at_end=())
EARLY_LAST = Script(
    at_head=(response(b"413 No", b"Content-Length: 0", b"Connection: close"), CLOSE), at_end=()
)
NEXT = get(target=b"/next")
POST_BEGUN = get(b"Content-Length: 6", method=b"POST") + b"abc"
NAMED = tuple(
    Script(at_end=(response(b"200 OK", b"Content-Length: 1", b"X-N: %d" % i, body=b"%d" % i),))
    for i in range(3)
)

CLIENT = (
    Case("one after the other", "RFC 9112 §9.3", (get(), get(), get()), passes(times=3)),
    Case("pipelined", "RFC 9112 §9.3.2", (get(target=b"/1") + get(target=b"/2") + get(target=b"/3"),),
         Expected((200, 200, 200), forwarded=3, start=b"GET /1 HTTP/1.1", answer_has=(b"X-N: 2",), answer_body=b"2"), scripts=NAMED),
    Case("pipelined with bodies", "RFC 9112 §9.3.2", (post(b"abc") + stream(b"1\r\nx\r\n0\r\n\r\n") + get(),), passes(times=3, body=b"abc")),
    Case("pipelined, the last in pieces", "RFC 9112 §9.3.2", (get() + post(b"abc")[:-2], b"bc"), passes(times=2)),
    Case("pipelined, then junk", "RFC 9112 §9.3.2", (get() + get() + b"\x00\r\n\r\n",), Expected((200, 200, 400), closed=True, forwarded=2)),
    Case("pipelined behind HEAD", "RFC 9110 §9.3.2", (get(method=b"HEAD") + get(),), passes(times=2), methods=(b"HEAD", b"GET")),
    Case("pipelined behind a fault", "RFC 9112 §9.3.2", (get() + get(),), Expected((502, 200), forwarded=2), scripts=(Script(at_end=(b"junk\r\n\r\n",)), Script())),
    Case("Connection: close", "RFC 9112 §9.6 (MUST)", (get(b"Connection: close"),), answered(200, b"connection: close", closed=True)),
    Case("Connection: Close", "RFC 9110 §7.6.1 (case-insensitive)", (get(b"Connection: Close"),), answered(200, closed=True)),
    Case("close among other options", "RFC 9112 §9.6", (get(b"Connection: x-a, close"),), answered(200, closed=True)),
    Case("close in a second Connection", "RFC 9112 §9.6", (get(b"Connection: x-a", b"Connection: close"),), answered(200, closed=True)),
    Case("close beside keep-alive", "RFC 9112 §9.3", (get(b"Connection: keep-alive, close"),), answered(200, closed=True)),
    Case("requests behind Connection: close", "RFC 9112 §9.6 (MUST NOT process)", (get(b"Connection: close") + NEXT,), answered(200, closed=True)),
    Case("junk behind Connection: close", "RFC 9112 §9.6", (get(b"Connection: close") + b"\x00",), answered(200, closed=True)),
    Case("body of a last request", "RFC 9112 §9.6", (post(b"abc", b"Connection: close"),), passes(body=b"abc", closed=True)),
    Case("HTTP/1.0", "RFC 9112 §9.3", (get(version=b"HTTP/1.0"),), answered(200, b"connection: close", closed=True)),
    Case("HTTP/1.0 that keeps the connection", "RFC 9112 §9.3", (get(b"Connection: keep-alive", version=b"HTTP/1.0"), get(version=b"HTTP/1.0")),
         Expected((200, 200), closed=True, forwarded=2)),
    Case("HTTP/1.0 that keeps it is told so", "RFC 9112 §9.3", (get(b"Connection: keep-alive", version=b"HTTP/1.0"),), answered(200, b"connection: keep-alive")),
    Case("HTTP/1.0 with two lengths", "RFC 9112 §6.3", (get(b"Content-Length: 1", b"Content-Length: 2", version=b"HTTP/1.0"),), Expected((400,), closed=True, forwarded=0)),
    Case("the client leaves", "README: the client leaves", (get(), CLOSE), Expected((200,), closed=True, forwarded=1)),
    Case("the client leaves in the middle", "README: the client leaves", (POST_BEGUN, CLOSE), Expected((), closed=True, forwarded=0, begun=1, model_closed=True),
         scripts=(Script(at_end=()),)),
    Case("the client leaves while the model computes", "README: the client leaves", (get(), CLOSE),
         Expected((), closed=True, forwarded=1, model_closed=True), scripts=(Script(at_end=()),)),
    Case("the client resets", "README: the client leaves", (get(), CUT), Expected((), closed=True, forwarded=1, model_closed=True), scripts=(Script(at_end=()),)),
    Case("the client leaves inside a head", "RFC 9112 §8", (b"GET /a HT", CLOSE), Expected((), closed=True, forwarded=0)),
)  # fmt: skip

EARLY_ANSWERS = (
    Case("answer while the upload goes on", "RFC 9112 §9.6", (POST_BEGUN,), Expected((200,), forwarded=0, begun=1), scripts=(EARLY,)),
    Case("the upload goes on behind its answer", "RFC 9112 §9.5", (POST_BEGUN, b"def" + NEXT), Expected((200, 200), forwarded=1, begun=1), scripts=(EARLY, Script())),
    Case("in chunks", "RFC 9112 §9.5", (stream(b"3\r\nabc\r\n"), b"3\r\ndef\r\n0\r\n\r\n" + NEXT), Expected((200, 200), forwarded=1, begun=1), scripts=(EARLY, Script())),
    Case("what is left of an upload is no request", "RFC 9112 §9.5", (get(b"Content-Length: %d" % len(NEXT), method=b"POST"), NEXT), Expected((200,), forwarded=0, begun=1), scripts=(EARLY,)),
    Case("answer, and the model closes", "RFC 9112 §9.6", (POST_BEGUN, b"def" + NEXT), Expected((413, 200), forwarded=1, begun=1), scripts=(EARLY_LAST, Script())),
    Case("answer in pieces while the upload goes on", "RFC 9112 §9.5", (POST_BEGUN, b"def"),
         Expected((200,), forwarded=1, answer_body=b"ok", body=b"abcdef"), scripts=(Script(at_head=(OK[:-1],), at_end=(OK[-1:],)),)),
    Case("the upload breaks behind its answer", "RFC 9112 §7.1", (stream(b"3\r\nabc\r\n"), b"zz\r\n"), Expected((200,), closed=True, forwarded=0, begun=1), scripts=(EARLY,)),
    Case("answered 404 by us while the upload goes on", "RFC 9112 §9.5", (request(b"POST /pulse/x HTTP/1.1", b"Host: pulse.test", b"Content-Length: 3") + b"abc",), passes(body=b"abc")),
)  # fmt: skip

CLOSES = Script(at_end=(CLOSE,))
STALE = "RFC 9112 §9.3.1; one retry"
UNREAD = (
    "RFC 9110 §9.2.2 would have a proxy not repeat a POST; but a kept connection that ends without a byte was closed while "
    "it was idle, so nobody has read it. README: stale connections"
)

MODEL = (
    Case("the connection to the model is kept", "RFC 9112 §9.3", (get(), get()), Expected((200, 200), forwarded=2, connections=1, model_closed=False)),
    Case("the model closes behind its answer", "RFC 9112 §9.3", (get(), get()), Expected((200, 200), forwarded=2, connections=2),
         scripts=(Script(at_end=(OK, CLOSE)), Script())),
    Case("the model says that it closes", "RFC 9112 §9.6", (get(), get()), Expected((200, 200), forwarded=2, connections=2, model_closed=True, answer_lacks=(b"connection",)),
         scripts=(Script(at_end=(response(b"200 OK", b"Content-Length: 0", b"Connection: close"),)), Script())),
    Case("a close of the model's is not the client's", "RFC 9110 §7.6.1", (get(),), answered(200, lacks=[b"connection", b"keep-alive"]),
         scripts=(Script(at_end=(response(b"200 OK", b"Content-Length: 0", b"Connection: close", b"Keep-Alive: timeout=1"),)),)),
    Case("a model that speaks HTTP/1.0", "RFC 9112 §9.3", (get(), get()), Expected((200, 200), forwarded=2, connections=2),
         scripts=(Script(at_end=(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",)),)),
    Case("a model that speaks HTTP/1.0 and keeps", "RFC 9112 §9.3", (get(), get()), Expected((200, 200), forwarded=2, connections=1),
         scripts=(Script(at_end=(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",)),)),
    Case("closed before a byte, new connection", "RFC 9110 §15.6.3", (get(),), answered(502, connections=1), scripts=(CLOSES,)),
    Case("closed before a byte, kept connection", STALE, (get(),), answered(200, forwarded=2, connections=2), scripts=(CLOSES, Script()), warm=True),
    Case("closed before a byte, kept connection, POST", STALE, (post(b"abc"),), answered(200, forwarded=2, connections=2), scripts=(CLOSES, Script()), warm=True, note=UNREAD),
    Case("closed before a byte, twice", STALE, (get(),), answered(502, forwarded=2, connections=2), scripts=(CLOSES, CLOSES), warm=True),
    Case("reset before a byte, kept connection", STALE, (get(),), answered(200, forwarded=2, connections=2), scripts=(Script(at_end=(CUT,)), Script()), warm=True),
    Case("closed before a byte, kept connection, body still coming", "RFC 9112 §9.3.1", (stream(b"3\r\nabc\r\n"), b"0\r\n\r\n"),
         Expected((200,), forwarded=1, begun=1, connections=2), scripts=(Script(at_head=(CLOSE,)), Script()), warm=True, note=UNREAD),
    Case("closed behind a byte, kept connection", "RFC 9112 §9.3.1 (no retry)", (get(),), answered(502, connections=1), scripts=(Script(at_end=(b"H", CLOSE)),), warm=True),
    Case("closed between requests", "RFC 9112 §9.3.1", (get(), get()), Expected((200, 200), forwarded=2, connections=2), scripts=(Script(at_end=(OK, CLOSE)), Script())),
    Case("reset between requests", "RFC 9112 §9.3.1", (get(), get()), Expected((200, 200), forwarded=2, connections=2), scripts=(Script(at_end=(OK, CUT)), Script())),
    Case("model resets", "RFC 9110 §15.6.3", (get(),), answered(502, connections=1), scripts=(Script(at_end=(CUT,)),)),
    Case("the connection of a fault is not used again", "RFC 9112 §6.3", (get(), get()), Expected((502, 200), forwarded=2, connections=2),
         scripts=(Script(at_end=(b"junk\r\n\r\n",)), Script())),
)  # fmt: skip

ROWS = (*CLIENT, *EARLY_ANSWERS, *MODEL)
