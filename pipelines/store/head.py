"""`head.json`, the one object that is ever written over: which state the lake is in, and which machine may change it.

Every change of it is a put on the condition that it is what the writer last read (If-Match, If-None-Match). So of two writers one fails, whatever
they did before, and a machine whose claim was taken over can never make anything visible again.
"""
from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.ledger import now
from pipelines.settings import Later, WrongUse
from pipelines.store.bucket import Bucket, Taken

KEY = "head.json"
FORMAT = 1


@dataclass(frozen=True)
class Head:
    """What `head.json` says. `state`: key and SHA-256 of the list of files. `writer`: {"folder", "host", "since"} of the machine at work."""

    generation: int = 0
    state: tuple[str, str] | None = None
    writer: dict[str, str] | None = None
    tag: str = ""

    @property
    def said(self) -> bytes:
        """Its bytes."""
        said = {k: v for k, v in asdict(self).items() if k != "tag"}
        return json.dumps(said | {"format": FORMAT}, sort_keys=True).encode()


def read(bucket: Bucket) -> Head | None:
    """The head, None where no lake has been begun.

    Raises:
        WrongUse: a newer program made the lake.
    """
    found = bucket.get(KEY)
    if found is None:
        return None
    said: dict[str, Any] = json.loads(found[0])
    if said["format"] > FORMAT:
        raise WrongUse(f"{bucket.url} has format {said['format']}; this program knows {FORMAT}. Upgrade the program.")
    return Head(said["generation"], tuple(said["state"]) if said["state"] else None, said["writer"], found[1])


def begin(bucket: Bucket, folder: str) -> Head:
    """Begin a lake where none is, claimed by the folder.

    Raises:
        Later: another machine began it at this moment.
        WrongUse: the store writes although a condition does not hold.
    """
    head = _put(bucket, Head(writer=_claim(folder)))
    for tag in ("", '"00000000000000000000000000000000"'):      # must both fail
        try:
            bucket.put(KEY, head.said, only_if=tag)
        except Taken:
            continue
        bucket.remove([KEY])
        raise WrongUse(f"{bucket.url}: the object store ignores If-None-Match or If-Match. Two writers could overwrite each other there. Use a store that knows them.")
    return head


def claim(bucket: Bucket, head: Head, folder: str, anyway: bool = False) -> Head:
    """The head as this folder's own; the same when it is that already.

    Args:
        anyway: although another machine has it.

    Raises:
        Later: another machine has it.
    """
    held = head.writer
    if held and held["folder"] == folder:
        return head
    if held and not anyway:
        raise Later(f"{bucket.url}: {held['host']} has been writing since {held['since']}. Wait for it. If it is gone for good: python -m pipelines store --take-over")
    return _put(bucket, replace(head, writer=_claim(folder)))


def advance(bucket: Bucket, head: Head, state: tuple[str, str]) -> Head:
    """The head with the next state. From here on the lake is in it."""
    return _put(bucket, replace(head, state=state, generation=head.generation + 1))


def release(bucket: Bucket, head: Head) -> Head:
    """The head that any machine may claim."""
    return _put(bucket, replace(head, writer=None))


def _claim(folder: str) -> dict[str, str]:
    return {"folder": folder, "host": socket.gethostname(), "since": now()}


def _put(bucket: Bucket, head: Head) -> Head:
    try:
        return replace(head, tag=bucket.put(KEY, head.said, only_if=head.tag))
    except Taken:
        found = bucket.get(KEY)
        if found and found[0] == head.said:      # it was this put, whose answer was lost on the way, so that it was sent twice
            return replace(head, tag=found[1])
        raise Later(f"{bucket.url}: another machine wrote there meanwhile. Nothing of this one was made visible. Run the command again.") from None
