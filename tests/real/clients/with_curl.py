"""Plain calls as people type them with ``curl``. What a call may say: see :mod:`tests.real.calls`."""

import gzip
import json as json_module
import subprocess
from typing import Any

from tests.real.clients.calling import octets, seen, serve


def plain(
    url: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    json: Any = None,
    size: int = 0,
    chunked: bool = False,
    compress: bool = False,
    files: bool = False,
    stream: bool = False,
    times: int = 1,
    options: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Make the same call ``times`` times with one command."""
    headers = dict(headers or {})
    body = octets(size)
    if json is not None:
        body, headers["content-type"] = json_module.dumps(json).encode(), "application/json"
    if compress:
        body, headers["content-encoding"] = gzip.compress(body, mtime=0), "gzip"
    if files:
        headers["content-type"] = "multipart/form-data; boundary=fixed"
        body = (
            b'--fixed\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n\r\n%b\r\n--fixed--\r\n'
            % body
        )
    words = [
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--no-buffer",
        "--compressed",
        "--path-as-is",
    ]
    words += ["--head"] if method == "HEAD" else ["--request", method]
    # --head prints the header lines, which differ by what the proxy adds.
    words += ["--output", "/dev/null"] if method == "HEAD" else []
    if chunked:
        words += ["--upload-file", "-"]  # of unknown length
    elif body:
        words += ["--data-binary", "@-"]
    for name, value in headers.items():
        words += [
            "--header",
            name if name.endswith(";") else f"{name}: {value}",
        ]  # "X-Empty;": a field without a value
    words += ["--write-out", r"\n%{http_code} %{content_type}\n", *options]
    words += ["--", *([url + path] * times)]
    done = subprocess.run(words, input=body, capture_output=True, timeout=60, check=False)
    return [{"exit": done.returncode, "error": done.stderr.decode(), **seen(done.stdout)}]


if __name__ == "__main__":
    serve({"plain": plain})
