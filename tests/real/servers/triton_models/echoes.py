"""Gives back what it gets, of every datatype that numpy has."""

from typing import Any

import triton_python_backend_utils as triton

INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
KINDS = [*INTEGERS, "BOOL", "FP16", "FP32", "FP64", "BYTES"]


class TritonPythonModel:
    """The name that the backend asks for."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        answers = []
        for request in requests:
            given = {kind: triton.get_input_tensor_by_name(request, f"in_{kind}") for kind in KINDS}
            outputs = [
                triton.Tensor(f"out_{kind}", x.as_numpy()) for kind, x in given.items() if x is not None
            ]
            answers.append(triton.InferenceResponse(outputs))
        return answers
