"""The calls that every plain client makes, by server.

Each entry is what ``plain`` of a client program is given: method and path, then any of ``headers``, ``json`` (a body
that the client encodes), ``size`` (a body of so many bytes), ``chunked`` (of unknown length), ``compress`` (gzip),
``files`` (a form), ``stream`` (take the answer line by line), ``times`` (in one session).
"""

from typing import Any

__all__ = [
    "CURL",
    "CURL_1_0",
    "KSERVE",
    "LITSERVE",
    "LLAMA",
    "MLFLOW",
    "MLSERVER",
    "PLAIN_CLIENTS",
    "TRITON",
    "with_tritonclient",
]

PLAIN_CLIENTS = ("requests", "httpx", "aiohttp", "curl")

CHAT = {
    "messages": [{"role": "user", "content": "grüß dich"}],
    "max_tokens": 24,
    "temperature": 0,
    "seed": 1,
    "user": "u-17",
}

LLAMA: dict[str, dict[str, Any]] = {
    "get": {"method": "GET", "path": "/v1/models"},
    "head": {"method": "HEAD", "path": "/v1/models"},
    "options": {"method": "OPTIONS", "path": "/v1/models", "headers": {"Origin": "http://a.example"}},
    "query": {"method": "GET", "path": "/v1/models?q=%2F..%2f&&x=a+b"},
    "doubled slashes": {"method": "GET", "path": "//v1/models"},
    "metrics": {"method": "GET", "path": "/props"},
    "chat": {"method": "POST", "path": "/v1/chat/completions", "json": CHAT},
    "chat, streamed": {
        "method": "POST",
        "path": "/v1/chat/completions",
        "json": CHAT | {"stream": True},
        "stream": True,
    },
    "chat over one connection": {"method": "POST", "path": "/v1/chat/completions", "json": CHAT, "times": 6},
    "more requests than a connection may carry": {"method": "GET", "path": "/health", "times": 130},
    "own completion, streamed": {
        "method": "POST",
        "path": "/completion",
        "json": {"prompt": "a", "n_predict": 9, "temperature": 0, "seed": 1, "stream": True},
        "stream": True,
    },
    "large": {"method": "POST", "path": "/tokenize", "json": {"content": "abc " * 100_000}},
    "body that is no JSON": {"method": "POST", "path": "/v1/chat/completions", "size": 100},
    "fields missing": {"method": "POST", "path": "/v1/chat/completions", "json": {}},
    "not there": {"method": "GET", "path": "/nope"},
    "method refused": {"method": "DELETE", "path": "/v1/models"},
    "chunked upload": {"method": "POST", "path": "/tokenize", "size": 300_000, "chunked": True},
    "compressed upload": {"method": "POST", "path": "/tokenize", "size": 30_000, "compress": True},
    "form": {"method": "POST", "path": "/v1/audio/transcriptions", "size": 40_000, "files": True},
    "expects to be asked on": {
        "method": "POST",
        "path": "/tokenize",
        "headers": {"Expect": "100-continue"},
        "json": {"content": "abc"},
    },
}

CURL: dict[str, dict[str, Any]] = {
    "asks for HTTP/2": {"method": "GET", "path": "/v1/models", "options": ["--http2"]},
    "asks for HTTP/2 with a body": {
        "method": "POST",
        "path": "/v1/chat/completions",
        "json": CHAT,
        "options": ["--http2"],
    },
    "range": {"method": "GET", "path": "/v1/models", "options": ["--range", "5-20"]},
    "trailers and unknown fields": {
        "method": "GET",
        "path": "/v1/models",
        "headers": {"TE": "trailers", "X-Empty;": "", "Cookie": "a=1; b=2", "x_under": "1", "X-Hop": "1"},
        "options": ["--header", "Connection: TE, X-Hop"],
    },
}
"""Of llama.cpp, by curl alone: what only curl can say."""

CURL_1_0: dict[str, dict[str, Any]] = {
    "get": {"method": "GET", "path": "/v1/models"},
    "chat": {"method": "POST", "path": "/v1/chat/completions", "json": CHAT},
    "chat, streamed": {"method": "POST", "path": "/v1/chat/completions", "json": CHAT | {"stream": True}},
    "over one connection": {
        "method": "GET",
        "path": "/v1/models",
        "headers": {"Connection": "keep-alive"},
        "times": 3,
    },
    "not there": {"method": "GET", "path": "/nope"},
}
"""Of llama.cpp, by curl in HTTP/1.0. What is on the wire differs: the model is asked in HTTP/1.1."""

UPLOADS: dict[str, dict[str, Any]] = {
    "upload": {"method": "POST", "path": "/upload", "size": 100_000},
    "upload, large": {"method": "PUT", "path": "/upload", "size": 8_000_000},
    "upload, chunked": {"method": "POST", "path": "/upload", "size": 500_000, "chunked": True},
    "upload, large and chunked": {"method": "PUT", "path": "/upload", "size": 8_000_000, "chunked": True},
    "upload, compressed": {"method": "POST", "path": "/upload", "size": 100_000, "compress": True},
    "upload, form": {"method": "POST", "path": "/upload", "size": 100_000, "files": True},
    "upload, empty": {"method": "POST", "path": "/upload", "headers": {"Content-Length": "0"}},
    "upload, asks first": {
        "method": "POST",
        "path": "/upload",
        "size": 200_000,
        "headers": {"Expect": "100-continue"},
    },
    "upload, asks first and chunked": {
        "method": "POST",
        "path": "/upload",
        "size": 200_000,
        "chunked": True,
        "headers": {"Expect": "100-continue"},
    },
}

LITSERVE: dict[str, dict[str, Any]] = {
    **UPLOADS,
    "get": {"method": "GET", "path": "/health"},
    "compressed answer": {"method": "GET", "path": "/openapi.json"},
    "plain answer on demand": {
        "method": "GET",
        "path": "/openapi.json",
        "headers": {"Accept-Encoding": "identity"},
    },
    "redirect": {"method": "GET", "path": "/nothing/304"},
    "no content": {"method": "GET", "path": "/nothing/204"},
    "no content after an upload": {"method": "POST", "path": "/nothing/204", "size": 5_000},
    "fields that occur twice": {"method": "GET", "path": "/cookies"},
    "head": {"method": "HEAD", "path": "/cookies"},
    "method refused": {"method": "HEAD", "path": "/info"},
    "options": {"method": "OPTIONS", "path": "/predict"},
    "not there": {"method": "GET", "path": "/a%20b/%C3%A4?c=%26"},
    "predict": {"method": "POST", "path": "/predict", "json": {"input": 21, "user": "u-17"}},
    "predict over one connection": {
        "method": "POST",
        "path": "/predict",
        "json": {"input": "ab"},
        "times": 5,
    },
    "predict, large": {"method": "POST", "path": "/predict", "json": {"input": "x" * 1_000_000}},
    "fields missing": {"method": "POST", "path": "/v1/chat/completions", "json": {"model": 5}},
    "body that is no JSON": {"method": "POST", "path": "/predict", "size": 50},
    "chat": {"method": "POST", "path": "/v1/chat/completions", "json": CHAT | {"model": "lit"}},
    "chat, streamed": {
        "method": "POST",
        "path": "/v1/chat/completions",
        "json": CHAT | {"model": "lit", "stream": True},
        "stream": True,
    },
    "download of unknown length": {"method": "GET", "path": "/download?size=3000000"},
    "download, plain": {
        "method": "GET",
        "path": "/download?size=3000000",
        "headers": {"Accept-Encoding": "identity"},
    },
}

_ROW = {"shape": [1, 2], "datatype": "FP32"}
SUMS = {
    "id": "4711",
    "inputs": [{"name": "a", "data": [1, 2], **_ROW}, {"name": "b", "data": [3, 4], **_ROW}],
    "parameters": {"user": "u-17"},
}
_LONG = {"shape": [1, 100_000], "datatype": "FP32", "data": [0.5] * 100_000}

TRITON: dict[str, dict[str, Any]] = {
    "get": {"method": "GET", "path": "/v2"},
    "ready": {"method": "GET", "path": "/v2/health/ready"},
    "options": {"method": "OPTIONS", "path": "/v2"},
    "not there": {"method": "GET", "path": "/v2/models/nope"},
    "infer": {"method": "POST", "path": "/v2/models/sums/infer", "json": SUMS},
    "infer over one connection": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "json": SUMS,
        "times": 6,
    },
    "infer, answer compressed": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "json": SUMS,
        "headers": {"Accept-Encoding": "gzip"},
    },
    "infer, answer deflated": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "json": SUMS,
        "headers": {"Accept-Encoding": "deflate"},
    },
    "infer, large": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "json": {"inputs": [{"name": "a", **_LONG}, {"name": "b", **_LONG}]},
    },
    "fields missing": {"method": "POST", "path": "/v2/models/sums/infer", "json": {"inputs": []}},
    "body that is no JSON": {"method": "POST", "path": "/v2/models/sums/infer", "size": 3_000},
    "body that is not what it says": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "size": 3_000,
        "compress": True,
    },
    "chunked upload": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "size": 30_000,
        "chunked": True,
    },
    "asks first": {
        "method": "POST",
        "path": "/v2/models/sums/infer",
        "json": SUMS,
        "headers": {"Expect": "100-continue"},
    },
    "generate, streamed": {
        "method": "POST",
        "path": "/v2/models/words/generate_stream",
        "json": {"prompt": "hi", "id": "1"},
        "stream": True,
    },
    "generate by a model that says more than one word": {
        "method": "POST",
        "path": "/v2/models/words/generate",
        "json": {"prompt": "hi"},
    },
}

_FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
_COLUMNS = {"name": "x", "datatype": "FP64"}
IRIS = {
    "id": "4711",
    "inputs": [{**_COLUMNS, "shape": [2, 4], "data": [*_FLOWERS[0], *_FLOWERS[1]]}],
}

OIP: dict[str, dict[str, Any]] = {
    "live": {"method": "GET", "path": "/v2/health/live"},
    "ready": {"method": "GET", "path": "/v2/models/iris/ready"},
    "server": {"method": "GET", "path": "/v2"},
    "model": {"method": "GET", "path": "/v2/models/iris"},
    "head": {"method": "HEAD", "path": "/v2"},
    "options": {"method": "OPTIONS", "path": "/v2"},
    "not there": {"method": "GET", "path": "/v2/models/nope"},
    "infer": {"method": "POST", "path": "/v2/models/iris/infer", "json": IRIS},
    "infer over one connection": {
        "method": "POST",
        "path": "/v2/models/iris/infer",
        "json": IRIS,
        "times": 5,
    },
    "infer, unknown model": {"method": "POST", "path": "/v2/models/nope/infer", "json": IRIS},
    "infer, large": {
        "method": "POST",
        "path": "/v2/models/iris/infer",
        "json": {"id": "4712", "inputs": [{**_COLUMNS, "shape": [4000, 4], "data": [0.5] * 16_000}]},
    },
    "fields missing": {"method": "POST", "path": "/v2/models/iris/infer", "json": {"inputs": [{}]}},
    "body that is no JSON": {"method": "POST", "path": "/v2/models/iris/infer", "size": 3_000},
    "chunked upload": {"method": "POST", "path": "/v2/models/iris/infer", "size": 30_000, "chunked": True},
    "compressed upload": {"method": "POST", "path": "/v2/models/iris/infer", "size": 3_000, "compress": True},
    "asks first": {
        "method": "POST",
        "path": "/v2/models/iris/infer",
        "json": IRIS,
        "headers": {"Expect": "100-continue"},
    },
}

MLSERVER: dict[str, dict[str, Any]] = {
    **OIP,
    "model's documentation": {"method": "GET", "path": "/v2/docs/dataplane.json"},
    "repository": {"method": "POST", "path": "/v2/repository/index", "json": {}},
    "answers, streamed": {
        "method": "POST",
        "path": "/v2/models/words/infer_stream",
        "json": {"inputs": [{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["1"]}]},
        "stream": True,
    },
}

KSERVE: dict[str, dict[str, Any]] = {
    **OIP,
    "predict": {"method": "POST", "path": "/v1/models/iris:predict", "json": {"instances": _FLOWERS}},
    "predict, colon escaped": {
        "method": "POST",
        "path": "/v1/models/iris%3Apredict",
        "json": {"instances": _FLOWERS},
    },
    "predict, fields missing": {"method": "POST", "path": "/v1/models/iris:predict", "json": {}},
    "models": {"method": "GET", "path": "/v1/models"},
}


_TABLE: dict[str, Any] = {"columns": ["a", "b", "c", "d"], "data": _FLOWERS}
INVOKED = {"method": "POST", "path": "/invocations"}

MLFLOW: dict[str, dict[str, Any]] = {
    "ping": {"method": "GET", "path": "/ping"},
    "version": {"method": "GET", "path": "/version"},
    "head": {"method": "HEAD", "path": "/ping"},
    "not there": {"method": "GET", "path": "/nope"},
    "method refused": {"method": "GET", "path": "/invocations"},
    "instances": INVOKED | {"json": {"instances": _FLOWERS}},
    "inputs": INVOKED | {"json": {"inputs": _FLOWERS}},
    "data frame": INVOKED | {"json": {"dataframe_split": _TABLE}},
    "over one connection": INVOKED | {"json": {"inputs": _FLOWERS}, "times": 5},
    "large": INVOKED | {"json": {"inputs": [[0.5] * 4] * 4000}},
    "fields missing": INVOKED | {"json": {}},
    "body that is no JSON": INVOKED | {"size": 3_000, "headers": {"content-type": "application/json"}},
    "of no type": INVOKED | {"size": 3_000},
    "chunked upload": INVOKED | {"size": 30_000, "chunked": True},
    "compressed upload": INVOKED | {"size": 3_000, "compress": True},
    "asks first": INVOKED | {"json": {"inputs": _FLOWERS}, "headers": {"Expect": "100-continue"}},
}


def with_tritonclient(output: str) -> dict[str, dict[str, Any]]:
    """Return what ``tritonclient`` asks a server of the iris model whose only output is called ``output``."""
    iris: dict[str, Any] = {"model": "iris", "names": "x", "kind": "FP64", "outputs": (output,)}
    return {
        "about_oip": {"model": "iris"},
        "infer, JSON": iris | {"binary_in": False, "binary_out": False},
        "infer, binary in": iris | {"binary_in": True, "binary_out": False},
        "infer, binary out": iris | {"binary_in": False, "binary_out": True},
        "infer, as by default": iris,
        "infer, over one connection": iris | {"binary_in": False, "binary_out": False, "times": 5},
        "infer, unknown model": iris | {"model": "nope", "binary_in": False, "binary_out": False},
    }
