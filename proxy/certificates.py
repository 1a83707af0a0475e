"""Certificates and keys: read from their files, judged, and made into TLS contexts.

Theory of operation
    The supervisor alone reads the files. What it has read it judges as a whole (:func:`inspect`), and only what can
    be used is handed on, as text, to the workers. So a certificate that is being replaced is never half in force: key
    and certificate may change one after the other, and a worker that starts in the middle gets the last good pair.

    Towards clients: TLS 1.2 and 1.3 with the cipher suites that Python chooses (forward secrecy, authenticated
    encryption), no compression (CRIME), no renegotiation (a client could make us work for nothing). Towards models:
    verified by the system's trust store or by ``ca``, and never less because that failed.
"""

import os
import re
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from proxy.errors import Problem

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from proxy.settings import ModelTls, Settings, Source, Tls

__all__ = [
    "MAX_FILES_BYTES",
    "MAX_FILE_BYTES",
    "Files",
    "Inspection",
    "client_context",
    "inspect",
    "named_files",
    "read_files",
    "server_context",
]

MAX_FILE_BYTES = 1024 * 1024
"""A longer file is refused. The trust store of a whole operating system has a quarter of this."""

MAX_FILES_BYTES = 6 * 1024 * 1024
"""All files together. They go to the workers in one message, see ``link.MAX_LINE_BYTES``."""

Files = Mapping[str, str]
"""Path, as the configuration writes it → text."""

_Place = tuple[str | int, ...]

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]*-----END CERTIFICATE-----")
# A block ends before the next one begins: searched on from there, a file of beginnings would take quadratic time.
_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:(?!-----BEGIN ).)*?-----END [A-Z ]{0,40}PRIVATE KEY-----",
    re.DOTALL,
)

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_PROTOCOLS = ["http/1.1"]
"""What ALPN (RFC 7301) offers and accepts: the only version that is spoken."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the files of a configuration are worth."""

    files: dict[str, str]
    """Those that could be read."""
    problems: tuple[Problem, ...]
    """Why they cannot be used; empty when they can."""
    warnings: tuple[Problem, ...]
    """What an operator should look at, such as a certificate that has expired."""
    expiries: dict[str, int]
    """When the chains that we show end (the earliest certificate of each), Unix time, by model; ``""``: the
    listener's."""


# Reading


def named_files(settings: "Settings") -> tuple[str, ...]:
    """Return the path of every file that ``settings`` names, each once."""
    tls = settings.tls
    paths = [tls.certificate, tls.key, tls.client_ca]
    for model in settings.models.values():
        paths += [model.tls.ca, model.tls.certificate, model.tls.key]
    return tuple(dict.fromkeys(str(path) for path in paths if path is not None))


def read_files(paths: tuple[str, ...]) -> dict[str, str | OSError]:
    """Read the files, or keep why one cannot be read. Waits for the disk."""
    return {path: _read(path) for path in paths}


def _read(path: str) -> str | OSError:
    try:
        # Not blocking: to open a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return OSError(0, "not a regular file")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return error
    if len(content) > MAX_FILE_BYTES:
        return OSError(0, f"longer than {MAX_FILE_BYTES // 1024} KiB")
    # PEM is ASCII; what stands between the blocks (RFC 7468 §2) may be anything.
    return content.decode("latin-1")


# Judging


def inspect(
    settings: "Settings", found: Mapping[str, str | OSError], source: "Source", *, now_s: float
) -> Inspection:
    """Judge the files of ``settings``.

    Args:
        settings: which files, and what for.
        found: what :func:`read_files` returned.
        source: where the values stand, for the problems.
        now_s: the time, Unix time.
    """
    inspector = _Inspector(found, source, now_s)
    tls = settings.tls
    if tls.certificate is not None:
        sound = inspector.check_pair(("tls",), tls, "")
        sound = inspector.check_authorities(("tls", "client_ca"), tls.client_ca) and sound
        if sound:
            inspector.try_out(("tls", "certificate"), lambda: server_context(tls, inspector.files))
    for name, model in settings.models.items():
        inspector.check_model(("models", name, "tls"), name, model.tls)
    size = sum(map(len, inspector.files.values()))
    if size > MAX_FILES_BYTES:
        expected = f"at most {MAX_FILES_BYTES // 1024} KiB in all files for TLS together"
        inspector.add((), expected, f"{size // 1024} KiB")
    return Inspection(
        inspector.files, tuple(inspector.problems), tuple(inspector.warnings), inspector.expiries
    )


class _Inspector:
    def __init__(self, found: Mapping[str, str | OSError], source: "Source", now_s: float) -> None:
        self.files = {path: text for path, text in found.items() if isinstance(text, str)}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.expiries: dict[str, int] = {}
        self._unread = {path: error for path, error in found.items() if isinstance(error, OSError)}
        self._source = source
        self._now_s = now_s

    def add(self, place: _Place, expected: str, found: str) -> None:
        self.problems.append(self._source.problem(place, expected, found))

    def check_model(self, place: _Place, name: str, tls: "ModelTls") -> None:
        sound = self.check_authorities((*place, "ca"), tls.ca)
        if tls.certificate is not None:
            sound = self.check_pair(place, tls, name) and sound
        if sound and (tls.ca is not None or tls.certificate is not None):
            last = "certificate" if tls.certificate is not None else "ca"
            self.try_out((*place, last), lambda: client_context(tls, self.files))

    def check_authorities(self, place: _Place, path: Path | None) -> bool:
        """Check a file of certificates that vouch for others; False: it cannot be used."""
        if path is None:
            return True
        text = self._text(place, path)
        if text is not None and not _CERTIFICATE.search(text):
            self.add(place, "a PEM file with at least one certificate", _shown(path, "no certificate in it"))
            return False
        return text is not None

    def check_pair(self, place: _Place, tls: "Tls | ModelTls", name: str) -> bool:
        """Check that certificate and key can be read and belong together; False: they cannot be used."""
        assert tls.certificate is not None
        chain_place = (*place, "certificate")
        key_place, key_path = (*place, "key"), tls.key or tls.certificate
        chain_text = self._text(chain_place, tls.certificate)
        key_text = chain_text if tls.key is None else self._text(key_place, key_path)
        if chain_text is None or key_text is None:
            return False
        chain = self._chain(chain_place, tls.certificate, chain_text)
        key = self._key(key_place, key_path, key_text)
        if not chain or key is None:
            return False
        self._note_validity(chain_place, tls.certificate, chain, name)
        return self._belongs(key_place, key_path, key, chain)

    def try_out(self, place: _Place, build: Callable[[], object]) -> None:
        """Find what only OpenSSL knows: a key that is too short, a curve that it does not have."""
        try:
            build()
        except (ssl.SSLError, ValueError) as error:
            self.add(place, "what this system's OpenSSL accepts", f"what it refuses ({_reason(error)})")

    def _text(self, place: _Place, path: Path) -> str | None:
        error = self._unread.get(str(path))
        if error is not None:
            self.add(place, "a readable PEM file", _shown(path, _lowered(error.strerror or "an error")))
        return self.files.get(str(path))

    def _chain(self, place: _Place, path: Path, text: str) -> "list[Certificate]":
        from cryptography import x509

        try:
            return [x509.load_pem_x509_certificate(block.encode()) for block in _blocks(text)]
        except ValueError:
            self.add(place, "a PEM file with certificates", _shown(path, "a certificate that cannot be read"))
            return []
        finally:
            if not _CERTIFICATE.search(text):
                self.add(place, "a PEM file with a certificate", _shown(path, "no certificate in it"))

    def _key(self, place: _Place, path: Path, text: str) -> Any:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        block = _KEY.search(text)
        if block is None:
            self.add(place, "a PEM file with a private key", _shown(path, "no private key in it"))
            return None
        try:
            return load_pem_private_key(block[0].encode("latin-1"), None)
        except TypeError:
            expected = "a private key without a passphrase: nobody is there to be asked for one"
            self.add(place, expected, _shown(path, "one with a passphrase"))
        except (ValueError, UnsupportedAlgorithm):
            self.add(place, "a PEM file with a private key", _shown(path, "a key that cannot be read"))
        return None

    def _belongs(self, place: _Place, path: Path, key: Any, chain: "list[Certificate]") -> bool:
        public = key.public_key()
        fitting = [i for i, certificate in enumerate(chain) if certificate.public_key() == public]
        if fitting[:1] == [0]:
            return True
        if fitting:
            expected = "the key of the first certificate: put the server's own before those that vouch for it"
            self.add(place, expected, _shown(path, f"the key of certificate {fitting[0] + 1} in the chain"))
        else:
            self.add(place, "the private key of the certificate beside it", _shown(path, "another key"))
        return False

    def _note_validity(self, place: _Place, path: Path, chain: "list[Certificate]", name: str) -> None:
        end = min(certificate.not_valid_after_utc for certificate in chain)
        begin = max(certificate.not_valid_before_utc for certificate in chain)
        self.expiries[name] = int(end.timestamp())
        now = datetime.fromtimestamp(self._now_s, UTC)
        said = None
        if end < now:
            said = f"one that expired {end:%Y-%m-%d %H:%M} UTC"
        elif begin > now:
            said = f"one that is valid only from {begin:%Y-%m-%d %H:%M} UTC"
        if said is not None:
            expected = "a certificate that is valid now: peers will refuse this one"
            self.warnings.append(self._source.problem(place, expected, _shown(path, said)))


def _shown(path: Path, what: str) -> str:
    return f"{what} ({path})"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _blocks(text: str) -> list[str]:
    return _CERTIFICATE.findall(text)


def _reason(error: Exception) -> str:
    return (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()


# Building


_SERVER_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption (Mozilla's server side TLS, *intermediate*). Said here, as
what Python takes by default is the distribution's choice: Debian's includes CBC and keys without forward secrecy."""

_CLIENT_SUITES = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""For TLS 1.2 to models, which may be older than their clients: what Python itself takes since 3.10."""


def server_context(tls: "Tls", files: Files) -> ssl.SSLContext:
    """Return the context for connections from clients.

    Raises:
        ssl.SSLError: OpenSSL refuses a file's content.
        KeyError: a file is not among ``files``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_SERVER_SUITES)
    context.set_alpn_protocols(_PROTOCOLS)
    _show(context, tls, files)
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, files[str(tls.client_ca)])
    return context


def client_context(tls: "ModelTls", files: Files) -> ssl.SSLContext:
    """Return the context for connections to a model.

    Raises:
        ssl.SSLError: OpenSSL refuses a file's content.
        KeyError: a file is not among ``files``.
    """
    # Not ssl.create_default_context: what it makes differs between versions of Python.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CLIENT_SUITES)
    context.set_alpn_protocols(_PROTOCOLS)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca is None:
        context.load_default_certs()
    else:
        _trust(context, files[str(tls.ca)])
    if tls.certificate is not None:
        _show(context, tls, files)
    return context


def _trust(context: ssl.SSLContext, text: str) -> None:
    # What the file names is trusted, be it a root, an intermediate or the peer's own certificate (as curl and Go do).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata="\n".join(_blocks(text)))


def _show(context: ssl.SSLContext, tls: "Tls | ModelTls", files: Files) -> None:
    assert tls.certificate is not None
    chain_text, key_text = files[str(tls.certificate)], files[str(tls.key or tls.certificate)]
    key = _KEY.search(key_text)
    with _as_file("\n".join([*_blocks(chain_text), key[0] if key else "", ""])) as path:
        # The empty password keeps OpenSSL from asking for one at the terminal.
        context.load_cert_chain(path, password="")


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """Give ``text`` the path that OpenSSL wants, in memory where the system can: a key has no business on a disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("modelproxy-certificate", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("latin-1"))
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with NamedTemporaryFile("wb") as temporary:
            temporary.write(text.encode("latin-1"))
            temporary.flush()
            yield temporary.name
