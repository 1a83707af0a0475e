"""LitServe: an OpenAI chat model of its own generator, a plain model, and uploads of any kind."""

import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import litserve
from fastapi import Request, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import StreamingResponse

from tests.real.clients.calling import octets

WORDS = ("alpha ", "beta ", "gamma: ça, δ ", "\n\n", "data: [DONE] ")


class Chat(litserve.LitAPI):
    """Says the same words to everybody, one chunk a word."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def predict(self, prompt: Any) -> Iterator[str]:
        """Give the words one by one."""
        yield from WORDS


class Doubling(litserve.LitAPI):
    """Doubles a number or a text."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request: dict[str, Any]) -> Any:
        """Return the input."""
        return request["input"]

    def predict(self, x: Any) -> Any:
        """Return it twice."""
        return x * 2

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the answer's document."""
        return {"output": output}


async def upload(request: Request) -> dict[str, Any]:
    """Tell what came."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest(), "type": request.headers.get("content-type")}


async def download(size: int) -> Response:
    """Send bytes in pieces of uneven length, without saying how many."""

    async def pieces() -> AsyncIterator[bytes]:
        body = octets(size)
        for at in range(0, size, 77_777):
            yield body[at : at + 77_777]

    return StreamingResponse(pieces(), media_type="application/octet-stream")


async def cookies() -> Response:
    """Send fields that occur twice, are empty, or are not ASCII."""
    answer = Response(b"crumbs", headers={"x-empty": "", "x-latin": "caf\u00e9", "etag": '"v1"'})
    answer.set_cookie("one", "1")
    answer.set_cookie("two", "2")
    return answer


async def nothing(status: int) -> Response:
    """Answer with a status and no body."""
    return Response(status_code=status, headers={"etag": '"v1"', "location": "/elsewhere"})


if __name__ == "__main__":
    server = litserve.LitServer(
        [Chat(spec=litserve.OpenAISpec()), Doubling(api_path="/predict")],
        accelerator="cpu",
        middlewares=[(GZipMiddleware, {"minimum_size": 1000})],
    )
    server.app.add_api_route("/upload", upload, methods=["POST", "PUT"])
    server.app.add_api_route("/download", download, methods=["GET"])
    server.app.add_api_route("/cookies", cookies, methods=["GET", "HEAD"])
    server.app.add_api_route("/nothing/{status}", nothing, methods=["GET", "POST"])
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        generate_client_file=False,
        num_api_servers=1,
        log_level="warning",
    )
