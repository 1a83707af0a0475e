"""A model server over its own HTTP: the protocol, its refusals, and its books."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from numpy.typing import NDArray

from proxy.demo.models import ROLES, TrainedModel
from proxy.demo.oip import build_question
from proxy.demo.server import MAX_BODY_BYTES, build_app

INFER = "/v2/models/digits/infer"
QUESTION = build_question(np.full(64, 4.0))


class FakeEstimator:
    """Says that every scan shows the mean of its pixels."""

    classes_ = np.arange(10)

    def predict_proba(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return certainty."""
        certain: NDArray[np.float64] = np.eye(10)[rows.mean(axis=1).astype(int)]
        return certain


class RaisingEstimator(FakeEstimator):
    """Raises on every scan."""

    def predict_proba(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raise what numpy raises of an empty slice."""
        raise ValueError("zero-size array")


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    """A client of a champion's server."""
    app = build_app(TrainedModel(ROLES["champion"], FakeEstimator(), accuracy=1.0))
    async with TestClient(TestServer(app)) as client:
        yield client


READABLE = [
    ("/v2", {"name": "modelproxy-demo", "version": "1", "extensions": []}),
    ("/v2/health/live", {"live": True}),
    ("/v2/health/ready", {"ready": True}),
    ("/v2/models/digits/ready", {"name": "digits", "ready": True}),
    ("/v2/models/digits/versions/1/ready", {"name": "digits", "ready": True}),
]


@pytest.mark.parametrize(("path", "expected"), READABLE, ids=[path for path, _ in READABLE])
async def test_protocol(client: TestClient[Any, Any], path: str, expected: dict[str, Any]) -> None:
    """The parts of the protocol that only read answer as it says."""
    response = await client.get(path)
    assert (response.status, await response.json()) == (200, expected)


async def test_metadata(client: TestClient[Any, Any]) -> None:
    """The model's metadata is at the model's address."""
    response = await client.get("/v2/models/digits")
    assert (await response.json())["versions"] == ["1"]


@pytest.mark.parametrize("path", [INFER, "/v2/models/digits/versions/1/infer"])
async def test_inference(client: TestClient[Any, Any], path: str) -> None:
    """A question is answered with the label and the probabilities."""
    response = await client.post(path, data=QUESTION)
    document = await response.json()
    assert (response.status, response.content_type) == (200, "application/json")
    assert document["outputs"][0]["data"] == [4]


REFUSED = [
    ("bad question", "POST", INFER, b"{}", 400, "inputs"),
    ("another model", "POST", "/v2/models/wine/infer", QUESTION, 404, "digits version 1"),
    ("another version", "POST", "/v2/models/digits/versions/2/infer", QUESTION, 404, "digits version 1"),
    ("another path", "GET", "/v1", b"", 404, "Not Found"),
    ("another method", "GET", INFER, b"", 405, "Method Not Allowed"),
    ("too large", "POST", INFER, b"0" * (MAX_BODY_BYTES + 1), 413, ""),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
async def test_refused(
    client: TestClient[Any, Any], method: str, path: str, body: bytes, status: int, said: str
) -> None:
    """Every refusal is JSON with one sentence."""
    response = await client.request(method, path, data=body)
    assert response.status == status
    assert said in (await response.json())["error"]


async def test_books(client: TestClient[Any, Any]) -> None:
    """Requests, shadow requests, refusals and repetitions are counted apart, answers kept by request id."""

    async def ask(request_id: str, user: str, body: bytes = QUESTION, shadow: str = "0") -> None:
        headers = {"x-request-id": request_id, "x-user-id": user, "x-modelproxy-shadow": shadow}
        await client.post(INFER, data=body, headers=headers)

    await ask("a", "u1")
    await ask("b", "u1")
    await ask("b", "u1")
    await ask("c", "u2", b"{}")
    await ask("a", "u1", shadow="1")
    counts = await (await client.get("/demo/counts?version=1")).json()
    assert counts.pop("busy_ms") > 0
    assert counts == {
        "requests": 4,
        "shadow_requests": 1,
        "refused": 1,
        "failed": 0,
        "repeated": 1,
        "forgotten": 0,
        "units": {"u1": 2, "u2": 1},
    }
    answers = await (await client.get("/demo/answers")).json()
    assert answers == {"primary": {"a": 4, "b": 4, "c": None}, "shadow": {"a": 4}}


async def test_a_server_of_several_versions() -> None:
    """Each version answers for itself and has books of its own; one that raises is a 500 in its own."""
    app = build_app(
        TrainedModel(ROLES["champion"], FakeEstimator(), accuracy=1.0),
        TrainedModel(ROLES["broken"], RaisingEstimator(), accuracy=0.0),
    )
    async with TestClient(TestServer(app)) as client:
        for path, status in ((INFER, 200), ("/v2/models/digits/versions/4/infer", 500)):
            response = await client.post(path, data=QUESTION, headers={"x-request-id": "a", "x-user-id": "u"})
            assert response.status == status
        assert "zero-size" in (await response.json())["error"]
        for version, failed in (("1", 0), ("4", 1)):
            counts = await (await client.get(f"/demo/counts?version={version}")).json()
            assert (counts["requests"], counts["failed"], counts["units"]) == (1, failed, {"u": 1})
        answers = await (await client.get("/demo/answers?version=4")).json()
        assert answers == {"primary": {"a": None}, "shadow": {}}
        assert (await client.get("/demo/counts?version=9")).status == 404
