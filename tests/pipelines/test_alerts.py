"""Alerts over a real mail server and a real HTTP server: once per change, one message per department and run, never lost, never twice."""
from __future__ import annotations

import email
import email.policy
import json
import threading
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from pipelines import alerts, channels, ledger_tables, problems, waivers
from pipelines.airflow_parts import free_port
from pipelines.check import check
from pipelines.cli import main
from pipelines.lifecycle import FALSE_ALARM, MENDED
from pipelines.settings import WrongUse
from tests.pipelines.test_problems import CONTRACT, DATASET, DEPARTMENT, RULE, enter, of
from tests.support import desk, resident_id, small_project

OFFICES = """
supervisor: {department: 数据局, code: bureau, mail: [bureau@lake.example]}
departments:
  - {department: 公安局, code: police, mail: [police@lake.example], webhook: dingtalk}
  - {department: 网格中心, code: grid, mail: [grid@lake.example]}
"""
FIRST = date(2026, 11, 2)


class Box:
    """A mail server's handler: keeps what arrives, refuses while `closed`."""

    def __init__(self):
        self.mails, self.closed = [], False

    async def handle_DATA(self, server, session, envelope):
        if self.closed:
            return "451 try again later"
        self.mails.append((tuple(envelope.rcpt_tos), email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"

    def to(self, office: str) -> list[str]:
        return [m["Subject"] for to, m in self.mails if to == (f"{office}@lake.example",)]


@pytest.fixture(scope="module")
def server():
    box = Box()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield box, controller.port
    controller.stop()


@pytest.fixture
def box(server, monkeypatch):
    found, port = server
    found.mails.clear()
    found.closed = False
    monkeypatch.setenv("LAKE_SMTP", f"smtp://127.0.0.1:{port}?from=lake@lake.example")
    return found


@pytest.fixture
def hook():
    """A chat program: answers what `answer` says, and keeps what it is told."""
    told: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        answer = (200, b'{"errcode": 0}')

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, text = Handler.answer
            told.append(body)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, told, f"http://127.0.0.1:{server.server_port}/send?key=SECRET-TOKEN"
    server.shutdown()


@pytest.fixture
def at(tmp_path):
    made = small_project(tmp_path / "project", population__residence=CONTRACT)
    (made.expectations / "departments.yaml").write_text(OFFICES, encoding="utf-8")
    return desk(tmp_path, made)


def day(n: int) -> str:
    return (FIRST + timedelta(days=n)).isoformat()


def test_thirty_days_with_one_failing_rule_are_one_message_and_its_fix_is_one_more(at, box, monkeypatch):
    for n in range(30):
        monkeypatch.setattr(problems, "today", lambda n=n: day(n))
        enter(at, day(n), 20, 10)
        alerts.send(at, day(n))
        alerts.send(at, day(n))
    assert box.to("police") == ["【数据体检】公安局：新增 1"]
    assert box.to("bureau") == ["【数据体检】数据局：逾期 1"], "the supervisor hears once that the legal time ran out"
    enter(at, day(30), 20, 0)
    for n in (30, 31):
        alerts.send(at, day(n))
    assert box.to("police") == ["【数据体检】公安局：新增 1", "【数据体检】公安局：核验通过 1"]
    assert len(box.mails) == 3
    enter(at, day(32), 20, 5)
    alerts.send(at, day(32))
    assert box.to("police")[2:] == ["【数据体检】公安局：重开 1"]


def test_one_message_holds_everything_of_one_department_and_no_value(at, box):
    enter(at, day(0), 20, 10)
    enter(at, day(0), 20, 10, source="grid")
    batch = enter(at, day(1), 30, 10, part="640200")
    at.ledger.update_batch(batch, 1, state="held", reason=f"{resident_id(1)} 赵一")
    done = alerts.send(at, day(1))
    assert {(d["department"], d["channel"], d["outcome"], d["opened"]) for d in done} == {(DEPARTMENT, "mail", "sent", 2), ("网格中心", "mail", "sent", 1)}
    text = next(m for to, m in box.mails if to == ("police@lake.example",)).get_content()
    assert "batch.held" in text and RULE in text and "20/50 不合格" in text and f"reports/{DATASET}/{batch}-r1.html" in text and "反馈包" in text
    assert resident_id(1) not in text and "赵一" not in text
    rows = at.ledger.rows(sa.select(ledger_tables.alerts))
    assert {r["outcome"] for r in rows} == {"sent"} and len({r["digest"] for r in rows}) == 2


def test_what_an_officer_did_is_not_told_but_what_undoes_it_is(at, box, monkeypatch):
    enter(at, day(0), 20, 10)
    alerts.send(at, day(0))
    number = of(at)["id"]
    problems.act(at, number, MENDED, "李", "已补录", day(0))
    assert alerts.send(at, day(1)) == []
    enter(at, day(2), 20, 9)
    assert [d["reopened"] for d in alerts.send(at, day(2))] == [1]
    problems.act(at, number, FALSE_ALARM, "王", "规则不适用", day(2))
    enter(at, day(3), 20, 9)
    assert alerts.send(at, day(3)) == []
    enter(at, day(4), 20, 9, definition="another")
    assert [d["reopened"] for d in alerts.send(at, day(4))] == [1]


def test_an_expired_waiver_and_what_fails_again_are_told_once(at, box, monkeypatch):
    monkeypatch.setattr(problems, "today", lambda: day(0))
    enter(at, day(0), 20, 10)
    waivers.grant(at, DATASET, RULE, "police", "公安局", "文1", "依法保留", day(5), "王", day=day(0))
    assert alerts.send(at, day(1)) == []
    told, = alerts.send(at, day(6))
    assert (told["opened"], told["ended"]) == (1, 1) and "文1" in box.mails[0][1].get_content()
    assert alerts.send(at, day(7)) == []


def test_what_was_not_sent_is_sent_next_time_and_once(at, box):
    enter(at, day(0), 20, 10)
    box.closed = True
    failed, = alerts.send(at, day(0))
    assert failed["outcome"].startswith("failed: SMTP") and "127.0.0.1" not in failed["outcome"]
    assert box.mails == []
    box.closed = False
    enter(at, day(1), 20, 10, source="grid")
    assert [d["outcome"] for d in alerts.send(at, day(1))] == ["sent", "sent"]
    assert alerts.send(at, day(1)) == [] and len(box.mails) == 2


def test_what_was_mended_before_it_could_be_told_is_not_told(at, box):
    enter(at, day(0), 20, 10)
    box.closed = True
    alerts.send(at, day(0))
    box.closed = False
    enter(at, day(1), 20, 0)
    assert alerts.send(at, day(1)) == [] and box.mails == []


def test_a_run_that_dies_while_it_sends_sends_the_same_message_again(at, box, monkeypatch):
    enter(at, day(0), 20, 10)
    with monkeypatch.context() as dying:
        sending = channels.send_mail
        dying.setattr(channels, "send_mail", lambda *given: (sending(*given), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            alerts.send(at, day(0))
    assert [r["outcome"] for r in at.ledger.rows(sa.select(ledger_tables.alerts))] == ["sending"]
    alerts.send(at, day(0))
    assert len(box.mails) == 2 and len({m["Message-ID"] for _, m in box.mails}) == 1, "the receiver's mail program shows it once"
    assert [r["outcome"] for r in at.ledger.rows(sa.select(ledger_tables.alerts).order_by(ledger_tables.alerts.c.id))] == ["unknown", "sent"]
    assert alerts.send(at, day(0)) == []


def test_a_webhook_is_told_in_its_own_form_and_its_refusal_is_a_failure(at, box, hook, monkeypatch):
    handler, told, url = hook
    monkeypatch.delenv("LAKE_SMTP")
    monkeypatch.setenv("LAKE_ALERT_WEBHOOK_POLICE", url)
    enter(at, day(0), 20, 10)
    for answer in ((200, b'{"errcode": 93000, "errmsg": "invalid webhook url"}'), (500, b""), (200, b"no json")):
        handler.answer = answer
        failed, = alerts.send(at, day(0))
        assert failed["outcome"].startswith("failed: ") and "SECRET-TOKEN" not in str(failed)
    handler.answer = (200, b'{"errcode": 0}')
    assert [d["outcome"] for d in alerts.send(at, day(0))] == ["sent"]
    assert told[-1]["msgtype"] == "markdown" and told[-1]["markdown"]["title"] == "【数据体检】公安局：新增 1"
    assert alerts.send(at, day(0)) == []
    assert "SECRET-TOKEN" not in str(at.ledger.rows(sa.select(ledger_tables.alerts)))


@pytest.mark.parametrize("form, place", [("wecom", ("markdown", "content")), ("dingtalk", ("markdown", "text")), ("feishu", ("content", "text"))])
def test_every_chat_program_gets_its_form(hook, form, place):
    handler, told, url = hook
    handler.answer = (200, b'{"StatusCode": 0, "code": 0}')
    channels.send_webhook(url, form, channels.Message("题", "行\n" * 3000, "d"))
    said = told[0][place[0]][place[1]]
    assert said.startswith("题\n行") and said.endswith("…") and len(said.encode()) <= channels.BYTES


def test_each_channel_is_told_once_and_a_new_one_hears_what_stands_open(at, box, hook, monkeypatch):
    _, told, url = hook
    enter(at, day(0), 20, 10)
    alerts.send(at, day(0))
    monkeypatch.setenv("LAKE_ALERT_WEBHOOK_DEFAULT", url)
    assert [(d["channel"], d["opened"]) for d in alerts.send(at, day(1))] == [("webhook", 1)]
    assert len(box.mails) == len(told) == 1


def test_the_command_line_shows_and_sends(at, box, monkeypatch, capsys):
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    enter(at, day(0), 20, 10)
    assert main(["alert", "--dry-run"]) == 0
    assert RULE in capsys.readouterr().out and box.mails == [] and at.ledger.rows(sa.select(ledger_tables.alerts)) == []
    box.closed = True
    assert main(["alert"]) == 1 and "next run" in capsys.readouterr().out
    monkeypatch.delenv("LAKE_SMTP")
    assert main(["alert"]) == 0 and "LAKE_SMTP" in capsys.readouterr().out


@pytest.mark.parametrize("text, says", [
    ("departments: [{department: 公安局, code: police, mali: [a@b.example]}]", "Nearest: 'mail'"), ("departments: [{code: police}]", "needs department and a code"),
    ("departments: [{department: 公安局, code: 公安}]", "letters, digits"), ("departments: [{department: 公安局, code: a, webhook: slack}]", "wecom"),
    ("departments: [{department: 公安局, code: a, mail: ['a@b.example, c@d.example']}]", "mail addresses"),
    ("departments: [{department: 公安局, code: a}, {department: 公安局, code: b}]", "twice"), ("departments: [{department: 公安厅, code: a}]", "Nearest: '公安局'")])
def test_check_reads_who_is_told(at, text, says):
    (at.project.expectations / "departments.yaml").write_text(text, encoding="utf-8")
    assert any(says in e for e in check(at.project)["errors"]), check(at.project)["errors"]
    if "Nearest: '公安局'" not in says:
        with pytest.raises(WrongUse):
            channels.offices(at.project)
