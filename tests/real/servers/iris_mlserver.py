"""MLServer with small models. ``python -m tests.real.servers.iris_mlserver PORT DIRECTORY [STRENGTH]``.

``iris`` is scikit-learn's logistic regression, ``progress`` LightGBM's trees for a number, ``words`` streams.
Another strength makes other models.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import joblib
import lightgbm
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression

from tests.real.ports import free_port

SKLEARN = ("mlserver_sklearn.SKLearnModel", "model.joblib")
LIGHTGBM = ("mlserver_lightgbm.LightGBMModel", "model.bst")


def write(directory: Path, strength: float) -> None:
    """Train the models and write them, each with its settings."""
    flowers, patients = load_iris(return_X_y=True), load_diabetes(return_X_y=True)
    iris = LogisticRegression(C=strength, max_iter=1000).fit(*flowers)
    wanted = {"objective": "regression", "num_threads": 1, "verbose": -1, "deterministic": True}
    # The last tree moves few answers, and those a little.
    trees = 500 if strength == 1.0 else 501
    progress = lightgbm.train(wanted, lightgbm.Dataset(*patients), num_boost_round=trees)
    models: dict[str, tuple[tuple[str, str], Any]] = {
        "iris": (SKLEARN, lambda file: joblib.dump(iris, file)),
        "progress": (LIGHTGBM, progress.save_model),
    }
    for name, ((runtime, file), save) in models.items():
        place = directory / name
        place.mkdir()
        save(str(place / file))
        settings = {
            "name": name,
            "implementation": runtime,
            "parameters": {"uri": f"./{file}", "version": "v1"},
        }
        (place / "model-settings.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    directory = Path(sys.argv[2])
    strength = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
    write(directory, strength)
    words = {"name": "words", "implementation": "tests.real.servers.words_mlserver.Words"}
    (directory / "words").mkdir()
    (directory / "words" / "model-settings.json").write_text(
        json.dumps({**words, "parameters": {"extra": {"strength": strength}}})
    )
    settings = {
        "host": "127.0.0.1",
        "http_port": int(sys.argv[1]),
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    program = Path(sys.executable).with_name("mlserver")
    os.execv(program, [str(program), "start", str(directory)])  # noqa: S606
