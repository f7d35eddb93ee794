"""A headless Chromium for tests of pages: the machine's own, or one unpacked from Debian's packages as the test servers are."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.site.health import PROGRAMS
from tests import servers


def program() -> str:
    """The Chromium to drive.

    Raises:
        servers.Missing: there is none.
    """
    found = next(filter(None, map(shutil.which, [os.environ.get("LAKE_CHROMIUM") or PROGRAMS[0], *PROGRAMS])), None)
    if found is None:
        raise servers.Missing("There is no Chromium for the tests of pages. Install it with Chinese fonts: apt-get install chromium fonts-noto-cjk; or name its program in LAKE_CHROMIUM.")
    return found


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
