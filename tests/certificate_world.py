"""Certificates made on the spot: an authority, servers, clients, and every way in which they can be wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Identity"]

_DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str
    expires_s: int

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both below ``folder``; return the paths."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        paths[0].write_text(self.certificate)
        paths[1].write_text(self.key)
        return paths


class Authority:
    """Signs certificates. Elliptic curves, because they are made a hundred times faster."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 365 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_may_sign(True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def write(self, folder: Path, name: str = "ca") -> Path:
        """Write the authority's own certificate; return the path."""
        path = folder / f"{name}.pem"
        path.write_text(self.pem)
        return path

    def issue(
        self,
        *names: str,
        days: float = 30,
        self_signed: bool = False,
        passphrase: bytes | None = None,
        key: Key | None = None,
    ) -> Identity:
        """Return a certificate for ``names`` (host names or addresses) that ends in so many ``days``."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        signer = key if self_signed else self._key
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        end = (datetime.now(UTC) + days * _DAY).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(datetime.now(UTC), end) - _DAY)
            .not_valid_after(end)
            .add_extension(_may_sign(False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_name, names))), False)
        certificate = builder.sign(signer, hashes.SHA256())
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return Identity(
            certificate.public_bytes(Encoding.PEM).decode(),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode(),
            int(end.timestamp()),
        )


def _may_sign(others: bool) -> x509.KeyUsage:
    """Return what a key may do. Strict clients look for it (RFC 5280 §4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=others,
        crl_sign=others,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
