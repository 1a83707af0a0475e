"""Sum and difference of two rows of numbers."""

from typing import Any

import triton_python_backend_utils as triton


class TritonPythonModel:
    """The name that the backend asks for."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        answers = []
        for request in requests:
            a, b = (triton.get_input_tensor_by_name(request, name).as_numpy() for name in "ab")
            outputs = [triton.Tensor("sum", a + b), triton.Tensor("difference", a - b)]
            answers.append(triton.InferenceResponse(outputs))
        return answers
