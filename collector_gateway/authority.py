"""The private authority of the gateway's certificate: what a new agent is to trust."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Sequence


def of_chain(pem: bytes) -> bytes | None:
    """Return the private authority of a certificate file, as PEM.

    That is a self-signed certificate at the end of the file, behind the gateway's own and those
    between. A chain that ends elsewhere is that of a public authority: None.

    Raises:
        ValueError: the file holds no certificates.
    """
    chain: Sequence[x509.Certificate] = x509.load_pem_x509_certificates(pem)
    last = chain[-1]
    if last.subject != last.issuer:
        return None
    return last.public_bytes(Encoding.PEM)


def read(path: str | None) -> bytes | None:
    """Return the private authority of the certificate in a file; None without one.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds no certificates.
    """
    return None if path is None else of_chain(Path(path).read_bytes())


def sha256(pem: bytes) -> str:
    """Return the hash that a token carries: of the certificate in DER, hexadecimal."""
    certificate = x509.load_pem_x509_certificate(pem)
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
