"""One attempt at an operation in a forked process group, ended by SIGKILL at a given instant or by itself.

The parent has every module loaded, no thread of its own (allocators have one, which knows of forks) and no connection, so
that a child is only the work.
"""
from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Failed(Exception):
    """An attempt that nobody killed ended with an error."""


def start(work: Callable[[], Any], answer: Path) -> int:
    """Fork; the child leads a process group of its own, and writes what `work` returns to `answer`."""
    if threading.active_count() != 1:
        raise Failed("the parent has threads: a fork would copy their locks")
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        result = json.dumps(work())
        answer.with_suffix(".part").write_text(result)
        answer.with_suffix(".part").rename(answer)
        code = 0
    except BaseException:
        with open(answer.with_suffix(".error"), "a") as out:
            traceback.print_exc(file=out)
    finally:
        sys.stdout.flush()
        os._exit(code)


def run(work: Callable[[], Any], answer: Path) -> tuple[Any, float]:
    """Run to the end; returns what `work` returned and the seconds it took."""
    began = time.monotonic()
    _, status = os.waitpid(start(work, answer), 0)
    if status:
        error = answer.with_suffix(".error")
        raise Failed(error.read_text()[-4000:] if error.exists() else f"ended with status {status}")
    return json.loads(answer.read_text()), time.monotonic() - began


def kill(work: Callable[[], Any], answer: Path, after: float) -> bool:
    """Kill the whole group `after` seconds; returns False when the work had ended by itself."""
    child = start(work, answer)
    end = time.monotonic() + after
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.002))
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    alive = not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        os.kill(child, signal.SIGKILL)      # it has not become the leader of its group yet
    _, status = os.waitpid(child, 0)
    if not alive and status:
        raise Failed(answer.with_suffix(".error").read_text()[-4000:])
    return alive
