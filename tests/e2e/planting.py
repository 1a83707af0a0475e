"""Secrets that are planted, the forms in which they may come out again, and where they were heard."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote

__all__ = ["Heard", "forms"]


def forms(secret: str) -> set[bytes]:
    """Return how ``secret`` may stand in something: as it is, encoded, escaped, or in other letters."""
    raw = secret.encode()
    letters = {secret, secret.swapcase(), secret.lower(), secret.upper()}
    found = {each.encode() for each in letters}
    found |= {quote(secret, safe="").encode(), quote(secret, safe="").replace("%", "%25").encode()}
    found |= {raw.hex().encode(), raw.hex().upper().encode(), secret.encode("utf-16-le")}
    found |= {"".join(f"\\u{ord(c):04x}" for c in secret).encode(), secret.replace("@", "\\u0040").encode()}
    # UTF-16 that was read byte by byte, as JSON and Python write it.
    found |= {between.join(secret).encode() for between in ("\\u0000", "\\x00")}
    found |= {raw.hex(" ").encode(), raw.hex(":").encode(), "".join(f"={code:02X}" for code in raw).encode()}
    found |= {b"".join(b"%s%03o" % (slash, code) for code in raw) for slash in (b"\\", b"\\" * 2, b"\\" * 4)}
    found |= {raw[::-1], ",".join(map(str, raw)).encode(), ", ".join(map(str, raw)).encode()}
    return found | set(_base64_forms(raw))


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """Yield what of the base64 of a text with ``raw`` in it does not depend on what stands around it."""
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * before + raw + b"\0\0\0")[first:last]


class Heard:
    """Everything that came out of a proxy, by where it came from."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    def take(self, where: str, what: bytes) -> None:
        """Keep ``what``."""
        self.said[where] = self.said.get(where, b"") + what

    def leaks(self, secret: str) -> list[str]:
        """Return where ``secret`` was heard, in whichever form."""
        wanted = forms(secret)
        return [where for where, what in self.said.items() if any(form in what for form in wanted)]
