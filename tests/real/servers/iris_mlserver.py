"""MLServer with a small scikit-learn model. ``python -m tests.real.servers.iris_mlserver PORT DIRECTORY``."""

import json
import os
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.real.ports import free_port

if __name__ == "__main__":
    directory = Path(sys.argv[2])
    joblib.dump(
        LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), directory / "model.joblib"
    )
    settings = {
        "host": "127.0.0.1",
        "http_port": int(sys.argv[1]),
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
    }
    model = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v1"},
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    (directory / "model-settings.json").write_text(json.dumps(model))
    program = Path(sys.executable).with_name("mlserver")
    os.execv(program, [str(program), "start", str(directory)])  # noqa: S606
