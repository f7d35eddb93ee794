"""Counting line ends, blank lines, quotes and NULs while bytes stream past.

0x0A, 0x0D, 0x22 and 0x00 occur inside no GB18030 and no UTF-8 character, so counts of bytes are counts of characters.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LF, _CR = 10, 13
_ENDS = (b"\n", b"\r")


@dataclass(frozen=True)
class Counts:
    """What the bytes of one file hold. `longest` is exact for lines that span chunks and an upper bound otherwise."""

    bytes: int
    lf: int
    cr: int
    crlf: int
    lines: int       # physical lines; CRLF ends one line, a last line without line end counts
    blank: int       # physical lines of no bytes
    quotes: int      # 0x22
    nuls: int
    longest: int
    ended: bool      # the last byte is a line end
    substitute: bool  # the last line is a single 0x1A, the end mark of DOS programs

    @property
    def line_end(self) -> str | None:
        """The one kind of line end, or None when kinds are mixed. A file without any reads as LF."""
        kinds = [end for end, n in (("\r\n", self.crlf), ("\n", self.lf - self.crlf), ("\r", self.cr - self.crlf)) if n]
        return None if len(kinds) > 1 else (kinds or ["\n"])[0]


class Counter:
    """Feed chunks to `update`, then call `result`."""

    def __init__(self) -> None:
        self._bytes = self._lf = self._cr = self._crlf = self._blank = self._quotes = self._nuls = 0
        self._longest = self._open = 0      # bytes since the last line end
        self._at_start = True               # the next byte begins a line
        self._held = b""                    # a CR that may belong to a CRLF
        self._tail = b""

    def update(self, chunk: bytes) -> None:
        """Count one chunk."""
        self._bytes += len(chunk)
        self._tail = (self._tail + chunk[-3:])[-3:]
        chunk = self._held + chunk
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        self._count(chunk[:len(chunk) - len(self._held)])

    def result(self) -> Counts:
        """The counts of everything fed so far; the counter must not be fed again."""
        self._count(self._held)
        ends = self._lf + self._cr - self._crlf
        ended = self._tail.endswith(_ENDS)
        substitute = self._tail[-1:] == b"\x1a" and (self._bytes == 1 or self._tail[:-1].endswith(_ENDS))
        lines = ends + (self._bytes > 0 and not ended)
        return Counts(self._bytes, self._lf, self._cr, self._crlf, lines, self._blank, self._quotes, self._nuls,
                      max(self._longest, self._open), ended, substitute)

    def _count(self, chunk: bytes) -> None:
        if not chunk:
            return
        bytes_ = np.frombuffer(chunk, np.uint8)
        lf, cr = np.flatnonzero(bytes_ == _LF), np.flatnonzero(bytes_ == _CR)
        paired = (bytes_[lf - 1] == _CR) & (lf > 0)                         # of each LF: it ends a CRLF
        alone = cr[bytes_[np.minimum(cr + 1, len(bytes_) - 1)] != _LF]      # CRs that end a line by themselves
        self._lf += len(lf)
        self._cr += len(cr)
        self._crlf += int(np.count_nonzero(paired))
        self._quotes += chunk.count(b'"')
        self._nuls += chunk.count(b"\0")
        self._blank += self._at_start and chunk.startswith(_ENDS)
        for starts in (lf - paired, alone):      # an end right behind another one
            before = bytes_[starts[starts > 0] - 1]
            self._blank += int(np.count_nonzero((before == _LF) | (before == _CR)))
        self._at_start = chunk.endswith(_ENDS)
        self._measure(len(chunk), [int(p) for found in (lf, cr) if len(found) for p in (found[0], found[-1])], len(lf) + len(cr))

    def _measure(self, size: int, ends: list[int], count: int) -> None:
        if not ends:
            self._open += size
            return
        first, last = min(ends), max(ends)
        self._longest = max(self._longest, self._open + first)
        if count > 1:
            self._longest = max(self._longest, last - first)
        self._open = size - last - 1
