"""Certificate files: what is read, what is refused in which words, and what is made of it."""

import errno
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy import certificates
from proxy.certificates import (
    MAX_FILE_BYTES,
    Inspection,
    client_context,
    inspect,
    named_files,
    read_files,
    server_context,
)
from proxy.clock import wall_ns
from proxy.settings import ModelTls, Tls, parse_with_source
from tests.certificate_world import Authority

AUTHORITY = Authority()
GOOD, OTHER = AUTHORITY.issue("localhost", days=30), AUTHORITY.issue("localhost", days=60)
EXPIRED, EARLY = AUTHORITY.issue("h", days=-2), AUTHORITY.issue("h")
LOCKED = AUTHORITY.issue("h", passphrase=b"secret")
NOW_S = wall_ns() / 1e9


def judged(folder: Path, tls: str, model: str = "", now_s: float = NOW_S) -> Inspection:
    """Return the inspection of a file with these sections; names in them are files of ``folder``."""
    text = f"""
tls: {tls}
models: {{m: {{url: "https://h", tls: {{{model}}}}}}}
routes: [{{name: r, match: {{path: "*"}}, variants: [{{name: v, model: m, role: champion}}]}}]
""".replace("@", f"{folder}/")
    settings, source = parse_with_source(text, environ={})
    return inspect(settings, read_files(named_files(settings)), source, now_s=now_s)


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """A folder with every kind of file."""
    AUTHORITY.write(tmp_path)
    for name, identity in {"good": GOOD, "other": OTHER, "expired": EXPIRED, "locked": LOCKED}.items():
        identity.write(tmp_path, name)
    (tmp_path / "both.pem").write_text(GOOD.key + GOOD.certificate)
    (tmp_path / "turned.pem").write_text(AUTHORITY.pem + GOOD.certificate)
    (tmp_path / "chain.pem").write_text(f"# caf\u00e9\n{GOOD.certificate}{AUTHORITY.pem}", encoding="latin-1")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "broken.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (tmp_path / "long.pem").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    os.mkfifo(tmp_path / "pipe.pem")
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "rsa.key").write_bytes(pem)
    return tmp_path


@pytest.mark.parametrize(
    "tls",
    [
        "{certificate: @good.pem, key: @good.key}",
        "{certificate: @both.pem}",
        "{certificate: @chain.pem, key: @good.key, client_ca: @ca.pem, min_version: 1.3}",
    ],
)
def test_what_can_be_used(folder: Path, tls: str) -> None:
    """A pair, a file with both and a chain are taken as they are, with the end of the earliest certificate."""
    found = judged(folder, tls, "ca: @ca.pem, certificate: @other.pem, key: @other.key")
    assert found.problems == found.warnings == ()
    assert found.expiries == {"": GOOD.expires_s, "m": OTHER.expires_s}


def test_no_files(folder: Path) -> None:
    """Without TLS, and with the system's trust store, there is nothing to read."""
    assert judged(folder, "{}") == Inspection({}, (), (), {})


PROBLEMS = {
    "missing": ("@gone.pem, key: @good.key", "tls.certificate", "no such file or directory ("),
    "folder": ("@., key: @good.key", "tls.certificate", "is a directory"),
    "device": ("/dev/zero, key: @good.key", "tls.certificate", "not a regular file"),
    "pipe": ("@pipe.pem, key: @good.key", "tls.certificate", "not a regular file"),
    "long": ("@long.pem, key: @good.key", "tls.certificate", "longer than 1024 KiB"),
    "no certificate": ("@good.key, key: @good.key", "tls.certificate", "no certificate in it"),
    "broken certificate": ("@broken.pem, key: @good.key", "tls.certificate", "cannot be read"),
    "no key": ("@good.pem, key: @good.pem", "tls.key", "no private key in it"),
    "no key in the same file": ("@good.pem", "tls.key", "no private key in it"),
    "broken key": ("@good.pem, key: @broken.key", "tls.key", "a key that cannot be read"),
    "another key": ("@good.pem, key: @other.key", "tls.key", "found another key"),
    "another kind of key": ("@good.pem, key: @rsa.key", "tls.key", "found another key"),
    "wrong order": ("@turned.pem, key: @good.key", "tls.key", "the key of certificate 2 in the chain"),
    "passphrase": ("@locked.pem, key: @locked.key", "tls.key", "expected a private key without a passphrase"),
    "authority missing": ("@good.pem, key: @good.key, client_ca: @gone", "tls.client_ca", "no such file"),
    "authority empty": ("@good.pem, key: @good.key, client_ca: @good.key", "tls.client_ca", "no certificate"),
    "authority broken": ("@good.pem, key: @good.key, client_ca: @broken.pem", "tls.certificate", "refuses"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_is_refused(case: str, folder: Path) -> None:
    """Each problem is told once, with its place in the configuration and the path, and no content."""
    written, path, words = PROBLEMS[case]
    (problem,) = judged(folder, f"{{certificate: {written}}}").problems
    assert problem.path == path
    assert problem.line == 2
    assert words in str(problem)
    assert "BEGIN" not in str(problem)


def test_an_unreadable_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions are named. (Tests may run as root, who may read everything.)"""
    real = os.open

    def refusing(path: str, flags: int) -> int:
        if path.endswith("good.key"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", refusing)
    (problem,) = judged(folder, "{certificate: @good.pem, key: @good.key}").problems
    assert problem.path == "tls.key"
    assert "found permission denied" in str(problem)


MODEL_PROBLEMS = {
    "authority missing": ("ca: @gone", "models.m.tls.ca"),
    "authority broken": ("ca: @broken.pem", "models.m.tls.ca"),
    "another key": ("certificate: @good.pem, key: @other.key", "models.m.tls.key"),
}


@pytest.mark.parametrize("case", MODEL_PROBLEMS)
def test_what_is_refused_of_a_model(case: str, folder: Path) -> None:
    """The files of a model are looked at like the listener's."""
    written, path = MODEL_PROBLEMS[case]
    assert [problem.path for problem in judged(folder, "{}", written).problems] == [path]


def test_all_problems_at_once(folder: Path) -> None:
    """One run tells everything."""
    found = judged(folder, "{certificate: @gone, key: @gone2, client_ca: @good.key}", "ca: @gone3")
    assert [p.path for p in found.problems] == [
        *("tls.certificate", "tls.key", "tls.client_ca", "models.m.tls.ca"),
    ]


def test_too_much_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of all files is bounded."""
    monkeypatch.setattr(certificates, "MAX_FILES_BYTES", 1024)
    (problem,) = judged(folder, "{certificate: @good.pem, key: @good.key, client_ca: @ca.pem}").problems
    assert "in all files" in str(problem)


@pytest.mark.parametrize(
    ("now_s", "words"),
    [(NOW_S, None), (GOOD.expires_s + 1, "one that expired"), (NOW_S - 30 * 86_400, "valid only from")],
    ids=["good", "expired", "not yet"],
)
def test_a_certificate_out_of_its_time_is_a_warning(folder: Path, now_s: float, words: str | None) -> None:
    """It is used all the same: clients decide, and a clock may be wrong."""
    found = judged(folder, "{certificate: @good.pem, key: @good.key}", now_s=now_s)
    assert found.problems == ()
    assert [words in str(w) for w in found.warnings if words] == [True] * (words is not None)


FILES = {"ca": AUTHORITY.pem, "cert": GOOD.certificate, "key": GOOD.key, "own": OTHER.certificate + OTHER.key}


def test_the_server_s_floor() -> None:
    """Nothing below the configured version, no compression, no renegotiation, no unauthenticated suite."""
    context = server_context(Tls.model_validate({"certificate": "cert", "key": "key"}), FILES)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode is ssl.CERT_NONE
    suites = [suite["name"] for suite in context.get_ciphers()]
    old = [name for name in suites if not name.startswith("TLS_")]
    assert all(name.startswith(("ECDHE-", "DHE-")) for name in old)
    assert all("GCM" in name or "CHACHA20" in name for name in old)
    strict = Tls.model_validate({"certificate": "own", "client_ca": "ca", "min_version": "1.3"})
    context = server_context(strict, FILES)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED


CLIENTS: dict[str, Callable[[], ssl.SSLContext]] = {
    "system": lambda: client_context(ModelTls(), {}),
    "ca": lambda: client_context(ModelTls.model_validate({"ca": "ca"}), FILES),
    "own certificate": lambda: client_context(ModelTls.model_validate({"certificate": "own"}), FILES),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_client_verifies(kind: str) -> None:
    """Name and chain are verified unless it is said otherwise."""
    context = CLIENTS[kind]()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.cert_store_stats()["x509"] == 1) == (kind == "ca")


def test_not_to_verify_has_to_be_said() -> None:
    """Only ``verify: false`` turns it off."""
    context = client_context(ModelTls.model_validate({"verify": False}), {})
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_NONE


def test_without_anonymous_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no files without a name (macOS), a temporary one serves, and is gone afterwards."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert server_context(Tls.model_validate({"certificate": "cert", "key": "key"}), FILES)
