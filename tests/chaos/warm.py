"""A warm process that forks one child per command: the command line without its start, or a part of the test that needs a process.

Orders and answers are JSON lines on its standard input and output. A child that runs a command has no open file before it.
"""
from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY


class Warm:
    """The warm process, as its user sees it. Use as a context manager."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "tests.chaos.warm"], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment)

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.stdin.close()
        self._process.wait()

    def command(self, *argv: str, **environment: str) -> tuple[int, str]:
        """Run `python -m pipelines ARGV…`; returns its exit code and what it said."""
        return tuple(self.call("tests.chaos.warm:command", list(argv), **environment))

    def call(self, function: str, *args: Any, **environment: str) -> Any:
        """What `module:function` of the tests returns for these arguments, computed in a child."""
        self._process.stdin.write(json.dumps([function, args, environment]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]


def command(argv: list[str]) -> tuple[int, str]:
    """The command line in this process."""
    from pipelines.cli import main

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = main(argv)
    return code, said.getvalue()


def _serve() -> None:
    from tests.chaos import attempts
    from tests.chaos.run import preload
    from tests.chaos.world import make

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)      # what children print is no answer
    with tempfile.TemporaryDirectory() as scratch:
        preload(make(Path(scratch) / "project"))
        for line in sys.stdin:
            function, args, environment = json.loads(line)
            try:
                value, _ = attempts.run(lambda f=function, a=args, e=environment: _do(f, a, e), Path(scratch) / "answer.json")
                answer = {"value": value}
            except attempts.Failed as failed:
                answer = {"error": str(failed)}
                (Path(scratch) / "answer.error").unlink(missing_ok=True)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _do(function: str, args: list[Any], environment: dict[str, str]) -> Any:
    os.environ |= environment
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(*args)


if __name__ == "__main__":
    _serve()
