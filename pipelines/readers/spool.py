"""Where extracted records go: an all-text Parquet file (c0…, _line) and a list of the records that cannot be taken.

Part of the extractor's child program, whose modules import each other by plain names and nothing else of the project but
`heading` and `marks`.
"""
from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from marks import DAMAGE

MAX_COLUMNS = 10_000
MAX_HEADER = 1 << 20        # characters
MAX_REJECTS = 200_000
ROWS = 20_000               # of one row group, fewer when they are wide or long
CELLS = 1_000_000
CHARACTERS = 32 << 20
_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Refused(Exception):
    """The file is not read. Its text is the reason code; `said` is what else there is to say, free of values."""

    def __init__(self, code: str, said: str = "") -> None:
        super().__init__(code)
        self.said = said


def is_trouble(error: Exception) -> bool:
    """Whether the disk is to blame and not the document."""
    return isinstance(error, OSError) and error.errno in _TROUBLE


class Spool:
    """One table on its way to Parquet. Use as a context manager; `facts` holds when it is left."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        if len(header) > MAX_COLUMNS or sum(map(len, header)) > MAX_HEADER:
            raise Refused("columns")
        self.header, self.records, self.rejects = list(header), 0, []
        self._path, self._batch, self._rows = path, [], min(ROWS, max(1, CELLS // max(1, len(header))))
        self._schema = pa.schema([*((f"c{i}", pa.string()) for i in range(len(header))), ("_line", pa.int64())])
        self._characters = 0

    def __enter__(self) -> Spool:
        self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    @property
    def facts(self) -> dict[str, Any]:
        """What the parent program needs to know of the table."""
        return {"path": str(self._path), "header": self.header, "records": self.records, "rejects": self.rejects}

    def take(self, line: int, cells: Sequence[str]) -> None:
        """Add a record; cells it lacks are empty. One with damaged or NUL characters or surplus cells is rejected."""
        text = "".join(cells)
        if len(cells) > len(self.header):
            self.reject(line, "width")
        elif DAMAGE in text or not (text.isascii() or _is_unicode(text)):
            self.reject(line, "encoding")
        elif "\0" in text:
            self.reject(line, "nul")
        else:
            self._batch.append((*cells, *[""] * (len(self.header) - len(cells)), line))
            self.records += 1
            self._characters += len(text)
            if len(self._batch) == self._rows or self._characters > CHARACTERS:
                self._flush()

    def reject(self, line: int, reason: str) -> None:
        """List a record that cannot be taken."""
        self.rejects.append((line, reason))
        if len(self.rejects) > MAX_REJECTS:
            raise Refused("unparseable")

    def _flush(self) -> None:
        if self._batch:
            columns = zip(self._schema, zip(*self._batch))
            self._writer.write_batch(pa.record_batch([pa.array(column, field.type) for field, column in columns], self._schema))
        self._batch, self._characters = [], 0


def _is_unicode(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
