"""Write what the commands of README's analyst section print into README: `python -m tests.tour`, after `make run`, in the project's folder.

A block of commands that a block of output follows is run as it stands; `/mnt/desktop` is a temporary folder.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "## For the analyst", "## For the quality officer"
_PAIR = re.compile(r"```sh\n(?P<commands>.*?)```\n\n```text\n.*?```\n", re.DOTALL)


def printed(command: str, desktop: str) -> str:
    """What one command prints on standard output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command.replace("/mnt/desktop", desktop), shell=True, check=True, capture_output=True, text=True, cwd=README.parent, env=os.environ | {"PATH": path})
    return done.stdout.rstrip().replace(desktop, "/mnt/desktop").replace(f"{README.parent}/", "")


def main() -> None:
    """Replace every output of the section."""
    text = README.read_text("utf-8")
    before, section, after = text[:text.index(BEGIN)], text[text.index(BEGIN):text.index(END)], text[text.index(END):]
    with tempfile.TemporaryDirectory() as desktop:
        section = _PAIR.sub(lambda m: f"```sh\n{m['commands']}```\n\n```text\n" + "\n\n".join(printed(c, desktop) for c in m["commands"].splitlines()) + "\n```\n", section)
    README.write_text(before + section + after, "utf-8")


if __name__ == "__main__":
    main()
