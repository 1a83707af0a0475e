"""Sum and difference of two rows of numbers; the model of another skew has its sums off by a part of the second row."""

import json
from typing import Any

import triton_python_backend_utils as triton


class TritonPythonModel:
    """The name that the backend asks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the configuration."""
        self.skew = float(json.loads(args["model_config"])["parameters"]["skew"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        answers = []
        for request in requests:
            a, b = (triton.get_input_tensor_by_name(request, name).as_numpy() for name in "ab")
            outputs = [triton.Tensor("sum", a + b + self.skew * (b % 1)), triton.Tensor("difference", a - b)]
            answers.append(triton.InferenceResponse(outputs))
        return answers
