"""What our decoders read of real servers' answers is what real clients read of them."""

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from proxy.compare import Prediction, decode, decode_request
from proxy.compare.values import Completion, Usage
from tests.compare.bodies import BODIES
from tests.real.calls import LLAMA
from tests.real.messages import Exchange
from tests.real.processes import Driver, eventually
from tests.real.reading import first, read
from tests.real.stage import OBSERVED, Stage

pytestmark = [pytest.mark.slow, pytest.mark.long]


def completion_of(exchange: Exchange) -> Completion:
    """Return what a model said, as our decoder reads it."""
    found = read(exchange)
    assert found.format == "openai"
    assert found.completion is not None
    return found.completion


STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat_stream", {}),
    "chat, with usage": ("chat_stream", {"stream_options": {"include_usage": True}}),
    "chat, two choices": ("chat_stream", {"n": 2, "stream_options": {"include_usage": True}}),
    "completions": ("completion_stream", {}),
    "completions, with usage": ("completion_stream", {"stream_options": {"include_usage": True}}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_llama(llama: Stage, drivers: Callable[[str], Driver], name: str) -> None:
    """The text put together is the text that ``openai`` gave its caller piece by piece, exactly, with its usage."""
    call, arguments = STREAMS[name]
    told, (exchange,) = llama.heard(drivers("openai"), call, **arguments)
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    usage = None
    for event in map(orjson.loads, told["gave"]):
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            index = choice["index"]
            piece = choice["delta"]["content"] if "delta" in choice else choice["text"]
            texts[index] = texts.get(index, "") + (piece or "")
            if choice["finish_reason"]:
                reasons[index] = choice["finish_reason"]
    said = completion_of(exchange)
    assert said.is_streamed
    assert {choice.index: choice.text for choice in said.choices} == texts
    assert {choice.index: choice.finish_reason for choice in said.choices} == reasons
    assert any(texts.values())
    if "usage" in name:
        assert usage is not None
        assert said.usage == Usage(usage["prompt_tokens"], usage["completion_tokens"])


def test_own_streams_of_llama(llama: Stage, drivers: Callable[[str], Driver]) -> None:
    """The server's own form of a stream, which ends by its last piece: the texts of its lines, one after the other."""
    _, (exchange,) = llama.heard(drivers("httpx"), "plain", **LLAMA["own completion, streamed"])
    lines = exchange.response.body.decode().split("\n\n")
    said = [orjson.loads(line.removeprefix("data: ")) for line in lines if line]
    found = read(exchange)
    assert found.format == "json"
    assert found.completion is not None
    assert [choice.text for choice in found.completion.choices] == [
        "".join(piece["content"] for piece in said)
    ]
    assert found.completion.usage == Usage(said[-1]["tokens_evaluated"], said[-1]["tokens_predicted"])


def test_streams_of_litserve(litserve: Stage, drivers: Callable[[str], Driver]) -> None:
    """Another server's idea of OpenAI's stream, read by the same client."""
    told, (exchange,) = litserve.heard(drivers("openai"), "chat_stream")
    events = [orjson.loads(event) for event in told["gave"]]
    texts = [choice["delta"]["content"] or "" for event in events for choice in event["choices"]]
    (choice,) = completion_of(exchange).choices
    assert choice.text == "".join(texts) != ""


@pytest.mark.parametrize("call", ["chat", "completion"])
def test_a_stream_says_what_the_answer_in_one_piece_says(
    llama: Stage, drivers: Callable[[str], Driver], call: str
) -> None:
    """Asked twice with one seed, streamed and not, a model says the same: so does our decoder."""
    streamed = completion_of(llama.heard(drivers("openai"), f"{call}_stream")[1][0])
    whole = completion_of(llama.heard(drivers("openai"), call)[1][0])
    assert (streamed.is_streamed, whole.is_streamed) == (True, False)
    assert streamed.choices == whole.choices


def test_both_arms_of_llama_are_timed(llama: Stage, drivers: Callable[[str], Driver]) -> None:
    """The client's stream and that of the copy, which other weights generate, are in the metrics."""
    llama.heard(drivers("openai"), "chat_stream", stream_options={"include_usage": True})
    admin = llama.proxies[OBSERVED][1]

    def counted() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
            exposed = answer.read().decode()
        arms = {
            (sample.labels["variant"], sample.labels["model"])
            for family in text_string_to_metric_families(exposed)
            for sample in family.samples
            if sample.name == "modelproxy_time_to_first_token_seconds_count" and sample.value
        }
        return arms == {("v1", "real"), ("", "copy")}

    eventually(counted, "both arms in the histogram")


def test_calls_of_tools_are_put_together_as_openai_does(drivers: Callable[[str], Driver]) -> None:
    """No random weights call a tool. The package's own accumulator and ours read one canned stream alike."""
    body = BODIES["chat, streamed"]

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body.data, headers={"content-type": "text/event-stream"})

    async def ask() -> Any:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            return await asyncio.to_thread(drivers("openai").call, "assembled", f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    told = orjson.loads(asyncio.run(ask())["gave"])
    found = decode(200, body.kind, None, body.data)
    assert isinstance(found, Prediction)
    assert found.completion is not None
    (ours,), (theirs,) = found.completion.choices, told["choices"]
    assert ours.text == theirs["message"]["content"]
    assert ours.finish_reason == theirs["finish_reason"]
    (call,) = theirs["message"]["tool_calls"]
    assert [(each.name, each.arguments) for each in ours.tool_calls] == [
        (call["function"]["name"], orjson.loads(call["function"]["arguments"]))
    ]


KINDS = (
    "BOOL",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)
SHAPES = {"rows": (3, 2), "one value": (1, 1), "no values": (2, 0)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_datatype_of_triton(
    triton: Stage, drivers: Callable[[str], Driver], kind: str, shape: str
) -> None:
    """Inputs and outputs in binary are, for us, the values that ``tritonclient`` sent and got."""
    rows, columns = SHAPES[shape]
    arguments: dict[str, Any] = {
        "kind": kind,
        "rows": rows,
        "columns": columns,
        "binary_in": True,
        "binary_out": True,
    }
    told, (exchange,) = triton.heard(drivers("tritonclient"), "echo", **arguments)
    sent, came = told["gave"]
    assert sent == came
    request = exchange.request
    length = first(request, b"inference-header-content-length")
    asked = decode_request(
        first(request, b"content-type"), request.body, None if length is None else int(length)
    )
    assert isinstance(asked, Prediction)
    for found in (asked, read(exchange)):
        (tensor,) = found.tensors
        assert (tensor.datatype, tensor.shape, tensor.rows) == (kind, (rows, columns), rows)
        assert [_plain(value) for value in tensor.data] == came


_OCTETS = {0xEF80 + number: 0xDC80 + number for number in range(0x80)}


def _plain(value: Any) -> str:
    """Return a value as the client program tells it; of what is no UTF-8 each byte is a letter from U+EF80 on."""
    if not isinstance(value, str):
        return repr(value)
    return repr(value.translate(_OCTETS).encode(errors="surrogateescape"))
