"""The site of fifty datasets, once, and a browser."""
from __future__ import annotations

import functools
import http.server
import threading

import pytest

from pipelines import site
from pipelines.site import health, rendering
from tests import browser as browsers
from tests.site.world import TODAY, world


@pytest.fixture(scope="session")
def at(tmp_path_factory):
    """A lake with the site of the world and the health checks of its newest month, as pages."""
    assert (rendering.BUILT / rendering.CHARTS).is_file(), "run: python -m pipelines.site.assets"
    made = world(tmp_path_factory.mktemp("site"))
    site.build(made, today=TODAY)
    health.write(made, "2026-11", pdf=False)
    return made


@pytest.fixture(scope="session")
def printer() -> str:
    """The Chromium that health checks are printed with; where the machine has none, the tests' own is named in LAKE_CHROMIUM."""
    return browsers.program()


@pytest.fixture(scope="session")
def browser():
    with browsers.chromium() as found:
        yield found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="session")
def serving():
    """Puts a folder behind a plain web server; returns its address."""
    servers = {}

    def serve(folder) -> str:
        if folder not in servers:
            servers[folder] = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
            threading.Thread(target=servers[folder].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[folder].server_port}"

    yield serve
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def served(at, serving):
    """The site behind a plain web server."""
    return serving(at.lake.reports)


@pytest.fixture(params=["file", "http"])
def origin(request, at, served):
    """Where the pages are opened from: as files, and through a server."""
    return at.lake.reports.as_uri() if request.param == "file" else served


class Watched:
    """A page of the browser that remembers what went wrong and what was asked for."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(viewport={"width": 1280, "height": 1000}, **options)
        self.page = self.context.new_page()
        self.wrong, self.asked = [], []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("requestfailed", lambda r: self.wrong.append(f"failed {r.url}"))
        self.page.on("response", lambda r: self.wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        self.page.on("request", lambda r: self.asked.append(r.url))


@pytest.fixture
def watched(browser):
    found = Watched(browser)
    yield found
    found.context.close()
