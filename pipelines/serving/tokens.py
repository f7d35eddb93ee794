"""The file of tokens: JSON, digests only, for the server's account alone. A token is 256 random bits, so that a plain SHA-256 hides it.

A token is shown once, when it is made. The server reads the file again when it has changed: what is revoked ends with the next request.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines import durable, roles
from pipelines.batch import batch_date
from pipelines.ledger import now, today
from pipelines.settings import WrongUse

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Token:
    """Who may ask as which role, until and including which day in Beijing."""

    id: int
    who: str
    role: str
    sha256: str
    expires_on: str
    made_at: str


def issue(file: Path, who: str, role: str, until: str) -> tuple[Token, str]:
    """Make a token; returns what the file says of it, and the token itself, which stands nowhere.

    Args:
        file: the file of tokens, made if it is not there.
        until: the last day it is good for, YYYY-MM-DD.

    Raises:
        WrongUse: no name, no such role, or a day that has passed.
    """
    if not who.strip():
        raise WrongUse("A token belongs to a person: --for NAME.")
    if batch_date(until) < today():
        raise WrongUse(f"{until} has passed. Give the last day the token is good for.")
    secret = secrets.token_urlsafe(32)
    with _changing(file) as held:
        made = Token(max((t.id for t in held), default=0) + 1, who, roles.check(role), digest(secret), until, now())
        _write(file, [*held, made])
    return made, secret


def revoke(file: Path, number: int) -> Token:
    """Remove a token.

    Raises:
        WrongUse: the file has no such token.
    """
    with _changing(file) as held:
        found = [t for t in held if t.id == number]
        if not found:
            raise WrongUse(f"{file} has no token {number}. It has {', '.join(str(t.id) for t in held) or 'none'}.")
        _write(file, [t for t in held if t.id != number])
    return found[0]


def read(file: Path) -> list[Token]:
    """The tokens of a file.

    Raises:
        WrongUse: it is not a file of tokens.
    """
    try:
        held = [Token(**one) for one in json.loads(file.read_text("utf-8"))]
        if all(_DIGEST.fullmatch(t.sha256) and roles.check(t.role) and batch_date(t.expires_on) for t in held):
            return held
    except (OSError, ValueError, TypeError):
        pass
    raise WrongUse(f"{file} is not a file of tokens. Make one: python -m pipelines token --tokens {file} --for NAME --role analyst --until DATE")


def digest(secret: str) -> str:
    """What the file keeps of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


@contextmanager
def _changing(file: Path) -> Iterator[list[Token]]:
    """The tokens of a file, which nobody else changes meanwhile."""
    with open(file.with_name(f"{file.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read(file) if file.exists() else []


def _write(file: Path, held: list[Token]) -> None:
    durable.write(file, json.dumps([asdict(t) for t in held], ensure_ascii=False, indent=1), 0o600)


class Readers:
    """Whose token it is, by the file as it is now."""

    def __init__(self, file: Path):
        self.file, self._state, self._held = file, None, {}
        self.find("")

    def find(self, secret: str) -> Token | None:
        """The token that `secret` is, None when there is none or its time is over."""
        stat = self.file.stat()
        state = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if state != self._state:
            self._held, self._state = {t.sha256: t for t in read(self.file)}, state
        found = self._held.get(digest(secret))
        return found if found and found.expires_on >= today() else None
