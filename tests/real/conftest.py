"""Real servers, each started once for the tests of a file, and the client programs."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.llamas import llamas
from tests.real.processes import Driver, driver, needs, server
from tests.real.stage import Stage, stage

CLIENTS = "tests.real.clients.with_"
OWN_CLIENTS = {"kserve": "kserve", "mlflow": "mlflow"}
"""Those that come with a server, and where they are."""

LLAMA_DRAWN = (
    (re.compile(rb'"created":\d+'), b'"created":0'),
    (re.compile(rb'"(item_)?id":"(chatcmpl|cmpl|resp|msg)[-_]\w+"'), rb'"\1id":"\2"'),
    (re.compile(rb'"(created|completed)_at":\d+'), rb'"\1_at":0'),
    (re.compile(rb'"timings":\{[^}]*\}'), b'"timings":{}'),
)
LITSERVE_DRAWN = (
    (re.compile(rb'"created":\d+'), b'"created":0'),
    (re.compile(rb'"id":"chatcmpl-\w+"'), b'"id":"chatcmpl"'),
)
_UUID = rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MLSERVER_DRAWN = (
    (re.compile(rb'"id":"%b"' % _UUID), b'"id":""'),
    (re.compile(rb'"Ce-(Id|Requestid)":"%b"' % _UUID), rb'"Ce-\1":""'),
    (re.compile(rb"ce-(id|requestid): %b" % _UUID), rb"ce-\1: "),
    (re.compile(rb"'id': '%b'" % _UUID), b"'id': ''"),
)
KSERVE_DRAWN = ((re.compile(rb'"id":"%b"' % _UUID), b'"id":""'),)


@pytest.fixture(scope="session")
def small() -> None:
    """Skip what needs the small environment when it is not installed."""
    needs("small")


@pytest.fixture(scope="session")
def drivers(small: None) -> Iterator[Callable[[str], Driver]]:
    """Client programs by name, each started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[str, Driver] = {}

        def start(name: str) -> Driver:
            if name == "curl" and shutil.which(name) is None:
                pytest.skip("no curl")
            environment = OWN_CLIENTS.get(name, "small")
            needs(environment)
            if name not in started:
                started[name] = stack.enter_context(driver(environment, CLIENTS + name))
            return started[name]

        yield start


@pytest.fixture(scope="module")
def llama_ports(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Two llamas of different weights."""
    with llamas(tmp_path_factory.mktemp("llama"), ("1",), ("2",)) as (one, other):
        yield one, other


@pytest.fixture(scope="module")
def llama(llama_ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """llama.cpp; copies go to other weights."""
    with stage(*llama_ports, tmp_path_factory.mktemp("stage"), LLAMA_DRAWN) as ready:
        yield ready


@pytest.fixture(scope="module")
def litserve(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """LitServe, which gets its own copies."""
    with (
        server("small", "tests.real.servers.lit", ready="/health") as port,
        stage(port, port, tmp_path_factory.mktemp("stage"), LITSERVE_DRAWN) as ready,
    ):
        yield ready


@pytest.fixture(scope="module")
def triton(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Triton, which gets its own copies."""
    directory: Path = tmp_path_factory.mktemp("triton")
    with (
        server("small", "tests.real.servers.triton", directory, ready="/v2/health/ready") as port,
        stage(port, port, tmp_path_factory.mktemp("stage")) as ready,
    ):
        yield ready


@pytest.fixture(scope="module")
def mlserver(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """MLServer, which gets its own copies."""
    needs("mlserver")
    directory = tmp_path_factory.mktemp("mlserver")
    module, ready = "tests.real.servers.iris_mlserver", "/v2/models/iris/ready"
    with (
        server("mlserver", module, directory, ready=ready) as port,
        stage(port, port, tmp_path_factory.mktemp("stage"), MLSERVER_DRAWN) as on_stage,
    ):
        yield on_stage


@pytest.fixture(scope="module")
def kserve(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """KServe's server, which gets its own copies."""
    needs("kserve")
    with (
        server("kserve", "tests.real.servers.iris_kserve", ready="/v2/models/iris/ready") as port,
        stage(port, port, tmp_path_factory.mktemp("stage"), KSERVE_DRAWN) as on_stage,
    ):
        yield on_stage


@pytest.fixture(scope="module")
def mlflow(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """MLflow's scoring server, which gets its own copies."""
    needs("mlflow")
    directory = tmp_path_factory.mktemp("mlflow")
    with (
        server("mlflow", "tests.real.servers.iris_mlflow", directory, ready="/ping") as port,
        stage(port, port, tmp_path_factory.mktemp("stage")) as on_stage,
    ):
        yield on_stage
