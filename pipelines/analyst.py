"""Commands for analysts and for those who give them access: the portable file, the query server, its tokens, and a question to it."""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import show
from pipelines.settings import WrongUse

DONE = 0
PORT = 31337
Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def register(command: Command) -> None:
    """Add these commands to the command line."""
    portable = command("portable", _portable, "write lake-portable.duckdb: the same views with the tables inside, for machines without the lake")
    portable.add_argument("--to", type=Path, required=True, metavar="FILE", help="where to; an earlier portable file is replaced")
    portable.add_argument("--grant", metavar="ID", help="the views of this grant (default: those of every analyst)")
    portable.add_argument("--by", required=True, metavar="NAME", help="for whom it is made")
    portable.add_argument("--purpose", required=True, help="what for; both stand in the ledger and in the file")
    serve = command("serve", _serve, "answer questions over Arrow Flight: read-only, TLS, a token per person")
    serve.add_argument("--address", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, default=PORT, help=f"default {PORT}")
    serve.add_argument("--certificate", type=Path, required=True, metavar="FILE", help="certificate chain, PEM")
    serve.add_argument("--key", type=Path, required=True, metavar="FILE", help="its private key, PEM")
    serve.add_argument("--tokens", type=Path, required=True, metavar="FILE", help="the file that `token` writes")
    serve.add_argument("--log", type=Path, metavar="FILE", help="a line per question, without values (default: queries.jsonl beside the tokens)")
    serve.add_argument("--seconds", type=float, default=60, help="longest time of one question (default 60)")
    serve.add_argument("--rows", type=int, default=1_000_000, help="most rows of one answer (default 1,000,000)")
    serve.add_argument("--sessions", type=int, default=8, help="questions at once; one person has half of them (default 8)")
    serve.add_argument("--memory", type=int, metavar="MB", help="of one question (default: LAKE_MEMORY shared by the sessions)")
    token = command("token", _token, "make a token for the query server, list them, or revoke one")
    token.add_argument("--tokens", type=Path, required=True, metavar="FILE", help="the file to keep its digest in")
    token.add_argument("--for", dest="who", metavar="NAME", help="whose it is")
    token.add_argument("--role", default="analyst", help="analyst (default) or grant:ID")
    token.add_argument("--until", metavar="DATE", help="last day it is good for, YYYY-MM-DD")
    token.add_argument("--revoke", type=int, metavar="ID", help="instead: this token is good for nothing from now on")
    ask = command("ask", _ask, "ask a query server one question")
    ask.add_argument("sql")
    ask.add_argument("--server", required=True, metavar="HOST:PORT")
    ask.add_argument("--certificate", type=Path, metavar="FILE", help="of the server or its issuer, where the machine does not trust it already")
    ask.add_argument("--token-file", type=Path, metavar="FILE", help="a file that holds your token (default: the variable LAKE_TOKEN)")


def _print(options: argparse.Namespace, result: Any, as_text: Callable[[Any], str]) -> None:
    print(json.dumps(result, ensure_ascii=False, default=str) if options.json else as_text(result))


def _portable(options: argparse.Namespace) -> int:
    from pipelines import portable
    from pipelines.desk import Desk

    _print(options, portable.make(Desk.open(), options.to, options.by, options.purpose, options.grant), portable_text)
    return DONE


def portable_text(made: dict[str, Any]) -> str:
    """What the file holds and how large it is."""
    return (f"{made['path']}: release {made['release']} for {made['role']}, {made['tables']} tables with {made['rows']:,} rows and {made['views']} views, "
            f"{made['bytes'] / 1e6:,.1f} MB. Export {made['export']} in the ledger.")


def _serve(options: argparse.Namespace) -> int:
    from pipelines.serving import tokens
    from pipelines.serving.server import Limits, Server
    from pipelines.settings import Lake, lake_home
    from pipelines.sql import memory_mb, threads

    if not (lake_home() / "lake.json").exists():
        raise WrongUse(f"There is no lake at {lake_home()}. Set LAKE_HOME.")
    for file in (options.certificate, options.key):
        if not file.is_file():
            raise WrongUse(f"{file} is not there. The server answers over TLS only: see docs/access-server.md for a certificate.")
    tokens.read(options.tokens)
    limits = Limits(options.seconds, options.rows, options.sessions, options.memory or max(128, memory_mb() // options.sessions), threads())
    server = Server(Lake.open(), (options.address, options.port), options.certificate, options.key, options.tokens,
                    options.log or options.tokens.with_name("queries.jsonl"), limits)
    ended = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: ended.set())
    print(f"Answering on {options.address}:{server.port}: {options.seconds:g} s and {options.rows:,} rows a question, {options.sessions} at once, {limits.memory_mb} MB each.", flush=True)
    ended.wait()
    server.close()
    sys.stdout.flush()
    os._exit(DONE)      # a stalled connection would keep the interpreter from ending


def _token(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pipelines.serving import tokens

    if options.revoke is not None:
        _print(options, asdict(tokens.revoke(options.tokens, options.revoke)), lambda t: f"Token {t['id']} of {t['who']} is good for nothing from now on.")
    elif not options.who and not options.until:
        _print(options, [{k: v for k, v in asdict(t).items() if k != "sha256"} for t in tokens.read(options.tokens)], tokens_text)
    elif not options.who or not options.until:
        raise WrongUse("A new token needs both: --for NAME --until DATE")
    else:
        made, secret = tokens.issue(options.tokens, options.who, options.role, options.until)
        _print(options, {"id": made.id, "token": secret}, lambda t: f"{t['token']}\nToken {made.id} of {made.who} as {made.role} until {made.expires_on}. It is shown this once.")
    return DONE


def tokens_text(held: list[dict[str, Any]]) -> str:
    """One line per token."""
    columns = ["id", "who", "role", "expires_on", "made_at"]
    return show.table({"columns": columns, "rows": [[str(t[c]) for c in columns] for t in held], "count": False})


def _ask(options: argparse.Namespace) -> int:
    from pipelines.serving.client import ask

    token = options.token_file.read_text().strip() if options.token_file else os.environ.get("LAKE_TOKEN", "")
    if not token:
        raise WrongUse("A question needs your token: --token-file FILE, or the variable LAKE_TOKEN.")
    _print(options, ask(options.server, options.sql, token, options.certificate), show.table)
    return DONE
