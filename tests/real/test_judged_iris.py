"""Two models of the iris data on unmodified servers: what disagrees is what numpy finds in what their clients read.

`make real-servers` installs them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.datasets import load_diabetes, load_iris

from tests.real.judged import Judging, Pair, hold, judging, of_chances, of_numbers, of_rows, of_texts
from tests.real.processes import Driver, needs, server

pytestmark = [pytest.mark.slow, pytest.mark.long]

FLOWERS = load_iris().data.reshape(-1, 10, 4).tolist()
PATIENTS = load_diabetes().data[:100].reshape(-1, 5, 10).tolist()
COLUMNS = load_iris().feature_names
STRENGTH = "0.1"
"""Of the shadow's models; the champion's have 1."""


@contextmanager
def two(
    environment: str, ready: str, places: pytest.TempPathFactory, *, keeps: bool = True
) -> Iterator[Judging]:
    """Run two servers of one kind, and the proxy before them.

    Args:
        environment: where; the server's module is named after it.
        ready: path that answers 200 when the models are loaded.
        places: for what they write.
        keeps: the server is told where.
    """
    needs(environment)
    module = f"tests.real.servers.iris_{environment}"
    one, other = ([places.mktemp(name)] if keeps else [] for name in ("one", "other"))
    with (
        server(environment, module, *one, ready=ready) as champion,
        server(environment, module, *other, STRENGTH, ready=ready) as shadow,
        judging(champion, shadow, places.mktemp("proxy")) as stand,
    ):
        yield stand


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """MLServer with scikit-learn's and LightGBM's runtimes."""
    with two("mlserver", "/v2/health/ready", tmp_path_factory) as stand:
        yield stand


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """KServe's Python server."""
    with two("kserve", "/v2/models/iris/ready", tmp_path_factory, keeps=False) as stand:
        yield stand


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """``mlflow models serve``."""
    with two("mlflow", "/ping", tmp_path_factory) as stand:
        yield stand


def gave(client: Driver, call: str, url: str, **arguments: Any) -> Any:
    """Return what a client program made of an answer."""
    told = client.call(call, url, **arguments)
    assert "gave" in told, told
    return told["gave"]


def of_labels(one: Any, other: Any) -> Pair:
    """Labels as lists."""
    return of_rows(np.array(one), np.array(other))


def of_output(name: str, judge: Callable[[Any, Any], Pair]) -> Callable[[Any, Any], Pair]:
    """Return what judges the output of a name."""
    return lambda one, other: judge(np.array(one[name]), np.array(other[name]))


MODELS: dict[str, tuple[str, Any, list[str], str, Callable[[Any, Any], Pair]]] = {
    "labels": ("iris", FLOWERS, ["predict"], "classification", of_output("predict", of_rows)),
    "labels beside probabilities": (
        "iris",
        FLOWERS,
        ["predict", "predict_proba"],
        "classification",
        of_output("predict_proba", of_chances),
    ),
    "LightGBM's number": ("progress", PATIENTS, ["predict"], "regression", of_output("predict", of_numbers)),
}
"""What is asked → model, its rows, its outputs; how that is judged, and by which of our formulas."""


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_mlserver(mlserver: Judging, drivers: Callable[[str], Driver], name: str, binary: bool) -> None:
    """MLServer's runtimes of scikit-learn and LightGBM by ``tritonclient``, outputs in JSON and in binary."""
    model, rows, outputs, method, expected = MODELS[name]

    def ask(url: str, number: int) -> Any:
        asked = {"model": model, "rows": {"x": rows[number]}, "kind": "FP64", "outputs": outputs}
        return gave(drivers("tritonclient"), "arrays", url, **asked, binary_in=False, binary_out=binary)

    hold(mlserver, ask, len(rows), method, expected)


def test_mlserver_streams(mlserver: Judging, drivers: Callable[[str], Driver]) -> None:
    """A stream of answers is compared as the text that its pieces are, whatever they say of the call."""

    def ask(url: str, number: int) -> str:
        prompt = {"name": "prompt", "shape": [1], "datatype": "BYTES", "data": [str(number)]}
        asked = {"method": "POST", "path": "/v2/models/words/infer_stream", "json": {"inputs": [prompt]}}
        (told,) = gave(drivers("httpx"), "plain", url, **asked, stream=True)
        pieces = [orjson.loads(line.removeprefix("data: ")) for line in told["lines"] if line]
        return "".join(piece["outputs"][0]["data"][0] for piece in pieces)

    hold(mlserver, ask, 9, "text", of_texts)


@pytest.mark.parametrize(
    ("protocol", "kind"), [("v1", "labels"), ("v1", "chances"), ("v2", "JSON"), ("v2", "binary")]
)
def test_kserve(kserve: Judging, drivers: Callable[[str], Driver], protocol: str, kind: str) -> None:
    """KServe's server by its own client, in both protocols."""

    def ask(url: str, number: int) -> Any:
        return gave(drivers("kserve"), "predicted", url, protocol=protocol, rows=FLOWERS[number], kind=kind)

    def expected(one: Any, other: Any) -> Pair:
        return (of_chances if kind == "chances" else of_rows)(np.array(one), np.array(other))

    hold(kserve, ask, len(FLOWERS), "classification", expected)


@pytest.mark.parametrize("form", ["table", "array"])
def test_mlflow(mlflow: Judging, drivers: Callable[[str], Driver], form: str) -> None:
    """MLflow's server by its own client, which posts a split data frame or inputs."""

    def ask(url: str, number: int) -> Any:
        return gave(drivers("mlflow"), "predicted", url, form=form, rows=FLOWERS[number], columns=COLUMNS)

    hold(mlflow, ask, len(FLOWERS), "classification", of_labels)


INVOCATIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "dataframe_split": lambda rows: {"json": {"dataframe_split": {"columns": COLUMNS, "data": rows}}},
    "dataframe_records": lambda rows: {
        "json": {"dataframe_records": [dict(zip(COLUMNS, row, strict=True)) for row in rows]}
    },
    "instances": lambda rows: {"json": {"instances": rows}},
    "inputs": lambda rows: {"json": {"inputs": rows}},
}


@pytest.mark.parametrize("form", INVOCATIONS)
def test_mlflow_forms(mlflow: Judging, drivers: Callable[[str], Driver], form: str) -> None:
    """The four forms of ``/invocations``."""

    def ask(url: str, number: int) -> Any:
        asked = INVOCATIONS[form](FLOWERS[number])
        (told,) = gave(drivers("requests"), "plain", url, method="POST", path="/invocations", **asked)
        return orjson.loads(told["text"])["predictions"]

    hold(mlflow, ask, len(FLOWERS), "classification", of_labels)
