"""KServe's Python server with a small scikit-learn model. ``python -m tests.real.servers.iris_kserve PORT [STRENGTH]``.

Another strength of the logistic regression makes another model.
"""

import sys
from typing import Any

import kserve
import numpy as np
from kserve.protocol.infer_type import InferOutput, InferRequest, InferResponse
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


class Iris(kserve.Model):
    """Answers both protocols: V1 as JSON, V2 with tensors."""

    def load(self) -> bool:
        """Train."""
        strength = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
        self.model = LogisticRegression(C=strength, max_iter=1000).fit(*load_iris(return_X_y=True))
        self.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Return labels; probabilities in V1 where the instances say so."""
        if not isinstance(payload, InferRequest):
            if payload.get("signature_name") == "chances":
                return {"predictions": self.model.predict_proba(payload["instances"]).tolist()}
            return {"predictions": self.model.predict(payload["instances"]).tolist()}
        labels = self.model.predict(payload.inputs[0].as_numpy()).astype(np.int64)
        output = InferOutput(name="label", shape=list(labels.shape), datatype="INT64", data=None)
        output.set_data_from_numpy(labels, binary_data=False)
        return InferResponse(response_id=payload.id or "none", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    iris = Iris("iris")
    iris.load()
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([iris])
