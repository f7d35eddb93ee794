"""A headless Chromium for tests of pages: the machine's own, or one unpacked from Debian's packages as the test servers are."""
from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.site.health import PROGRAMS
from tests import servers

FOLDER = servers.UNPACKED / "chromium"
_WANTED = ("chromium", "fonts-wqy-zenhei")
# Libraries, fonts and their settings are those beside it: nothing of the system is changed.
_STARTER = """#!/bin/sh
root={root}
export LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu/pulseaudio:$root/lib/x86_64-linux-gnu:$root/usr/lib/aarch64-linux-gnu"
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_PATH="$root/etc/fonts"
export XDG_DATA_HOME="$root/usr/share"
exec "$root/usr/lib/chromium/chromium" "$@"
"""


def program() -> str:
    """The Chromium to drive.

    Raises:
        servers.Missing: there is none, and its packages cannot be downloaded.
    """
    found = next(filter(None, map(shutil.which, [os.environ.get("LAKE_CHROMIUM") or PROGRAMS[0], *PROGRAMS])), None)
    if found is None:
        servers.UNPACKED.mkdir(parents=True, exist_ok=True)
        with open(servers.UNPACKED / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = os.environ["LAKE_CHROMIUM"] = str(_unpack())      # health checks print with it too
    return found


def _unpack() -> Path:
    """Chromium with what it needs and this machine lacks, in a folder of its own; nothing is installed."""
    starter = FOLDER / "chromium"
    if not starter.exists():
        try:
            packages = _lacking() or (servers.refresh() and _lacking())
        except (OSError, subprocess.CalledProcessError):
            packages = []
        if not packages:
            raise servers.Missing("There is no Chromium for the tests of pages. Install it with Chinese fonts: apt-get install chromium "
                                  "fonts-noto-cjk; or name its program in LAKE_CHROMIUM.")
        servers.unpack(packages, FOLDER)
        starter.write_text(_STARTER.format(root=FOLDER))
        starter.chmod(0o755)
    return starter


def _lacking() -> list[str]:
    """The packages that installing Chromium would add; none when the lists of packages are too old or absent."""
    said = subprocess.run(["apt-get", "-s", "--no-install-recommends", "install", *_WANTED], capture_output=True, text=True)
    return [line.split()[1] for line in said.stdout.splitlines() if line.startswith("Inst ")] if said.returncode == 0 else []


@contextmanager
def chromium() -> Iterator[Any]:
    """A started browser of playwright's sync API, without any network but loopback."""
    from playwright.sync_api import sync_playwright

    options = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
               "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program(), args=options)
        yield browser
        browser.close()
