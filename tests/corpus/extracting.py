"""The extractor's child processes without their start: a warm process that forks one for every document.

Of half a second per document, all but some milliseconds are an interpreter and its imports. Order, bounds and answer are the
product's; that the product starts the program is tested where the extractor is.
"""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from pipelines.readers import extracted

_PROGRAM = """
import importlib, json, os, sys
sys.path.insert(0, sys.argv[1])
import extractor
for name in {"spool", *extractor.MODULES.values()}:
    importlib.import_module(name)
for order in sys.stdin:
    child = os.fork()
    if not child:
        try:
            extractor.main(json.loads(order))
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@contextmanager
def warm(processes: int) -> Iterator[None]:
    """Let `extracted` use forks of this many processes at once while the context lasts."""
    before = extracted.subprocess
    idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
    started = [subprocess.Popen([sys.executable, "-c", _PROGRAM, str(Path(extracted.__file__).parent)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, env=os.environ | extracted._CHILD) for _ in range(processes)]
    for one in started:
        idle.put(one)

    def run(_: list[str], *, input: bytes, **__: Any) -> SimpleNamespace:
        one = idle.get()
        try:
            one.stdin.write(input.decode() + "\n")
            one.stdin.flush()
            return SimpleNamespace(returncode=int(one.stdout.readline()))
        finally:
            idle.put(one)

    extracted.subprocess = SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL)
    try:
        yield
    finally:
        extracted.subprocess = before
        for one in started:
            one.communicate()
