"""What a request becomes on its way to the model (RFC 9110 §5.3, §7.6, §10.1, W3C Trace Context)."""

from tests.conformance.case import Case, Expected, get, passes, post, refused, request, response, stream
from tests.conformance.stage import CLOSE, OK, Script

__all__ = ["ROWS"]

CLIENT = b"127.0.0.1"
UUID = "0123456789abcdef"
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHERS = (b"Accept: */*", b"accept-Encoding: gzip", b"X-Empty: ", b"Cookie: a=b", b"Authorization: Bearer x",
          b"baggage: a=b", b"Forwarded: for=192.0.2.1", b"Content-Encoding: gzip", b"User-Agent: t/1", b"If-None-Match: W/\"1\"",
          b"Range: bytes=0-1", b"Origin: http://o", b"Cache-Control: no-cache", b"X_Under: 1")  # fmt: skip

TRANSPARENT = (
    Case("fields in order, with their case", "README: pass unchanged", (get(*OTHERS),), passes(*OTHERS)),
    Case("no content type, binary tensors", "KServe binary extension",
         (post(b"{}\x00\x01\x02\xff", b"Inference-Header-Content-Length: 2"),),
         passes(b"Inference-Header-Content-Length: 2", lacks=[b"content-type", b"accept", b"user-agent"], body=b"{}\x00\x01\x02\xff")),
    Case("compressed body", "RFC 9110 §8.4", (post(b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip"),),
         passes(b"Content-Encoding: gzip", body=b"\x1f\x8b\x08\x00")),
    Case("body of every byte", "README: pass unchanged", (post(bytes(range(256))),), passes(body=bytes(range(256)))),
    Case("chunked body of every byte", "README: pass unchanged", (stream(b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n"),), passes(body=bytes(range(256)))),
    Case("nothing is added that a server would act on", "RFC 9110 §7.7", (get(),),
         passes(lacks=[b"accept", b"accept-encoding", b"connection", b"user-agent", b"cache-control", b"te", b"content-length", b"traceparent", b"date"])),
)  # fmt: skip

HOP_BY_HOP = (
    *(
        Case(f"{line.partition(b':')[0].decode()} ends here", "RFC 9110 §7.6.1 (MUST)", (get(line),),
             passes(lacks=[line.partition(b":")[0].lower()]))
        for line in (b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic eA==",
                     b"Proxy-Authenticate: Basic", b"TE: gzip", b"Trailer: X-Sum", b"Connection: keep-alive")
    ),
    Case("field that Connection names", "RFC 9110 §7.6.1 (MUST)", (get(b"X-Hop: 1", b"X-End: 2", b"Connection: x-hop"),),
         passes(b"X-End: 2", lacks=[b"x-hop", b"connection"])),
    Case("fields that Connection names", "RFC 9110 §7.6.1 (MUST)", (get(b"X-A: 1", b"X-B: 2", b"X-C: 3", b"Connection: X-A ,\t, x-b"),),
         passes(b"X-C: 3", lacks=[b"x-a", b"x-b"])),
    Case("fields that several Connections name", "RFC 9110 §7.6.1 (MUST)", (get(b"X-A: 1", b"Connection: x-a", b"X-B: 2", b"Connection: x-b"),),
         passes(lacks=[b"x-a", b"x-b"])),
    Case("Connection names x-request-id", "RFC 9110 §7.6.1; README: headers", (get(b"X-Request-Id: id-1", b"Connection: x-request-id"),), passes(b"x-request-id: id-1")),
    Case("Connection names x-forwarded-for", "RFC 9110 §7.6.1; README: headers", (get(b"X-Forwarded-For: 192.0.2.9", b"Connection: x-forwarded-for"),),
         passes(b"x-forwarded-for: 192.0.2.9, " + CLIENT)),
    Case("Connection names what we add", "RFC 9110 §7.6.1; README: headers", (get(b"Connection: x-forwarded-for, x-forwarded-proto, x-forwarded-host, via, x-request-id"),),
         passes(b"x-forwarded-for: " + CLIENT, b"x-forwarded-proto: http", b"x-forwarded-host: h", b"via: 1.1 modelproxy")),
    Case("Connection names host", "RFC 9110 §7.6.1", (get(b"Connection: host"),), passes(b"Host: h")),
    Case("Connection names content-length", "RFC 9110 §7.6.1", (post(b"abc", b"Connection: content-length"),), passes(b"Content-Length: 3", body=b"abc")),
    Case("Connection names transfer-encoding", "RFC 9110 §7.6.1", (stream(b"3\r\nabc\r\n0\r\n\r\n", b"Connection: transfer-encoding"),),
         passes(b"transfer-encoding: chunked", body=b"abc")),
    Case("Connection names content-type", "RFC 9110 §7.6.1", (post(b"{}", b"Content-Type: a/b", b"Connection: content-type"),), passes(b"Content-Type: a/b")),
    Case("Connection names traceparent", "RFC 9110 §7.6.1; README: headers", (get(b"Traceparent: " + PARENT, b"Connection: traceparent"),), passes(b"traceparent: " + PARENT)),
    Case("Connection that is no list of names", "RFC 9110 §7.6.1", (get(b"Connection: @#(),;;"),), passes(lacks=[b"connection"])),
    Case("empty Connection", "RFC 9110 §5.6.1", (get(b"Connection: ,, ,"),), passes(lacks=[b"connection"])),
)  # fmt: skip

WHO = (
    Case("who asked", "README: headers", (get(),),
         passes(b"x-forwarded-for: " + CLIENT, b"x-forwarded-proto: http", b"x-forwarded-host: h", b"via: 1.1 modelproxy")),
    Case("x-forwarded-for is appended to", "README: headers", (get(b"X-Forwarded-For: 192.0.2.9", b"X-Forwarded-For: 192.0.2.8"),),
         passes(b"x-forwarded-for: 192.0.2.9, 192.0.2.8, " + CLIENT)),
    Case("via is appended to", "RFC 9110 §7.6.3 (MUST)", (get(b"Via: 1.0 fred"),), passes(b"via: 1.0 fred, 1.1 modelproxy")),
    Case("x-forwarded-proto from anybody", "README: headers", (get(b"X-Forwarded-Proto: https"),), passes(b"x-forwarded-proto: http"),
         note="as Envoy, Traefik and Caddy do it: believed only from `trusted` peers"),
    Case("x-forwarded-host from anybody", "README: headers", (get(b"X-Forwarded-Host: evil"),), passes(b"x-forwarded-host: h"),
         note="as Traefik and Caddy do it: believed only from `trusted` peers"),
    Case("two x-forwarded-protos", "README: headers", (get(b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http"),), passes(b"x-forwarded-proto: http")),
    Case("a loop", "RFC 9110 §7.6.3", (get(b"Via: " + b", ".join([b"1.1 modelproxy"] * 20)),), refused(508)),
    Case("a loop in several fields", "RFC 9110 §7.6.3", (get(*[b"Via: 1.1 modelproxy"] * 20),), refused(508)),
    Case("a chain of proxies of our kind", "RFC 9110 §7.6.3", (get(b"Via: 1.1 modelproxy, 1.1 modelproxy"),),
         passes(b"via: 1.1 modelproxy, 1.1 modelproxy, 1.1 modelproxy")),
    Case("request id is kept", "README: pass unchanged", (get(b"X-Request-Id: abc"),), passes(b"x-request-id: abc")),
    Case("request id that is too long", "README: headers", (get(b"X-Request-Id: " + b"a" * 300),), passes(lacks=[])),
    Case("two request ids", "README: pass unchanged", (get(b"X-Request-Id: a", b"X-Request-Id: b"),), passes(b"x-request-id: a")),
    Case("internal fields from outside", "README: other x-modelproxy-* are removed", (get(b"X-Modelproxy-Shadow: 1", b"x-modelproxy-variant: v9", b"X-MODELPROXY-X: 1", b"X_Modelproxy_Force: v1"),),
         passes(lacks=[b"x-modelproxy-shadow", b"x-modelproxy-variant", b"x-modelproxy-x", b"x_modelproxy_force"])),
)  # fmt: skip

TRACE = (
    Case("traceparent", "W3C Trace Context §3.2", (get(b"Traceparent: " + PARENT, b"Tracestate: a=1,b=2"),), passes(b"traceparent: " + PARENT, b"tracestate: a=1,b=2")),
    Case("several tracestates", "W3C Trace Context §3.3.1", (get(b"Traceparent: " + PARENT, b"Tracestate: a=1", b"Tracestate: b=2"),), passes(b"tracestate: a=1,b=2")),
    Case("tracestate with blanks", "W3C Trace Context §3.3.1", (get(b"Traceparent: " + PARENT, b"Tracestate: a=1 ,\tb@c=2 , "),), passes(b"tracestate: a=1 ,\tb@c=2 ,")),
    Case("tracestate without traceparent", "W3C Trace Context §3.4", (get(b"Tracestate: a=1"),), passes(lacks=[b"tracestate", b"traceparent"])),
    Case("tracestate that is none", "W3C Trace Context §3.3.1", (get(b"Traceparent: " + PARENT, b"Tracestate: A B"),), passes(b"traceparent: " + PARENT, lacks=[b"tracestate"])),
    Case("tracestate with a key twice", "W3C Trace Context §3.3.1", (get(b"Traceparent: " + PARENT, b"Tracestate: a=1,a=2"),), passes(b"traceparent: " + PARENT, lacks=[b"tracestate"])),
    Case("tracestate with 33 members", "W3C Trace Context §3.3.1.1", (get(b"Traceparent: " + PARENT, b"Tracestate: " + b",".join(b"k%d=1" % i for i in range(33))),),
         passes(b"traceparent: " + PARENT, lacks=[b"tracestate"])),
    *(
        Case(f"traceparent {why}", "W3C Trace Context §3.2.2", (get(b"Traceparent: " + value, b"Tracestate: a=1"),), passes(lacks=[b"tracestate"]))
        for why, value in {
            "of version ff": b"ff" + PARENT[2:],
            "with a trace id of zeros": b"00-" + b"0" * 32 + PARENT[35:],
            "with a parent id of zeros": PARENT[:36] + b"0" * 16 + PARENT[52:],
            "in capitals": PARENT.upper(),
            "that is longer": PARENT + b"-1",
            "that is shorter": PARENT[:-1],
            "that is a word": b"x",
        }.items()
    ),
)  # fmt: skip

FORWARDS = (
    Case("OPTIONS with Max-Forwards", "RFC 9110 §7.6.2 (MUST)", (get(b"Max-Forwards: 3", method=b"OPTIONS"),), passes(b"Max-Forwards: 2")),
    Case("OPTIONS with Max-Forwards of 1", "RFC 9110 §7.6.2 (MUST)", (get(b"Max-Forwards: 1", method=b"OPTIONS"),), passes(b"Max-Forwards: 0")),
    Case("OPTIONS with Max-Forwards of 0", "RFC 9110 §7.6.2 (MUST NOT forward)", (get(b"Max-Forwards: 0", method=b"OPTIONS"),),
         Expected((200,), closed=True, forwarded=0, answer_has=(b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",))),
    Case("TRACE with Max-Forwards", "RFC 9110 §7.6.2 (MUST)", (get(b"Max-Forwards: 10", method=b"TRACE"),), passes(b"Max-Forwards: 9")),
    Case("TRACE with Max-Forwards of 0", "RFC 9110 §7.6.2 (MUST NOT forward)", (get(b"Max-Forwards: 0", method=b"TRACE"),),
         Expected((405,), closed=True, forwarded=0, answer_has=(b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",)),
         note="§9.3.8 lets a server refuse to reflect what was sent"),
    Case("Max-Forwards that is no number", "RFC 9110 §7.6.2", (get(b"Max-Forwards: x", method=b"OPTIONS"),), refused()),
    Case("two Max-Forwards", "RFC 9110 §7.6.2", (get(b"Max-Forwards: 1", b"Max-Forwards: 2", method=b"OPTIONS"),), refused()),
    Case("GET with Max-Forwards", "RFC 9110 §7.6.2 (MAY ignore)", (get(b"Max-Forwards: 0"),), passes(b"Max-Forwards: 0")),
    Case("OPTIONS * with Max-Forwards of 0", "RFC 9110 §7.6.2", (request(b"OPTIONS * HTTP/1.1", b"Host: h", b"Max-Forwards: 0"),), Expected((200,), closed=True, forwarded=0)),
)  # fmt: skip

EXPECT = (
    Case("Expect is passed on", "RFC 9110 §10.1.1", (get(b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"), b"abc"),
         Expected((100, 200), forwarded=1, has=(b"expect: 100-continue",), body=b"abc"),
         scripts=(Script(at_head=(b"HTTP/1.1 100 Continue\r\n\r\n",)),)),
    Case("Expect, and the body at once", "RFC 9110 §10.1.1", (post(b"abc", b"Expect: 100-continue"),), passes(b"expect: 100-continue", body=b"abc")),
    Case("Expect, refused by the model", "RFC 9110 §10.1.1", (get(b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"),),
         Expected((417,), forwarded=0, begun=1), scripts=(Script(at_head=(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n",)),)),
    Case("Expect, refused, then the body", "RFC 9110 §10.1.1", (get(b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"), b"abc" + get(target=b"/next")),
         Expected((417, 200), forwarded=1, begun=1), scripts=(Script(at_head=(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n",)), Script())),
    Case("Expect of something else", "RFC 9110 §10.1.1", (get(b"Expect: x"),), passes(b"expect: x"),
         note="the model's to answer"),
    Case("Expect from HTTP/1.0", "RFC 9110 §10.1.1", (get(b"Expect: 100-continue", b"Content-Length: 3", version=b"HTTP/1.0", method=b"POST") + b"abc",),
         Expected((200,), closed=True, forwarded=1, lacks=(b"expect",), body=b"abc"), scripts=(Script(at_head=(b"HTTP/1.1 100 Continue\r\n\r\n",)),)),
    Case("Expect without a body", "RFC 9110 §10.1.1", (get(b"Expect: 100-continue"),), passes()),
    Case("h2c is not passed on", "RFC 9110 §7.8", (get(b"Connection: upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),),
         passes(lacks=[b"upgrade", b"connection", b"http2-settings"])),
    Case("h2c with a body", "RFC 9110 §7.8", (post(b"abc", b"Connection: upgrade", b"Upgrade: h2c"),), passes(lacks=[b"upgrade"], body=b"abc")),
    Case("h2c in chunks", "RFC 9110 §7.8", (stream(b"3\r\nabc\r\n0\r\n\r\n", b"Connection: upgrade", b"Upgrade: h2c"),), passes(lacks=[b"upgrade"], body=b"abc")),
    Case("h2c without Connection", "RFC 9110 §7.8", (get(b"Upgrade: h2c"),), passes(lacks=[b"upgrade"])),
    Case("requests behind h2c", "RFC 9110 §7.8", (get(b"Connection: upgrade", b"Upgrade: h2c") * 3,), passes(times=3)),
)  # fmt: skip

ASK = get(
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)
SWITCH = response(
    b"101 Switching Protocols",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
)

TUNNELS = (
    Case("WebSocket", "RFC 9110 §7.8, RFC 6455 §1.3", (ASK, b"from client", b"!"),
         Expected((101,), has=(b"connection: upgrade", b"upgrade: websocket", b"Sec-WebSocket-Version: 13"), body=b"from client!",
                  answer_has=(b"upgrade: websocket", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), answer_body=b"from model"),
         scripts=(Script(at_end=(SWITCH, b"from model")),)),
    Case("bytes right behind the request", "RFC 9110 §7.8", (ASK + b"early",), Expected((101,), body=b"early", answer_body=b"from model"), scripts=(Script(at_end=(SWITCH, b"from model")),)),
    Case("bytes right behind the consent", "RFC 9110 §7.8", (ASK,), Expected((101,), answer_body=b"from model"), scripts=(Script(at_end=(SWITCH + b"from model",)),)),
    Case("bytes that look like HTTP", "RFC 9110 §7.8", (ASK, get(target=b"/smuggled")), Expected((101,), body=get(target=b"/smuggled"), answer_body=OK),
         scripts=(Script(at_end=(SWITCH, OK)),)),
    Case("the model ends the tunnel", "RFC 9110 §7.8", (ASK,), Expected((101,), closed=True, answer_body=b"bye"), scripts=(Script(at_end=(SWITCH, b"bye", CLOSE)),)),
    Case("the client ends the tunnel", "RFC 9110 §7.8", (ASK, b"bye", CLOSE), Expected((101,), closed=True, body=b"bye", model_closed=True), scripts=(Script(at_end=(SWITCH,)),)),
    Case("the model does not want to", "RFC 9110 §7.8 (MAY ignore)", (ASK, get()), Expected((200, 200), forwarded=2, answer_body=b"ok")),
    Case("the model does not want to, and bytes follow", "RFC 9110 §7.8", (ASK + get(),), Expected((200, 200), forwarded=2, answer_body=b"ok")),
    Case("the model switches to something else", "RFC 9110 §7.8 (MUST NOT)", (ASK,), Expected((502,), model_closed=True),
         scripts=(Script(at_end=(response(b"101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: h2c"),)),)),
    Case("the model switches to nothing", "RFC 9110 §7.8", (ASK,), Expected((502,), model_closed=True), scripts=(Script(at_end=(response(b"101 Switching Protocols"),)),)),
    Case("WebSocket with a body", "RFC 9110 §7.8", (post(b"abc", b"Connection: upgrade", b"Upgrade: websocket"),), passes(lacks=[b"upgrade"], body=b"abc"),
         note="answered as if it had not asked: nobody can tell where its body ends and the tunnel begins"),
    Case("WebSocket in HTTP/1.0", "RFC 9110 §7.8 (MUST ignore)", (get(b"Connection: upgrade", b"Upgrade: websocket", version=b"HTTP/1.0"),), passes(lacks=[b"upgrade"], closed=True)),
    Case("Upgrade that Connection does not name", "RFC 9110 §7.8", (get(b"Upgrade: websocket"),), passes(lacks=[b"upgrade"])),
    Case("h2c beside WebSocket", "RFC 9110 §7.8", (get(b"Connection: upgrade", b"Upgrade: h2c, websocket"),), passes(b"upgrade: websocket")),
)  # fmt: skip

ROWS = (*TRANSPARENT, *HOP_BY_HOP, *WHO, *TRACE, *FORWARDS, *EXPECT, *TUNNELS)
