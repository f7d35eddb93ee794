"""A certificate for the query server, and a server that runs in this process for the time of a test."""
from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.flight as flight
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.serving.server import Limits, Server
from pipelines.settings import Lake


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1).add_extension(names, False)
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2)).sign(key, hashes.SHA256()))
    chain, secret = folder / "server.pem", folder / "server.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, secret


@contextmanager
def serving(lake: Lake, folder: Path, **limits: Any) -> Iterator[Server]:
    """A server over `lake` with the tokens and the certificate in `folder`; its log is `queries.jsonl` there."""
    chain, key = folder / "server.pem", folder / "server.key"
    server = Server(lake, ("127.0.0.1", 0), chain, key, folder / "tokens.json", folder / "queries.jsonl", Limits(**{"memory_mb": 256, "threads": 1, **limits}))
    try:
        yield server
    finally:
        server.close()


def client(server: Server, folder: Path) -> flight.FlightClient:
    """A client that trusts the certificate."""
    return flight.connect(f"grpc+tls://localhost:{server.port}", tls_root_certs=(folder / "server.pem").read_bytes())


def bearer(token: str) -> flight.FlightCallOptions:
    """What a call with this token carries."""
    return flight.FlightCallOptions(headers=[(b"authorization", f"Bearer {token}".encode())])
