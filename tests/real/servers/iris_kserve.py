"""KServe's Python server with a small scikit-learn model. ``python -m tests.real.servers.iris_kserve PORT``."""

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
        self.model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
        self.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Return labels."""
        if not isinstance(payload, InferRequest):
            return {"predictions": self.model.predict(payload["instances"]).tolist()}
        labels = self.model.predict(payload.inputs[0].as_numpy()).astype(np.int64)
        output = InferOutput(name="label", shape=list(labels.shape), datatype="INT64", data=None)
        output.set_data_from_numpy(labels, binary_data=False)
        return InferResponse(response_id=payload.id or "none", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    iris = Iris("iris")
    iris.load()
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([iris])
