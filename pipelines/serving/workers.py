"""The processes that answer: each holds one release of one role, is lent to one question at a time, and is ended when the question takes too long or too much.

A worker whose role shows another release by now is not lent again; a question that runs keeps the release it began with.
"""
from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines import roles
from pipelines.serving.worker import FRAME, state_of
from pipelines.settings import Lake, WrongUse

START_SECONDS = 30


class TooLong(Exception):
    """A question was stopped because its time is over."""


class Died(Exception):
    """The process that answered died of the question."""


class Worker:
    """One process. `asked` sends a question; the answer comes as frames (kind, content) until D or E."""

    def __init__(self, lake: Lake, role: str, scratch: Path, memory_mb: int, threads: int):
        self.role, self.idle = role, True
        self.folder = Path(tempfile.mkdtemp(dir=scratch))
        words = [str(lake.home), role, str(self.folder), str(memory_mb), str(threads)]
        environment = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")}
        environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "LAKE_THREADS": str(threads), "PYTHONUTF8": "1"}
        self._process = subprocess.Popen([sys.executable, "-m", "pipelines.serving.worker", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, bufsize=0, env=environment, cwd=self.folder, start_new_session=True)
        self.until = time.monotonic() + START_SECONDS
        try:
            hello = json.loads(self._frame()[1])
        except (TooLong, Died):
            self.close()
            roles.database(lake, role)      # it says so when the role has just ended
            raise WrongUse("The release cannot be opened at this moment. Try again.") from None
        self.state, self.release = hello["state"], hello["release"]

    def asked(self, do: str, packed: bytes, seconds: float) -> Iterator[tuple[bytes, bytes]]:
        """The frames of one answer, the last of kind D or E.

        Args:
            do: `rows`, or `columns` for an answer without rows.
            packed: the Flight command or ticket.
            seconds: how long it may take.

        Raises:
            TooLong: it took longer.
            Died: the process died of it.
        """
        self.idle, self.until = False, time.monotonic() + seconds
        try:
            self._process.stdin.write(json.dumps({"do": do, "packed": packed.hex()}).encode() + b"\n")
        except BrokenPipeError:
            raise Died from None
        kind = b""
        while kind not in (b"D", b"E"):
            kind, content = self._frame()
            self.idle = kind in (b"D", b"E")
            yield kind, content

    def _frame(self) -> tuple[bytes, bytes]:
        kind, length = FRAME.unpack(self._read(FRAME.size))
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            left = self.until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise TooLong
            piece = os.read(self._process.stdout.fileno(), min(length - len(found), 1 << 20))
            if not piece:
                raise Died
            found += piece
        return bytes(found)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End the process and remove what it had."""
        self.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Workers:
    """At most `places` workers.

    Args:
        memory_mb: memory of one of them.
        threads: threads of one of them.
    """

    def __init__(self, lake: Lake, places: int, memory_mb: int, threads: int):
        self.lake, self.places, self.limits = lake, places, (memory_mb, threads)
        self._scratch = tempfile.TemporaryDirectory(prefix="lake-serve-")
        self._lock, self._idle, self._lent, self._busy = threading.Lock(), [], 0, set()

    @contextmanager
    def of(self, role: str) -> Iterator[Worker]:
        """A worker that holds what the role shows now.

        Raises:
            WrongUse: nothing is published for it.
        """
        state = state_of(roles.database(self.lake, role))
        worker = self._take(role, state)
        try:
            worker = worker or Worker(self.lake, role, Path(self._scratch.name), *self.limits)
            self._busy.add(worker)
            yield worker
        finally:
            self._back(worker)

    def _take(self, role: str, state: list[int]) -> Worker | None:
        with self._lock:
            self._lent += 1
            old = [w for w in self._idle if w.role == role and w.state != state]
            found = next((w for w in self._idle if w.role == role and w.state == state), None)
            kept = [w for w in self._idle if w is not found and w not in old]
            surplus = kept[:max(0, len(kept) + self._lent - self.places)]
            self._idle = kept[len(surplus):]
        for worker in old + surplus:
            worker.close()
        return found

    def _back(self, worker: Worker | None) -> None:
        with self._lock:
            self._lent -= 1
            self._busy.discard(worker)
            keep = worker and worker.idle and self._lent + len(self._idle) < self.places
            if keep:
                self._idle.append(worker)
        if worker and not keep:
            worker.close()

    def close(self) -> None:
        """End them all."""
        with self._lock:
            idle, self._idle, self.places = self._idle, [], 0
            for worker in self._busy:
                worker.kill()      # whoever waits for it hears of it and closes it
        for worker in idle:
            worker.close()
        shutil.rmtree(self._scratch.name, ignore_errors=True)
