"""Request line and Host: methods, targets, versions (RFC 9112 §3, RFC 9110 §4, §7.2, §9)."""

from tests.conformance.case import Case, Expected, get, passes, post, refused, request

__all__ = ["ROWS"]

HOST = b"Host: h"
CHOICE_VERSION = (
    "a minor version that was never published: taken for a broken client, as llhttp, Node and HAProxy do"
)
CHOICE_METHOD = "the parser (llhttp) must know a method to be sure of the framing that goes with it; the registry's are all known"


def _line(start: bytes) -> tuple[bytes, ...]:
    return (request(start, HOST),)


METHODS = (
    *(
        Case(f"method {method.decode()}", "RFC 9110 §9.3", (get(method=method),),
             passes(start=b"%b /a HTTP/1.1" % method), methods=(method,))
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE")
    ),
    *(
        Case(f"method {method.decode()} with a body", "RFC 9110 §9.3", (post(b"abc", method=method),),
             passes(start=b"%b /a HTTP/1.1" % method, body=b"abc"))
        for method in (b"POST", b"PUT", b"PATCH", b"PROPFIND", b"QUERY", b"REPORT", b"DELETE", b"GET", b"OPTIONS")
    ),
    Case("CONNECT", "RFC 9110 §9.3.6", _line(b"CONNECT h:443 HTTP/1.1"), refused(501),
         note="a reverse proxy opens no tunnels to where a client says"),
    Case("CONNECT of a path", "RFC 9112 §3.2.3", _line(b"CONNECT /a HTTP/1.1"), refused(501)),
    Case("unknown method", "RFC 9110 §9.1", _line(b"BREW /a HTTP/1.1"), refused(501), note=CHOICE_METHOD),
    Case("method in lower case", "RFC 9110 §9.1", _line(b"get /a HTTP/1.1"), refused(400),
         note="methods are case-sensitive; in lower case it is no method at all for the parser"),
    Case("method with a control character", "RFC 9112 §3.1", _line(b"G\x01T /a HTTP/1.1"), refused()),
    Case("method with a bracket", "RFC 9112 §3.1", _line(b"G(T /a HTTP/1.1"), refused()),
    Case("no method", "RFC 9112 §3", _line(b" /a HTTP/1.1"), refused()),
)  # fmt: skip

TARGETS = (
    Case("origin form", "RFC 9112 §3.2.1", _line(b"GET /a/b?c=d&e=%20 HTTP/1.1"), passes(start=b"GET /a/b?c=d&e=%20 HTTP/1.1")),
    Case("root", "RFC 9112 §3.2.1", _line(b"GET / HTTP/1.1"), passes(start=b"GET / HTTP/1.1")),
    Case("only a query", "RFC 9112 §3.2.1", _line(b"GET ?a HTTP/1.1"), refused()),
    Case("two slashes", "RFC 9112 §3.2.1", _line(b"GET //x/y HTTP/1.1"), passes(start=b"GET //x/y HTTP/1.1")),
    Case("dot segments are not ours to resolve", "RFC 3986 §6.2.2.3", _line(b"GET /a/../b/./c HTTP/1.1"),
         passes(start=b"GET /a/../b/./c HTTP/1.1")),
    Case("percent signs are not ours to resolve", "RFC 3986 §2.4", _line(b"GET /a%2Fb%2e%00 HTTP/1.1"),
         passes(start=b"GET /a%2Fb%2e%00 HTTP/1.1")),
    Case("absolute form", "RFC 9112 §3.2.2", _line(b"GET http://h/a?b HTTP/1.1"), passes(b"Host: h", start=b"GET /a?b HTTP/1.1")),
    Case("absolute form wins over Host", "RFC 9112 §3.2.2", (request(b"GET http://other:81/a HTTP/1.1", HOST),),
         passes(b"Host: other:81", start=b"GET /a HTTP/1.1")),
    Case("absolute form without a path", "RFC 9112 §3.2.1", _line(b"GET http://h HTTP/1.1"), passes(start=b"GET / HTTP/1.1")),
    Case("absolute form with a query alone", "RFC 9112 §3.2.1", _line(b"GET http://h?b HTTP/1.1"), passes(start=b"GET /?b HTTP/1.1")),
    Case("absolute form, https", "RFC 9112 §3.2.2", _line(b"GET https://h/a HTTP/1.1"), passes(start=b"GET /a HTTP/1.1")),
    Case("absolute form, capitals", "RFC 3986 §3.1", _line(b"GET HTTP://H/a HTTP/1.1"), passes(b"Host: H", start=b"GET /a HTTP/1.1")),
    Case("absolute form, no Host", "RFC 9112 §3.2", (request(b"GET http://h/a HTTP/1.1"),), refused()),
    Case("absolute form, no Host, HTTP/1.0", "RFC 9112 §3.2.2", (request(b"GET http://h/a HTTP/1.0"),),
         passes(b"host: h", start=b"GET /a HTTP/1.1", closed=True)),
    Case("user information", "RFC 9110 §4.2.4", _line(b"GET http://u:p@h/a HTTP/1.1"), refused()),
    Case("empty host in a target", "RFC 9110 §4.2.1", _line(b"GET http:///a HTTP/1.1"), refused()),
    Case("other scheme", "RFC 9112 §3.2.2", _line(b"GET ftp://h/a HTTP/1.1"), refused(),
         note="no model speaks it"),
    Case("authority form without CONNECT", "RFC 9112 §3.2.3", _line(b"GET h:80 HTTP/1.1"), refused()),
    Case("asterisk form", "RFC 9112 §3.2.4", _line(b"OPTIONS * HTTP/1.1"), passes(start=b"OPTIONS * HTTP/1.1")),
    Case("asterisk of an absolute form", "RFC 9112 §3.2.4", _line(b"OPTIONS http://h HTTP/1.1"), passes(start=b"OPTIONS * HTTP/1.1")),
    Case("absolute form of a root for OPTIONS", "RFC 9112 §3.2.4", _line(b"OPTIONS http://h/ HTTP/1.1"), passes(start=b"OPTIONS / HTTP/1.1")),
    Case("asterisk without OPTIONS", "RFC 9112 §3.2.4", _line(b"GET * HTTP/1.1"), refused()),
    Case("relative path", "RFC 9112 §3.2", _line(b"GET a/b HTTP/1.1"), refused()),
    Case("fragment", "RFC 9110 §4.2.5", _line(b"GET /a#b HTTP/1.1"), refused(),
         note="no part of a request target; servers disagree on what stands behind it"),
    Case("fragment in a query", "RFC 9110 §4.2.5", _line(b"GET /a?b#c HTTP/1.1"), refused()),
    Case("fragment in absolute form", "RFC 9110 §4.2.5", _line(b"GET http://h/a#b HTTP/1.1"), refused()),
    Case("control character in a target", "RFC 9112 §3.2", _line(b"GET /a\x01b HTTP/1.1"), refused()),
    Case("zero byte in a target", "RFC 9112 §3.2", _line(b"GET /a\x00b HTTP/1.1"), refused()),
    Case("DEL in a target", "RFC 9112 §3.2", _line(b"GET /a\x7fb HTTP/1.1"), refused()),
    Case("tab in a target", "RFC 9112 §3.2", _line(b"GET /a\tb HTTP/1.1"), refused()),
    Case("space in a target", "RFC 9112 §3.2", _line(b"GET /a b HTTP/1.1"), refused()),
    Case("bytes above ASCII in a target", "RFC 3986 §2", _line(b"GET /\xc3\xa4 HTTP/1.1"), refused(),
         note="no URI; of the parsers behind us some refuse it and some take it"),
    Case("CR in a target", "RFC 9112 §2.2", _line(b"GET /a\rb HTTP/1.1"), refused()),
    Case("line break in a target", "RFC 9112 §2.2", _line(b"GET /a\nX: y HTTP/1.1"), refused(505),
         note="what stands before it reads as HTTP/0.9"),
    Case("target of the longest size", "RFC 9112 §3", _line(b"GET /%b HTTP/1.1" % (b"a" * 8000)), passes()),
    Case("target longer than limits.head", "RFC 9112 §3 (MUST 414)", _line(b"GET /%b HTTP/1.1" % (b"a" * 9000)), refused(414)),
    Case("target without an end", "RFC 9112 §3 (MUST 414)", (b"GET /%b" % (b"a" * 9000),), refused(414)),
)  # fmt: skip

VERSIONS = (
    Case("HTTP/1.1", "RFC 9112 §2.3", _line(b"GET /a HTTP/1.1"), passes()),
    Case("HTTP/1.0", "RFC 9110 §2.5", _line(b"GET /a HTTP/1.0"), passes(b"via: 1.0 modelproxy", start=b"GET /a HTTP/1.1", closed=True)),
    Case("HTTP/1.0 without Host", "RFC 9112 §3.2", (request(b"GET /a HTTP/1.0"),), passes(closed=True)),
    Case("HTTP/0.9", "RFC 9112 §3", (b"GET /a\r\n",), Expected((), forwarded=0),
         note="no request yet for a server of HTTP/1.1; 408 after timeouts.client_head"),
    Case("HTTP/0.9 with a field", "RFC 9112 §3", (b"GET /a\r\nHost: h\r\n\r\n",), refused(505)),
    Case("HTTP/0.9 by name", "RFC 9110 §15.6.6", _line(b"GET /a HTTP/0.9"), refused(505)),
    Case("HTTP/1.2", "RFC 9110 §2.5", _line(b"GET /a HTTP/1.2"), refused(505), note=CHOICE_VERSION),
    Case("HTTP/1.9", "RFC 9110 §2.5", _line(b"GET /a HTTP/1.9"), refused(505), note=CHOICE_VERSION),
    Case("HTTP/2.0", "RFC 9110 §15.6.6", _line(b"GET /a HTTP/2.0"), refused(505)),
    Case("HTTP/3.0", "RFC 9110 §15.6.6", _line(b"GET /a HTTP/3.0"), refused(505)),
    Case("preface of HTTP/2", "RFC 9113 §3.4", (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), refused(505)),
    Case("two digits of a minor version", "RFC 9112 §2.3", _line(b"GET /a HTTP/1.10"), refused()),
    Case("two digits of a major version", "RFC 9112 §2.3", _line(b"GET /a HTTP/11.1"), refused()),
    Case("no minor version", "RFC 9112 §2.3", _line(b"GET /a HTTP/1"), refused()),
    Case("no version", "RFC 9112 §2.3", _line(b"GET /a HTTP/"), refused()),
    Case("version in lower case", "RFC 9112 §2.3", _line(b"GET /a http/1.1"), refused()),
    Case("version of another protocol", "RFC 9112 §2.3", _line(b"GET /a RTSP/1.0"), passes(start=b"GET /a HTTP/1.1", closed=True),
         note="the parser takes RTSP and ICE for HTTP; what is forwarded is HTTP/1.1, so nobody reads it otherwise"),
    Case("letter in a version", "RFC 9112 §2.3", _line(b"GET /a HTTP/1.x"), refused()),
    Case("space behind the version", "RFC 9112 §3", _line(b"GET /a HTTP/1.1 "), refused()),
    Case("two spaces before the version", "RFC 9112 §3", _line(b"GET /a  HTTP/1.1"), passes(start=b"GET /a HTTP/1.1"),
         note="leniency that §3 allows: what is forwarded is built anew"),
    Case("two spaces before the target", "RFC 9112 §3", _line(b"GET  /a HTTP/1.1"), passes(start=b"GET /a HTTP/1.1"),
         note="leniency that §3 allows: what is forwarded is built anew"),
    Case("tab before the target", "RFC 9112 §3", _line(b"GET\t/a HTTP/1.1"), refused()),
    Case("one empty line before", "RFC 9112 §2.2", (b"\r\n" + get(),), passes()),
    Case("several empty lines before", "RFC 9112 §2.2", (b"\r\n\r\n\r\n" + get(),), passes()),
    Case("bare LF before", "RFC 9112 §2.2", (b"\n" + get(),), passes()),
    Case("space before", "RFC 9112 §3", (b" " + get(),), refused()),
    Case("TLS", "RFC 9112 §3", (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",), refused()),
    Case("words", "RFC 9112 §3", (b"hello\r\n\r\n",), refused()),
    Case("a response", "RFC 9112 §3", (b"HTTP/1.1 200 OK\r\n\r\n",), refused()),
)  # fmt: skip

HOSTS = (
    Case("no Host", "RFC 9112 §3.2 (MUST 400)", (request(b"GET /a HTTP/1.1"),), refused()),
    Case("two Hosts", "RFC 9112 §3.2 (MUST 400)", (request(b"GET /a HTTP/1.1", HOST, b"Host: i"),), refused()),
    Case("two equal Hosts", "RFC 9112 §3.2 (MUST 400)", (request(b"GET /a HTTP/1.1", HOST, HOST),), refused()),
    Case("two Hosts in HTTP/1.0", "RFC 9112 §3.2", (request(b"GET /a HTTP/1.0", HOST, HOST),), refused()),
    Case("Host that is a list", "RFC 9112 §3.2 (MUST 400)", (request(b"GET /a HTTP/1.1", b"Host: h, i"),), refused()),
    Case("empty Host", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host:"),), passes(b"Host: ")),
    Case("Host with a port", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: h:8080"),), passes(b"Host: h:8080")),
    Case("Host with an empty port", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: h:"),), passes(b"Host: h:")),
    Case("Host with letters for a port", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: h:x"),), refused()),
    Case("Host that is an IPv6 address", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: [::1]:80"),), passes(b"Host: [::1]:80")),
    Case("Host with an open bracket", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: [::1"),), refused()),
    Case("Host with user information", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: u@h"),), refused()),
    Case("Host with a path", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: h/a"),), refused()),
    Case("Host with a space", "RFC 9110 §7.2", (request(b"GET /a HTTP/1.1", b"Host: h i"),), refused()),
    Case("Host in capitals", "RFC 9110 §5.1", (request(b"GET /a HTTP/1.1", b"HOST: h"),), passes(b"HOST: h")),
    Case("Host at the end", "RFC 9110 §5.3", (request(b"GET /a HTTP/1.1", b"X-A: 1", HOST),), passes(b"X-A: 1", HOST)),
    Case("folded Host", "RFC 9112 §5.2", (request(b"GET /a HTTP/1.1", b"Host: h", b" i"),), refused()),
)  # fmt: skip

ROWS = (*METHODS, *TARGETS, *VERSIONS, *HOSTS)
