"""The dashboard: one page that holds all it needs and asks ``/api/v1/status`` every two seconds."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

__all__ = ["CONTENT_SECURITY_POLICY", "PAGE", "build_policy"]

PAGE = Path(__file__).with_name("dashboard.html").read_bytes()
"""The page as it is served."""

_INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


def build_policy(page: bytes) -> str:
    """Return the content security policy under which ``page`` works and nothing else does.

    Inline style and script are allowed by their digests (CSP Level 3, §2.3.1), so what somebody managed to
    inject into the page would not run.
    """
    digests: dict[bytes, list[str]] = {b"style": [], b"script": []}
    for kind, content in _INLINE.findall(page):
        digests[kind].append(f"'sha256-{b64encode(sha256(content).digest()).decode()}'")
    style, script = " ".join(digests[b"style"]), " ".join(digests[b"script"])
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


CONTENT_SECURITY_POLICY = build_policy(PAGE)
"""Header value for :data:`PAGE`."""
