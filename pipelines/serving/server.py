"""The Arrow Flight server: TLS, a token in every call, one SELECT at a time, bounded in time, rows, memory and sessions, and a line in the log per question.

A line of the log is JSON: at, who, role, release, statement (without values), rows, seconds, outcome. A new release is shown to the next question;
a question that runs keeps the release it began with.
"""
from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from pipelines.ledger import now
from pipelines.serving import messages
from pipelines.serving.messages import Message
from pipelines.serving.tokens import Readers, Token
from pipelines.serving.worker import TOO_MUCH
from pipelines.serving.workers import Died, TooLong, Workers
from pipelines.settings import Lake, WrongUse

UNKNOWN = "no such token, or its time is over"
_OUTCOMES = {flight.FlightServerError: "refused", flight.FlightTimedOutError: "timeout", flight.FlightUnavailableError: "busy"}


@dataclass(frozen=True)
class Limits:
    """What one question may take (seconds, rows, MB, threads), and how many are answered at once."""

    seconds: float = 60
    rows: int = 1_000_000
    sessions: int = 8
    memory_mb: int = 512
    threads: int = 2


class _Bearer(flight.ServerMiddlewareFactory):
    """Lets in whoever has a token that is good today; the call then knows who it is."""

    def __init__(self, readers: Readers, log: Callable[..., None]):
        self.readers, self.log = readers, log

    def start_call(self, info: flight.CallInfo, headers: dict[str, list[str]]) -> _Caller:
        given = next((v for k, values in headers.items() if k.lower() == "authorization" for v in values), "")
        kind, _, secret = (given.decode() if isinstance(given, bytes) else given).partition(" ")
        found = self.readers.find(secret) if kind.lower() == "bearer" else None
        if not found:
            self.log(outcome="unauthenticated")
            raise flight.FlightUnauthenticatedError(f"Give your token as 'authorization: Bearer TOKEN': {UNKNOWN}.")
        return _Caller(found)


class _Caller(flight.ServerMiddleware):
    def __init__(self, token: Token):
        self.token = token


class Server(flight.FlightServerBase):
    """The server; it answers from when it is made until `close()`.

    Args:
        where: address and port, such as ("127.0.0.1", 31337).
        certificate: file with the certificate chain, PEM.
        key: file with its private key, PEM.
        tokens: the file of tokens.
        log: the file that gets a line per question.
    """

    def __init__(self, lake: Lake, where: tuple[str, int], certificate: Path, key: Path, tokens: Path, log: Path, limits: Limits):
        self.limits, self._writing = limits, threading.Lock()
        self.workers = Workers(lake, limits.sessions, limits.memory_mb, limits.threads)
        self._log_file = open(log, "a", encoding="utf-8")
        log.chmod(0o600)
        self._running: Counter[int] = Counter()
        super().__init__(f"grpc+tls://{where[0]}:{where[1]}", tls_certificates=[(certificate.read_bytes(), key.read_bytes())],
                         middleware={"caller": _Bearer(Readers(tokens), self._note)})

    def close(self, seconds: float = 10) -> None:
        """Stop: what runs may end within `seconds`, then its processes are ended; a reader who has stopped reading holds up nobody."""
        ending = threading.Thread(target=self.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)
        self.workers.close()
        ending.join(1)

    def get_flight_info(self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        """The columns of a statement, and the ticket for its rows."""
        message = _parse(descriptor.command)
        schema = messages.schema_of(message) or self._columns(context, descriptor.command)
        given = messages.ticket(message.sql) if message.sql is not None else descriptor.command
        return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(given, [])], -1, -1)

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        """The rows of a statement, or of a question about the catalogue."""
        _parse(ticket.ticket)
        rows = self._rows(_who(context), ticket.ticket)
        return flight.GeneratorStream(next(rows), rows)

    def list_actions(self, context: flight.ServerCallContext) -> list[tuple[str, str]]:
        """The actions of Flight SQL that are answered."""
        return [("CreatePreparedStatement", "prepare a statement"), ("ClosePreparedStatement", "forget it")]

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> Iterator[flight.Result]:
        """Prepare a statement (drivers do so for every one), or forget it: nothing is kept."""
        if action.type == "ClosePreparedStatement":
            return iter(())
        if action.type != "CreatePreparedStatement":
            raise flight.FlightServerError(f"This server only reads; it has no {action.type}.")
        packed = action.body.to_pybytes()
        schema, sql = self._columns(context, packed), _parse(packed).sql
        made = {1: sql.encode(), 2: schema.serialize().to_pybytes(), 3: pa.schema([]).serialize().to_pybytes()}
        return iter([flight.Result(messages.pack("ActionCreatePreparedStatementResult", made))])

    def _columns(self, context: flight.ServerCallContext, packed: bytes) -> pa.Schema:
        with self._asked(_who(context), "columns", packed, {}) as tables:
            return [t.schema for t in tables][0]

    def _rows(self, who: Token, packed: bytes) -> Iterator[pa.Schema | pa.RecordBatch]:
        """The columns, then the rows; whatever ends it, it is in the log and its place is free again."""
        said, began = {"rows": 0, "outcome": "fault"}, time.monotonic()
        try:
            with self._asked(who, "rows", packed, said) as tables:
                first = next(tables)
                yield first.schema
                for table in itertools.chain([first], tables):
                    said["rows"] += table.num_rows
                    if said["rows"] > self.limits.rows:
                        raise WrongUse(f"The answer has more than {self.limits.rows:,} rows. Add a LIMIT or a GROUP BY, or ask for a portable file.")
                    yield from table.to_batches()
            said["outcome"] = "done"
        except (GeneratorExit, *_OUTCOMES) as error:
            said["outcome"] = _OUTCOMES.get(type(error), "left")
            raise
        finally:
            self._note(who=who.who, role=who.role, seconds=round(time.monotonic() - began, 3), **said)

    @contextmanager
    def _asked(self, who: Token, do: str, packed: bytes, said: dict[str, Any]) -> Iterator[Iterator[pa.Table]]:
        """The tables of an answer, the first of them empty, within the limits; `said` gets what the log may say."""
        try:
            with self._session(who), self.workers.of(who.role) as worker:
                said["release"] = worker.release
                yield _tables(worker.asked(do, packed, self.limits.seconds), said)
        except TooLong:
            raise flight.FlightTimedOutError(f"Stopped after {self.limits.seconds:g} s. Ask for less: a county, a month, fewer columns.") from None
        except Died:
            raise flight.FlightServerError(TOO_MUCH) from None
        except WrongUse as error:
            raise flight.FlightServerError(str(error)) from None

    @contextmanager
    def _session(self, who: Token) -> Iterator[None]:
        """One of the places; half of them are the most one token may have."""
        with self._writing:
            if self._running.total() >= self.limits.sessions or self._running[who.id] >= max(1, self.limits.sessions // 2):
                raise flight.FlightUnavailableError(f"{self._running.total()} questions are being answered, {self._running[who.id]} of them yours. Try again in a moment.")
            self._running[who.id] += 1
        try:
            yield
        finally:
            with self._writing:
                self._running[who.id] -= 1

    def _note(self, **said: object) -> None:
        with self._writing:
            print(json.dumps({"at": now(), **said}, ensure_ascii=False), file=self._log_file, flush=True)


def _who(context: flight.ServerCallContext) -> Token:
    return context.get_middleware("caller").token


def _parse(packed: bytes) -> Message:
    try:
        return messages.parse(packed)
    except (ValueError, IndexError):
        raise flight.FlightServerError("This is no statement.") from None


def _tables(frames: Iterator[tuple[bytes, bytes]], said: dict[str, Any]) -> Iterator[pa.Table]:
    """The tables among the frames of an answer.

    Raises:
        WrongUse: the engine does not answer this; the message is its own.
    """
    for kind, content in frames:
        if kind == b"S":
            said |= json.loads(content)
        elif kind == b"E":
            raise WrongUse(json.loads(content)["text"])
        elif kind == b"B":
            yield pa.ipc.open_stream(content).read_all()
