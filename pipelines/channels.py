"""The ways to reach a department: mail and the webhook of its chat program.

Declared in `expectations/departments.yaml`; servers, passwords and secret URLs come from the environment or from Airflow connections
(LAKE_SMTP or `lake_smtp`, LAKE_ALERT_WEBHOOK_<CODE|DEFAULT> or `lake_alert_<code|default>`), and reach no file, message or log.
A channel that is not set up does not exist; one that fails says so by the kind of its failure only.
"""
from __future__ import annotations

import json
import os
import smtplib
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

from pipelines.declared import Declared, Problems, load_yaml
from pipelines.settings import Project, WrongUse

FORMS = ("wecom", "dingtalk", "feishu")
SECONDS = 30
BYTES = 3800      # WeCom takes 4,096 of a message
_OFFICE = {"department": str, "code": str, "mail": [str], "webhook": str}


@dataclass(frozen=True)
class Office:
    """Whom messages for one department go to."""

    department: str
    code: str = "default"
    mail: tuple[str, ...] = ()
    webhook: str = FORMS[0]


@dataclass(frozen=True)
class Message:
    """What is said: the same in every channel. `digest` tells two messages apart and one message sent twice."""

    subject: str
    text: str
    digest: str


class NotSent(Exception):
    """A channel did not take a message. Its text says the kind of failure, never an address."""


def offices(project: Project) -> tuple[dict[str, Office], Office | None]:
    """Department → its office, and the supervisor's.

    Raises:
        WrongUse: the file has unknown or missing keys; all are listed.
    """
    file = project.expectations / "departments.yaml"
    if not file.exists():
        return {}, None
    problems = Problems(file)
    raw = load_yaml(file.read_bytes(), problems) or {}
    Declared({"supervisor": _OFFICE, "departments": [_OFFICE]}).walk(raw, "", problems)
    listed = [*(raw.get("departments") or ()), *([raw["supervisor"]] if raw.get("supervisor") else [])] if not problems.lines else []
    for i, one in enumerate(listed):
        problems.unless(bool(one.get("department")) and str(one.get("code", "")).isidentifier() and str(one.get("code")).isascii(), f"departments[{i}]",
                        "needs department and a code of letters, digits and _")
        problems.unless(one.get("webhook", FORMS[0]) in FORMS, f"departments[{i}].webhook", f"must be one of {FORMS}")
        problems.unless(all("@" in a and not set(a) & set("\r\n ,;") for a in one.get("mail", ())), f"departments[{i}].mail", "must be mail addresses")
    for key in ("department", "code"):
        given = [one.get(key) for one in listed]
        for twice in sorted({str(v) for v in given if given.count(v) > 1}):
            problems.add("departments", f"gives {key} {twice!r} twice")
    if problems.lines:
        raise WrongUse("\n".join(problems.lines))
    made = {one["department"]: Office(**{**one, "mail": tuple(one.get("mail", ()))}) for one in listed}
    return made, made.get((raw.get("supervisor") or {}).get("department"))


def of(office: Office) -> dict[str, Callable[[Message], None]]:
    """Channel → how to send through it, of the channels that are set up."""
    found: dict[str, Callable[[Message], None]] = {}
    server = _secret("LAKE_SMTP", "lake_smtp")
    if server and office.mail:
        found["mail"] = lambda message: send_mail(server, office.mail, message)
    for code in dict.fromkeys((office.code, "default")):
        url = _secret(f"LAKE_ALERT_WEBHOOK_{code.upper()}", f"lake_alert_{code}")
        if url:
            found["webhook"] = lambda message, url=url: send_webhook(url, office.webhook, message)
            break
    return found


def send_mail(server: str, to: tuple[str, ...], message: Message) -> None:
    """Send one message by SMTP.

    Args:
        server: smtp://user:password@host:port?from=ADDRESS&starttls=1, or smtps://…

    Raises:
        NotSent: the server cannot be reached or does not take the message.
    """
    try:
        url = urllib.parse.urlsplit(server)
        query = dict(urllib.parse.parse_qsl(url.query))
        mail = EmailMessage()
        sender = query.get("from") or urllib.parse.unquote(url.username or "") or f"lake@{url.hostname}"
        mail["Subject"], mail["From"], mail["To"] = message.subject, sender, ", ".join(to)
        mail["Date"], mail["Message-ID"] = formatdate(), f"<{message.digest[:32]}@lake>"
        mail.set_content(message.text)
        secure = url.scheme == "smtps"
        connect = smtplib.SMTP_SSL if secure else smtplib.SMTP
        with connect(url.hostname or "", url.port or (465 if secure else 25), timeout=SECONDS, **({"context": ssl.create_default_context()} if secure else {})) as session:
            if query.get("starttls") == "1":
                session.starttls(context=ssl.create_default_context())
            if url.username:
                session.login(urllib.parse.unquote(url.username), urllib.parse.unquote(url.password or ""))
            session.send_message(mail)      # one address that takes it is enough: sending again would tell that one twice
    except (OSError, smtplib.SMTPException, ValueError) as error:
        failure = type(error).__name__
    else:
        return
    raise NotSent(failure)


def send_webhook(url: str, form: str, message: Message) -> None:
    """Post one message to a chat program's webhook.

    Raises:
        NotSent: it cannot be reached, or answers with an error: these programs do so with HTTP status 200.
    """
    said = cut(f"{message.subject}\n{message.text}")
    body = {"wecom": {"msgtype": "markdown", "markdown": {"content": said}}, "dingtalk": {"msgtype": "markdown", "markdown": {"title": message.subject, "text": said}},
            "feishu": {"msg_type": "text", "content": {"text": said}}}[form]
    try:
        request = urllib.request.Request(url, json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json; charset=utf-8"})
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            told = json.loads(answer.read(65536) or b"{}")
        code = next((told[k] for k in ("errcode", "code", "StatusCode") if k in told), 0)
        failure = f"the chat program answered with error {code}" if code != 0 else None
    except urllib.error.HTTPError as error:
        failure = f"HTTP status {error.code}"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        failure = type(error).__name__
    if failure:
        raise NotSent(failure)


def cut(text: str, most: int = BYTES) -> str:
    """`text` without its last lines, where it is too long for a chat program."""
    lines = text.split("\n")
    while len("\n".join(lines).encode()) > most and len(lines) > 2:
        del lines[-2 if lines[-1] == "…" else -1:]
        lines.append("…")
    return "\n".join(lines)


def _secret(variable: str, connection: str) -> str | None:
    """A setting, or inside Airflow the connection of this name as an address."""
    given = os.environ.get(variable)
    if given or "airflow.sdk" not in sys.modules:
        return given or None
    try:
        from airflow.sdk import Connection

        found = Connection.get(connection)
        return found.password if found.conn_type.startswith("http") and (found.password or "").startswith("http") else found.get_uri()
    except Exception:      # whatever a secrets backend raises may quote a secret
        return None
