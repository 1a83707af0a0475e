"""Calls as users of ``tritonclient.http`` write them; tensors are binary unless they say otherwise."""

import asyncio
import json
from typing import Any

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

from tests.real.clients.calling import serve


def _address(url: str) -> str:
    return url.removeprefix("http://")


def _client(url: str, **options: Any) -> Any:
    return triton.InferenceServerClient(_address(url), network_timeout=30, connection_timeout=30, **options)


def about(url: str, model: str) -> Any:
    """Ask for everything that is known of a server and a model."""
    with _client(url) as client:
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.is_model_ready(model),
            client.get_server_metadata(),
            client.get_model_metadata(model),
            client.get_model_config(model),
        ]


def about_oip(url: str, model: str) -> Any:
    """Ask for what every server of the Open Inference Protocol knows."""
    with _client(url) as client:
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.is_model_ready(model),
            client.get_server_metadata(),
            client.get_model_metadata(model),
        ]


def _tensors(library: Any, names: str, rows: int, columns: int, kind: str, binary: bool) -> list[Any]:
    dtype = {"FP32": np.float32, "FP64": np.float64}[kind]
    inputs = []
    for offset, name in enumerate(names):
        values = (np.arange(rows * columns, dtype=dtype).reshape(rows, columns) % 7 + offset) / 8
        tensor = library.InferInput(name, [rows, columns], kind)
        tensor.set_data_from_numpy(values.astype(dtype), binary_data=binary)
        inputs.append(tensor)
    return inputs


def _told(answer: Any) -> Any:
    document = answer.get_response()
    arrays = {each["name"]: answer.as_numpy(each["name"]) for each in document["outputs"]}
    shown = json.dumps(document, separators=(",", ":"), default=repr)
    return [shown, {name: [str(a.dtype), a.shape, a.tobytes()] for name, a in arrays.items()}]


def infer(
    url: str,
    model: str = "sums",
    names: str = "ab",
    outputs: tuple[str, ...] = ("sum", "difference"),
    rows: int = 2,
    columns: int = 4,
    kind: str = "FP32",
    binary_in: bool = True,
    binary_out: bool | None = None,
    times: int = 1,
    **options: Any,
) -> Any:
    """Infer; ``binary_out`` None asks for no output by name, which tritonclient turns into binary ones."""
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in outputs]
    tensors = _tensors(triton, names, rows, columns, kind, binary_in)
    with _client(url) as client:
        return [
            _told(client.infer(model, tensors, outputs=None if binary_out is None else wanted, **options))
            for _ in range(times)
        ]


def arrays(
    url: str,
    model: str,
    rows: dict[str, list[list[float]]],
    kind: str,
    outputs: list[str],
    binary_in: bool,
    binary_out: bool,
) -> Any:
    """Infer of the given rows, by input; return the outputs' values, by name, as lists."""
    inputs = []
    for name, values in rows.items():
        array = np.array(values, {"FP32": np.float32, "FP64": np.float64}[kind])
        tensor = triton.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array, binary_data=binary_in)
        inputs.append(tensor)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in outputs]
    with _client(url) as client:
        answer = client.infer(model, inputs, outputs=wanted)
        return {name: answer.as_numpy(name).tolist() for name in outputs}


def infer_at_once(url: str, count: int) -> Any:
    """Infer over several connections at once."""
    with _client(url, concurrency=4) as client:
        asked = [
            client.async_infer("sums", _tensors(triton, "ab", 1, n + 1, "FP32", True)) for n in range(count)
        ]
        return [_told(each.get_result()) for each in asked]


NUMPY = {
    "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8,
    "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "FP16": np.float16, "FP32": np.float32,
    "FP64": np.float64, "BYTES": np.object_,
}  # fmt: skip


def _echoed(kind: str, rows: int, columns: int) -> Any:
    """Return values up to the ends of the datatype's range."""
    count = rows * columns
    if kind == "BYTES":
        texts = [b"", "grüß dich".encode(), b"\xff\x00", b"cat"]
        return np.array([texts[at % 4] for at in range(count)], np.object_).reshape(rows, columns)
    if kind == "BOOL":
        return (np.arange(count) % 3 == 0).reshape(rows, columns)
    dtype = NUMPY[kind]
    limits = np.finfo(dtype) if kind.startswith("FP") else np.iinfo(dtype)
    values: Any = np.arange(count).astype(dtype)
    values[-2:] = [limits.min, limits.max][-min(count, 2) :] if count else []
    return values.reshape(rows, columns)


def echo(url: str, kind: str, rows: int, columns: int, binary_in: bool, binary_out: bool) -> Any:
    """Have values of one datatype given back; tell what was sent and what came."""
    values = _echoed(kind, rows, columns)
    tensor = triton.InferInput(f"in_{kind}", [rows, columns], kind)
    tensor.set_data_from_numpy(values, binary_data=binary_in)
    wanted = [triton.InferRequestedOutput(f"out_{kind}", binary_data=binary_out)]
    with _client(url) as client:
        came = client.infer("echoes", [tensor], outputs=wanted).as_numpy(f"out_{kind}")
    return [[_plain(each) for each in array.flatten().tolist()] for array in (values, came)]


def _plain(value: Any) -> str:
    return repr(value.encode() if isinstance(value, str) else value)


async def _infer_async(url: str) -> Any:
    async with triton_aio.InferenceServerClient(_address(url)) as client:
        tensors = _tensors(triton_aio, "ab", 2, 3, "FP32", True)
        wanted = [triton_aio.InferRequestedOutput("sum", binary_data=True)]
        return _told(await client.infer("sums", tensors, outputs=wanted))


def infer_async(url: str) -> Any:
    """Infer with the asynchronous client."""
    return asyncio.run(_infer_async(url))


if __name__ == "__main__":
    serve(
        {call.__name__: call for call in (about, about_oip, arrays, echo, infer, infer_at_once, infer_async)}
    )
