"""Calls as users of KServe's own client write them."""

import asyncio
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

from tests.real.clients.calling import serve


async def _predicted(url: str, protocol: str, rows: list[list[float]], kind: str) -> Any:
    async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0, timeout=30)) as client:
        if protocol == "v1":
            asked = {"instances": rows, "signature_name": kind}
            return (await client.infer(url, asked, model_name="iris"))["predictions"]
        values = np.array(rows)
        tensor = InferInput("x", list(values.shape), "FP64")
        tensor.set_data_from_numpy(values, binary_data=kind == "binary")
        answer = await client.infer(url, InferRequest("iris", [tensor]), model_name="iris")
        return answer.outputs[0].as_numpy().tolist()


def predicted(url: str, protocol: str, rows: list[list[float]], kind: str) -> Any:
    """Ask for labels or chances in the first protocol, for labels in the second."""
    return asyncio.run(_predicted(url, protocol, rows, kind))


if __name__ == "__main__":
    serve({"predicted": predicted})
