"""What a batch is called: stream = (dataset, source, part); batch = (stream, batch_date, sequence)."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from pipelines.settings import WrongUse

TOGETHER = 1_000      # batches that one step works on at once
ROOM = 256 << 20      # and the bytes of their files, where these are read
Key = tuple[str, int]      # (batch_id, revision)
WORD = re.compile(r"[0-9A-Za-z_.\-]+")


@dataclass(frozen=True, order=True)
class BatchId:
    """A batch's name; `str()` gives `<dataset>~<source>~<part>~<batch_date>~<sequence>`."""

    dataset: str
    source: str
    part: str
    batch_date: str
    sequence: int

    @classmethod
    def parse(cls, text: str) -> BatchId:
        """The batch called `text`.

        Raises:
            WrongUse: `text` does not have the five parts of a batch id.
        """
        pieces = text.split("~")
        if len(pieces) != 5 or not pieces[4].isdigit():
            raise WrongUse(f"{text!r} is not a batch id; it looks like population.person~public_security~640100~2026-11-01~1.")
        return cls(*pieces[:4], int(pieces[4]))

    @property
    def stream(self) -> tuple[str, str, str]:
        return self.dataset, self.source, self.part

    def __str__(self) -> str:
        return "~".join((self.dataset, self.source, self.part, self.batch_date, str(self.sequence)))


def key_of(batch_id: str, revision: int) -> str:
    """The name of one submission of a batch."""
    return f"{batch_id}~r{revision}"


def split_key(key: str) -> tuple[str, int]:
    """(batch_id, revision) of a batch key."""
    batch_id, _, revision = key.rpartition("~r")
    return batch_id, int(revision)


def each_once(keys: Iterable[Key], sizes: Mapping[Key, int] = MappingProxyType({}), most: int = TOGETHER) -> list[list[Key]]:
    """Runs of (batch_id, revision) that hold no batch twice.

    Args:
        sizes: the bytes of each; those of a run are at most `ROOM`, if it is not of one.
        most: how many a run may hold.
    """
    runs: list[list[Key]] = []
    named: set[str] = set()
    size = 0
    for key in keys:
        size += sizes.get(key, 0)
        if not runs or len(runs[-1]) == most or key[0] in named or size > ROOM:
            runs.append([])
            named, size = set(), sizes.get(key, 0)
        runs[-1].append(key)
        named.add(key[0])
    return runs


def batch_date(text: str) -> str:
    """The one resolver of 报送日期: an ISO date.

    Raises:
        WrongUse: `text` is not `YYYY-MM-DD`.
    """
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise WrongUse(f"{text!r} is not a batch date; give it as YYYY-MM-DD.") from None


def month(text: str) -> str:
    """A month of batch dates.

    Raises:
        WrongUse: `text` is not `YYYY-MM`.
    """
    try:
        return date.fromisoformat(f"{text}-01").strftime("%Y-%m")
    except ValueError:
        raise WrongUse(f"{text!r} is not a month; give it as YYYY-MM.") from None
