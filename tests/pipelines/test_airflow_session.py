"""The REST client: repeats what a busy server refuses, tells what a wrong request was, uses no proxy."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.airflow_parts import AirflowFailed
from pipelines.airflow_session import Api, Run


@pytest.fixture
def server(monkeypatch):
    """A server that answers each request with the next of `server.answers`, after the token."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = (201, {"access_token": "t"}) if self.path == "/auth/token" else self.server.answers.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_POST = do_GET

        def log_message(self, *_):
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    found.answers = []
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def test_a_busy_server_is_asked_again(server):
    server.answers = [(500, {}), (503, {}), (200, {"dags": []})]
    assert Api(server.server_port).get("/dags") == {"dags": []}


def test_a_wrong_request_is_told_at_once(server):
    server.answers = [(400, {"detail": "not a partitioned Dag"})]
    with pytest.raises(AirflowFailed, match="POST /dags/x/dagRuns: 400 .*not a partitioned Dag"):
        Api(server.server_port).post("/dags/x/dagRuns", {"partition_key": "2026-11-01"})


@pytest.mark.parametrize("tasks, held", [(("verdict",), True), (("commit",), False), (("judge", "verdict"), False), ((), False)])
def test_only_a_verdict_makes_a_run_held(tasks, held):
    assert Run("population.person", "2026-11-01", "failed", tasks).held is held
