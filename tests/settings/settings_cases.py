"""A file with every key, and files that are wrong in one way each."""

from tests.settings.rollout_cases import ROLLED_ROUTE, ROLLOUT_PROBLEMS
from tests.settings.settings_world import MINIMAL, minimal
from tests.settings.sink_cases import SINK_PROBLEMS

__all__ = ["FULL", "PROBLEMS"]

FULL = """\
listen: 127.0.0.1:0
admin: "[::]:9090"
admin_token: ${TOKEN}
workers: auto
state_dir: /var/lib/modelproxy
log_level: debug
trusted: [10.0.0.0/8, "::1"]
timeouts: {client_head: 1s, client_body: 1m30s, keep_alive: 1.5s, drain: 0s, upgrade: 3s}
tls: {certificate: server.pem, key: server.key, client_ca: clients.pem, min_version: 1.3}
limits: {head: 32KiB, headers: 64, body: 1GiB, copy: 2MiB, connections: 5}
observer: {queue: 8MiB, pair_timeout: 5s}
tracing: {otlp: "https://collector:4318/v1/traces", percent: 0.1, service_name: wine}
payload_log:
  {dir: logs, roll_size: 1MiB, roll_every: 1m, keep_size: 2MiB, keep_age: 24h, queue: 1MiB, unit_key: 0123456789abcdef,
   sinks: [{kind: jsonl, name: all, dir: lines, compression: zstd, queue: 2MiB},
           {kind: cloudevents, url: "https://events.example/T0?k=v", headers: {authorization: Bearer abc}, timeout: 1s,
            mode: structured, source: "https://wine.example"},
           {kind: parquet, roll_every: 5s},
           {kind: kafka, brokers: ["k:9092"], topic: t, key: request_id, acks: "0", options: {sasl.password: s3cret}}]}
embedder:
  {url: "http://e:8081/v1/embeddings?k=hidden-part", model: minilm, headers: {authorization: Bearer hidden-key},
   timeout: 2s, max_in_flight: 8, max_text: 1KiB, queue: 1MiB, cache: 0B}
webhooks:
  - {url: "https://hooks.example/T0/b?c=d", secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz, on: hold, timeout: 1s}
models:
  one: {url: "http://h/p", timeout: 1ms, idle_timeout: 2ms, connect_timeout: 3ms, max_connections: 1, max_pending: 0}
  two: {url: "http://[::1]:9002", keep_alive: 0s}
  seven: {url: "http://h:7"}
  four: {url: "https://h", tls: {verify: true, ca: a.pem, certificate: c.pem, key: k.pem, server_name: N.example}}
  five: {url: "https://h:8443", tls: {verify: false}}
  six:
    url: ["http://a:1/p", "http://b:1/p/"]
    balance: hash
    pending_timeout: 4ms
    health: {path: "/ready?deep=1", interval: 10ms, timeout: 1ms, unhealthy_after: 1, healthy_after: 4}
    outlier: {consecutive: 1, base_ejection_time: 10ms, max_ejection_percent: 12.5}
routes:
  - name: r
    match: {path: /a/*, host: H.example, method: [GET, POST]}
    unit: [header:X-User, cookie:c, query:q, "json:/a", client_ip]
    missing_unit: champion
    salt: s
    force_secret: open-sesame
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 0.1, max_weight: 33.333333}
      - {name: v3, model: two, role: canary, weight: 100e-1}
    shadows: [{model: two, percent: 12.5, timeout: 1s, max_in_flight: 1, max_bytes: 1KiB, salt: t}]
    compare:
      {as: auto, rtol: 0, atol: 1e-3, ignore: [/a/*, /b/**/c], label: /l, score: s, scale: 2.5, tolerance: 0.1,
       threshold: 0.5, k: 5, iou: 0.75, boxes: xywh,
       costs: {cat: {dog: 0.25, 1: 0}, 1.0: {cat: 1}}, schema: {type: object, required: [a], maxProperties: 3},
       embedder: true, examples: 0.5,
       slices: {tier: header:X-Tier, plan: cookie:p, region: "query:r e", lang: "json:/a/lang"}}
    log:
      percent: 1
      body: 0B
      headers: [Content-Type]
      redact: [{json: /a/*/b, action: hash}, {header: X-Key}]
      salt: u
      keep: [errors, disagreement, {slow: 1s}, {slow: 500ms}, {when: "response.status == `429`"}]
      budget: 50
  - name: rest
    match: {path: "*", method: GET}
    variants: [{name: v1, model: one, role: champion}]
    compare: {as: ranking, at: /hits/*/id}
"""
FULL += ROLLED_ROUTE

PROBLEMS: dict[str, tuple[str, str, str]] = {
    "a slice by address": (
        minimal(route={"compare": {"slices": {"who": "client_ip"}}}),
        "routes[0].compare.slices.who",
        "'client_ip', expected one of header:NAME, cookie:NAME, query:NAME, json:/POINTER",
    ),
    "a slice without a name": (
        minimal(route={"compare": {"slices": {"a b": "header:x"}}}),
        "routes[0].compare.slices.'a b'",
        "expected a name",
    ),
    "slices as a list": (
        minimal(route={"compare": {"slices": ["header:x"]}}),
        "routes[0].compare.slices",
        "a list, expected a mapping",
    ),
    "too many slices": (
        minimal(route={"compare": {"slices": {f"s{i}": "header:x" for i in range(9)}}}),
        "routes[0].compare.slices",
        "more entries, expected at most 8 entries",
    ),
    "text for a whole": ("[1, 2]", "", "a list, expected a mapping"),
    "no models, no routes": ("{}", "models", "nothing, expected the key models here"),
    "no models left": (minimal(models={}), "models", "no entry, expected at least one entry"),
    "models as a list": (minimal(models=[1]), "models", "a list, expected a mapping"),
    "model without url": (
        minimal(models={"one": {}, "two": {"url": "http://h"}}),
        "models.one.url",
        "the key url here",
    ),
    "model as text": (minimal(models={"one": "http://h"}), "models.one", "'http://h', expected a mapping"),
    "model name": (minimal(models={"a b": {"url": "http://h"}}), "models.'a b'", "'a b', expected a name"),
    "unknown key": (minimal(model={"timeuot": "5s"}), "models.one.timeuot", "(did you mean timeout?)"),
    "unknown section": (minimal(modles={}), "modles", "(did you mean models?)"),
    "unknown key deep": (
        minimal(route={"log": {"redact": [{"jsn": "/a"}]}}),
        "routes[0].log.redact[0].jsn",
        "one of json, tensor, header, detect, action",
    ),
    "unknown key far off": (
        minimal(zzzzzz=1),
        "zzzzzz",
        "a key that is unknown here, expected one of listen, ",
    ),
    "null section": (minimal(limits=None), "limits", "nothing, expected a mapping"),
    "bare duration": (
        minimal(timeouts={"drain": 5}),
        "timeouts.drain",
        "5, expected a duration with its unit: write 5s or 5ms, not 5",
    ),
    "bare float duration": (minimal(timeouts={"drain": 0.5}), "timeouts.drain", "write 0.5s or 0.5ms"),
    "short duration": (
        minimal(timeouts={"client_head": "0s"}),
        "timeouts.client_head",
        "'0s', expected 1ms to 1h",
    ),
    "long duration": (
        minimal(timeouts={"client_head": "2h"}),
        "timeouts.client_head",
        "'2h', expected 1ms to 1h",
    ),
    "bare size": (minimal(limits={"head": 65536}), "limits.head", "65536, expected a size with its unit"),
    "boolean size": (
        minimal(limits={"head": True}),
        "limits.head",
        "true, expected text: a size such as 64KiB",
    ),
    "size out of range": (minimal(limits={"head": "1GiB"}), "limits.head", "'1GiB', expected 1KiB to 1MiB"),
    "workers zero": (minimal(workers=0), "workers", "0, expected a whole number from 1 to 1024, or auto"),
    "workers word": (
        minimal(workers="all"),
        "workers",
        "'all', expected a whole number from 1 to 1024, or auto",
    ),
    "workers half": (minimal(workers=1.5), "workers", "1.5, expected a whole number"),
    "workers true": (minimal(workers=True), "workers", "true, expected a whole number"),
    "quoted number": (
        minimal(limits={"headers": "64"}),
        "limits.headers",
        "'64', expected a whole number from 8 to 10000",
    ),
    "percent over": (
        minimal(tracing={"percent": 101}),
        "tracing.percent",
        "101, expected a percent from 0 to 100",
    ),
    "percent too fine": (minimal(tracing={"percent": 0.0000001}), "tracing.percent", "at most 6 decimals"),
    "percent as text": (
        minimal(tracing={"percent": "5%"}),
        "tracing.percent",
        "'5%', expected a percent from 0 to 100",
    ),
    "choice": (
        minimal(log_level="inof"),
        "log_level",
        "one of debug, info, warning, error (did you mean info?)",
    ),
    "choice as number": (minimal(log_level=3), "log_level", "3, expected text: one of debug"),
    "number as name": (minimal(route={"name": 1}), "routes[0].name", "1, expected text: "),
    "empty text": (minimal(state_dir=""), "state_dir", "'', expected a path"),
    "payload directory elsewhere": (
        minimal(payload_log={"dir": "/mnt/payloads"}),
        "payload_log.dir",
        "without a leading '/': set state_dir, or mount that volume inside it",
    ),
    "payload directory above": (
        minimal(payload_log={"dir": "a/../../b"}),
        "payload_log.dir",
        "'a/../../b', expected a path that stays inside state_dir: set state_dir",
    ),
    "payload directory from a variable": (
        minimal(payload_log={"dir": "${DIR:-..}"}),
        "payload_log.dir",
        "(what the variable holds is not shown), expected a path that stays inside state_dir",
    ),
    "long text": (minimal(route={"salt": "x" * 257}), "routes[0].salt", "expected at most 256 characters"),
    "no urls": (minimal(model={"url": []}), "models.one.url", "or a list of 1 to 64 of them"),
    "a list of what is no url": (
        minimal(model={"url": ["http://h", "h"]}),
        "models.one.url",
        "a URL such as",
    ),
    "the same url twice": (
        minimal(model={"url": ["http://h/p", "http://i/p", "http://h/p/"]}),
        "models.one.url[2]",
        "'http://h/p/', expected each URL once (url[0] is the same)",
    ),
    "another path": (
        minimal(model={"url": ["http://h/p", "http://i/q"]}),
        "models.one.url[1]",
        "the scheme and the path of the first URL (http://…/p)",
    ),
    "another scheme": (
        minimal(model={"url": ["http://h", "https://i"]}),
        "models.one.url[1]",
        "the scheme and the path of the first URL",
    ),
    "balance": (minimal(model={"balance": "random"}), "models.one.balance", "one of least-loaded, hash"),
    "health as a word": (minimal(model={"health": "on"}), "models.one.health", "'on', expected a mapping"),
    "unknown key of health": (
        minimal(model={"health": {"intervall": "5s"}}),
        "models.one.health.intervall",
        "(did you mean interval?)",
    ),
    "path of health": (
        minimal(model={"health": {"path": "ready"}}),
        "models.one.health.path",
        "'ready', expected a path such as /v2/health/ready",
    ),
    "line break in the path of health": (
        minimal(model={"health": {"path": "/a\r\nb"}}),
        "models.one.health.path",
        "a path such as /v2/health/ready",
    ),
    "null for required": (minimal(model={"url": None}), "models.one.url", "nothing, expected http[s]://host"),
    "k without a ranking": (
        minimal(route={"compare": {"as": "json", "k": 3}}),
        "routes[0].compare.k",
        "3, expected no k beside as: json: it is for ranking",
    ),
    "one thing at two places": (
        minimal(route={"compare": {"at": "/a", "label": "b"}}),
        "routes[0].compare.label",
        "only at: label is its older name, but for detection",
    ),
    "a cost above 1": (
        minimal(route={"compare": {"costs": {"cat": {"dog": 2}}}}),
        "routes[0].compare.costs.cat.dog",
        "2, expected a number from 0 to 1",
    ),
    "a cost of what is right": (
        minimal(route={"compare": {"costs": {"1": {"1.0": 0.5}}}}),
        "routes[0].compare.costs.1.1.0",
        "expected no cost of a class for itself: what is right costs nothing",
    ),
    "a class twice": (
        minimal(route={"compare": {"costs": {"cat": {"1": 0.5, "1.0": 0.5}}}}),
        "routes[0].compare.costs.cat.1.0",
        "expected each class once (1 is the same)",
    ),
    "costs as a list": (
        minimal(route={"compare": {"costs": {"cat": [0.5]}}}),
        "routes[0].compare.costs.cat",
        "expected a mapping",
    ),
    "costs without classes": (
        minimal(route={"compare": {"as": "regression", "costs": {"cat": {"dog": 0.5}}}}),
        "routes[0].compare.costs",
        "expected no costs beside as: regression: it is for classification",
    ),
    "nobody to ask": (
        minimal(route={"compare": {"embedder": True}}),
        "routes[0].compare.embedder",
        "expected an embedder at the top of the file",
    ),
    "meaning of numbers": (
        minimal(
            embedder={"url": "http://e/", "model": "m"}, route={"compare": {"as": "json", "embedder": True}}
        ),
        "routes[0].compare.embedder",
        "expected no embedder beside as: json: it is for text",
    ),
    "meaning of what must not be told": (
        minimal(
            embedder={"url": "http://e/", "model": "m"},
            route={"compare": {"embedder": True}, "log": {"content": False}},
        ),
        "routes[0].compare.embedder",
        "expected no embedder beside log.content: false",
    ),
    "an embedder without a model": (
        minimal(embedder={"url": "http://e/"}),
        "embedder.model",
        "nothing",
    ),
    "no schema": (
        minimal(route={"compare": {"as": "text", "schema": {"type": "objekt"}}}),
        "routes[0].compare.schema",
        'expected a JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12 (/type: "objekt" is not valid',
    ),
    "schema as text": (
        minimal(route={"compare": {"schema": "{}"}}),
        "routes[0].compare.schema",
        "'{}', expected a JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12, as a mapping",
    ),
    "schema from elsewhere": (
        minimal(route={"compare": {"schema": {"$ref": "http://example.com/a"}}}),
        "routes[0].compare.schema",
        "a $ref may only point into the schema itself",
    ),
    "tolerance": (
        minimal(route={"compare": {"rtol": -1}}),
        "routes[0].compare.rtol",
        "-1, expected a number from 0 to 1",
    ),
    "no variants": (
        minimal(route={"variants": []}),
        "routes[0].variants",
        "no entry, expected at least one entry",
    ),
    "too many units": (
        minimal(route={"unit": ["client_ip"] * 17}),
        "routes[0].unit",
        "more entries, expected at most 16 entries",
    ),
    "unit as text": (minimal(route={"unit": "client_ip"}), "routes[0].unit", "'client_ip', expected a list"),
    "unit grammar": (
        minimal(route={"unit": ["header:a b"]}),
        "routes[0].unit[0]",
        "'header:a b', expected a header name",
    ),
    "method": (
        minimal(route={"match": {"path": "/", "method": ["GET", "post"]}}),
        "routes[0].match.method",
        "in capitals",
    ),
    "methods": (
        minimal(route={"match": {"path": "/", "method": ["GET"] * 33}}),
        "routes[0].match.method",
        "at most 32",
    ),
    "scheme": (minimal(model={"url": "ftp://h"}), "models.one.url", "expected a URL such as http"),
    "tls key alone": (minimal(tls={"key": "k.pem"}), "tls.key", "expected a certificate beside it"),
    "tls authority alone": (minimal(tls={"client_ca": "c"}), "tls.client_ca", "served over plain HTTP"),
    "tls version": (
        minimal(tls={"certificate": "c", "min_version": 1.1}),
        "tls.min_version",
        "1.1, expected 1.2 or 1.3",
    ),
    "tls path": (minimal(tls={"certificate": 5}), "tls.certificate", "5, expected text: a path"),
    "model tls over http": (
        minimal(model={"url": "http://h", "tls": {"ca": "c"}}),
        "models.one.tls.ca",
        "expected an https:// url beside it",
    ),
    "model tls over http, unverified": (
        minimal(model={"url": "http://h", "tls": {"verify": False}}),
        "models.one.tls.verify",
        "expected an https:// url beside it",
    ),
    "model tls over http, of several": (
        minimal(model={"url": ["http://h", "http://i"], "tls": {"server_name": "h"}}),
        "models.one.tls.server_name",
        "expected an https:// url beside it",
    ),
    "model tls key alone": (
        minimal(model={"url": "https://h", "tls": {"key": "k"}}),
        "models.one.tls.key",
        "expected a certificate beside it",
    ),
    "model tls authority for nothing": (
        minimal(model={"url": "https://h", "tls": {"ca": "c", "verify": False}}),
        "models.one.tls.ca",
        "expected verify: true beside it",
    ),
    "model tls switch": (
        minimal(model={"url": "https://h", "tls": {"verify": "no"}}),
        "models.one.tls.verify",
        "'no', expected true or false",
    ),
    "duplicate key": (
        "workers: 1\nworkers: 2\n" + MINIMAL,
        "workers",
        "the key a second time (first in line 1)",
    ),
    "missing variable": ("workers: ${W}\n" + MINIMAL, "workers", "the environment variable W to be set"),
    "syntax": ("a: [", "", "'<stream end>'"),
    **SINK_PROBLEMS,
    **ROLLOUT_PROBLEMS,
}
"""Name → file, path of its problem, part of the sentence about it."""
