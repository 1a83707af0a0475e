"""Three words, an answer each: a model that streams."""

from typing import Any

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    """The name that the backend asks for."""

    def execute(self, requests: list[Any]) -> None:
        """Answer each request three times."""
        for request in requests:
            sender = request.get_response_sender()
            for word in ("alpha", "beta ", "δ"):
                text = triton.Tensor("text", np.array([word.encode()], dtype=object))
                sender.send(triton.InferenceResponse([text]))
            sender.send(flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
