"""Keys and keyed digests: pseudonyms are HMAC-SHA-256 (RFC 2104), 128 bits, base64url, computed inside DuckDB.

The key is 32 random bytes in `keys/pseudonym.key` (mode 0600) or the environment `LAKE_PSEUDONYM_KEY` (64 hex
digits, for a secrets backend). It never enters a SQL text, a log or the lake's data; its id, the first eight hex
digits of SHA-256 over it, stands in the ledger and the release manifest.
"""
from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import duckdb

from pipelines import durable
from pipelines.settings import Lake, WrongUse

SCHEME = "HMAC-SHA-256/128 base64url"
_BLOCK = 64


def pseudonym_key(lake: Lake) -> bytes:
    """The lake's pseudonym key, made at first use.

    Raises:
        WrongUse: the key in the file or the environment is not 32 bytes in hex.
    """
    given = os.environ.get("LAKE_PSEUDONYM_KEY")
    path = lake.keys / "pseudonym.key"
    if not given and not path.exists():
        _create(path)
    try:
        key = bytes.fromhex(given or path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise WrongUse("The pseudonym key must be 64 hex digits (keys/pseudonym.key or LAKE_PSEUDONYM_KEY).")
    return key


def _create(path: Path) -> None:
    beside = path.with_suffix(f".{os.getpid()}")
    beside.unlink(missing_ok=True)      # left by a dead process of the same number
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    beside.unlink()
    durable.sync(path.parent)


def key_id(lake: Lake, key: bytes | None = None) -> str:
    """The public name of the key in use, or of another one."""
    return hashlib.sha256(key or pseudonym_key(lake)).hexdigest()[:8]


def grant_key(lake: Lake, number: int) -> bytes:
    """The key of one grant: made from the lake's, so that it needs no keeping, and tells nothing about it or another grant's."""
    return hmac.digest(pseudonym_key(lake), f"grant\x1f{number}".encode(), "sha256")


def install(con: duckdb.DuckDBPyConnection, key: bytes, macro: str = "keyed_digest") -> None:
    """Give `con` the macro `keyed_digest(message)` (or another name for another key): VARCHAR(22), NULL for NULL."""
    block = key.ljust(_BLOCK, b"\0")
    con.execute(f"SET VARIABLE {macro}_inner = $1", [bytes(b ^ 0x36 for b in block)])
    con.execute(f"SET VARIABLE {macro}_outer = $1", [bytes(b ^ 0x5C for b in block)])
    con.execute(
        f"CREATE OR REPLACE TEMP MACRO {macro}(message) AS replace(replace(base64(unhex(sha256("
        f"getvariable('{macro}_outer') || unhex(sha256(getvariable('{macro}_inner') || encode(message))))[1:32]))[1:22], '+', '-'), '/', '_')")
