"""What is sent and what is answered: requests of four sizes and kinds."""

from dataclasses import dataclass

__all__ = ["ANSWERS", "CHAT", "CHAT_ANSWER", "JSON_10K", "JSON_64K", "SMALL", "TENSOR", "Payload", "document"]

OIP = "/v2/models/wine/infer"


@dataclass(frozen=True, slots=True)
class Payload:
    """One kind of request; many users send it in turn."""

    name: str
    path: str
    content_type: str
    body: bytes
    users: int = 1000
    """Their requests are built before the run, so large ones have few users."""


def document(size: int, version: int = 1) -> bytes:
    """Return an Open Inference Protocol document of ``size`` bytes (200 at least), valid as question and as answer."""
    head = b'{"model_name":"wine","model_version":"%d","inputs":[],"outputs":' % version
    head += b'[{"name":"predict","datatype":"FP32","shape":[%d],"data":['
    numbers = (size - len(head) - 24) // 8
    start = head % numbers + b",".join([b"%.4f" % (10 + turn % 90) for turn in range(numbers)])
    return start + b"]}]" + b" " * (size - len(start) - 4) + b"}"


SMALL = Payload(
    "small",
    OIP,
    "application/json",
    b'{"inputs":[{"name":"input-0","datatype":"FP32","shape":[1,4],"data":[13.24,2.59,2.87,21.02]}],"id":"b"}',
)
JSON_10K = Payload("10 KiB JSON", OIP, "application/json", document(10 * 1024))
JSON_64K = Payload("64 KiB JSON", OIP, "application/json", document(64 * 1024), users=100)
TENSOR = Payload("1 MiB tensor", OIP, "application/octet-stream", bytes(range(256)) * 4096, users=16)
CHAT = Payload(
    "chat",
    "/v1/chat/completions",
    "application/json",
    b'{"model":"wine","messages":[{"role":"user","content":"Which grape is this?"}],"max_tokens":8}',
)

ANSWERS = tuple(
    f'{{"model_name":"wine","model_version":"{version}",'
    '"outputs":[{"name":"predict","datatype":"INT64","shape":[1],"data":[2]}]}'
    for version in (1, 2, 3, 4)
)
"""What the three variants and the shadow answer to a small request: they differ in the version only."""

CHAT_ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"wine","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Nebbiolo."},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}'
)
