"""MLflow's scoring server with scikit-learn's logistic regression of the iris data.

``python -m tests.real.servers.iris_mlflow PORT DIRECTORY [STRENGTH]``. Another strength makes another model.
"""

import os
import sys
from pathlib import Path

import mlflow.sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

if __name__ == "__main__":
    directory = Path(sys.argv[2]) / "model"
    strength = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
    flowers, kinds = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(C=strength, max_iter=1000).fit(flowers, kinds)
    mlflow.sklearn.save_model(model, directory, pip_requirements=[], serialization_format="pickle")
    program = Path(sys.executable).with_name("mlflow")
    where = [
        "--model-uri",
        str(directory),
        "--host",
        "127.0.0.1",
        "--port",
        sys.argv[1],
        "--env-manager",
        "local",
    ]
    # The command starts uvicorn by its name.
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    os.execve(program, [str(program), "models", "serve", *where], os.environ | {"PATH": path})  # noqa: S606
