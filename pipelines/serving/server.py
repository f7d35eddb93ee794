"""The Arrow Flight server: TLS, a token in every call, one SELECT at a time, bounded in time, rows, memory and sessions, and a line in the log per question.

A line of the log is JSON: at, who, role, release, statement (without values), rows, seconds, outcome. A new release is shown to the next question;
a question that runs keeps the release it began with.
"""
from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.flight as flight

from pipelines.ledger import now
from pipelines.serving import messages, statements
from pipelines.serving.databases import Databases, Opened
from pipelines.serving.messages import Message
from pipelines.serving.tokens import Readers, Token
from pipelines.settings import Lake, WrongUse
from pipelines.trouble import let_pass

ROWS_PER_BATCH = 10_000
UNKNOWN = "no such token, or its time is over"


@dataclass(frozen=True)
class Limits:
    """What one question, one person and the server may take: seconds and rows of a question, questions at once, MB and threads of one role's database."""

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
    """The server; `serve()` runs it until `shutdown()`.

    Args:
        where: address and port, such as ("127.0.0.1", 31337).
        certificate: file with the certificate chain, PEM.
        key: file with its private key, PEM.
        tokens: the file of tokens.
        log: the file that gets a line per question.
    """

    def __init__(self, lake: Lake, where: tuple[str, int], certificate: Path, key: Path, tokens: Path, log: Path, limits: Limits):
        self.limits, self._stack, self._writing = limits, ExitStack(), threading.Lock()
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lake-serve-")))
        self.databases = Databases(lake, scratch, limits.memory_mb, limits.threads)
        self._stack.callback(self.databases.close)
        self._log_file = self._stack.enter_context(open(log, "a", encoding="utf-8"))
        log.chmod(0o600)
        self._running: Counter[int] = Counter()
        super().__init__(f"grpc+tls://{where[0]}:{where[1]}", tls_certificates=[(certificate.read_bytes(), key.read_bytes())],
                         middleware={"caller": _Bearer(Readers(tokens), self._note)})

    def close(self) -> None:
        """Stop, after what runs, and remove what was copied."""
        self.shutdown()
        self._stack.close()

    def get_flight_info(self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        """The columns of a statement, and the ticket for its rows."""
        message = _parse(descriptor.command)
        schema = messages.schema_of(message)
        if schema is None:
            with self._asked(context, message) as (con, _, sql):
                schema = _columns(con, sql)
        given = messages.ticket(message.sql) if message.sql is not None else descriptor.command
        return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(given, [])], -1, -1)

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        """The rows of a statement, or of a question about the catalogue."""
        message, who = _parse(ticket.ticket), _who(context)
        if messages.schema_of(message) is not None:
            with self._told(), self.databases.of(who.role) as (con, _):
                return flight.RecordBatchStream(messages.answer(message, con))
        rows = self._rows(context, message)
        schema = next(rows)
        return flight.GeneratorStream(schema, rows)

    def list_actions(self, context: flight.ServerCallContext) -> list[tuple[str, str]]:
        """The actions of Flight SQL that are answered."""
        return [("CreatePreparedStatement", "prepare a statement"), ("ClosePreparedStatement", "forget it")]

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> Iterator[flight.Result]:
        """Prepare a statement (drivers do so for every one), or forget it: nothing is kept."""
        if action.type == "ClosePreparedStatement":
            return iter(())
        if action.type != "CreatePreparedStatement":
            raise flight.FlightServerError(f"This server only reads; it has no {action.type}.")
        message = _parse(action.body.to_pybytes())
        with self._asked(context, message) as (con, _, sql):
            schema = _columns(con, sql)
        made = {1: sql.encode(), 2: schema.serialize().to_pybytes(), 3: pa.schema([]).serialize().to_pybytes()}
        return iter([flight.Result(messages.pack("ActionCreatePreparedStatementResult", made))])

    def _rows(self, context: flight.ServerCallContext, message: Message) -> Iterator[pa.Schema | pa.RecordBatch]:
        """The columns, then the rows; whatever ends it, it is in the log and its place is free again."""
        who, said = _who(context), {"rows": 0, "outcome": "error"}
        began = time.monotonic()
        try:
            with self._session(who), self._asked(context, message) as (con, opened, sql):
                said |= {"release": opened.release, "statement": statements.without_values(sql, opened.known)}
                with self._in_time(con):
                    reader = con.execute(sql).to_arrow_reader(ROWS_PER_BATCH)
                    yield reader.schema
                    for batch in reader:
                        said["rows"] += batch.num_rows
                        if said["rows"] > self.limits.rows:
                            raise WrongUse(f"The answer has more than {self.limits.rows:,} rows. Add a LIMIT or a GROUP BY, or ask for a portable file.")
                        yield batch
            said["outcome"] = "done"
        except GeneratorExit:
            said["outcome"] = "left"
            raise
        except flight.FlightUnavailableError:
            said["outcome"] = "busy"
            raise
        except flight.FlightTimedOutError:
            said["outcome"] = "timeout"
            raise
        except WrongUse as error:
            said["outcome"] = "refused"
            raise flight.FlightServerError(str(error)) from None
        finally:
            self._note(who=who.who, role=who.role, seconds=round(time.monotonic() - began, 3), **said)

    @contextmanager
    def _asked(self, context: flight.ServerCallContext, message: Message) -> Iterator[tuple[duckdb.DuckDBPyConnection, Opened, str]]:
        """A connection to the caller's release, and the one statement of a message."""
        with self._told(), self.databases.of(_who(context).role) as (con, opened):
            if message.sql is None:
                raise WrongUse(f"This server only reads; it does not answer {message.name}.")
            yield con, opened, statements.judge(con, message.sql)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong is told to the asker, who may see the data."""
        try:
            yield
        except duckdb.InterruptException:
            raise flight.FlightTimedOutError(f"Stopped after {self.limits.seconds:g} s. Ask for less: a county, a month, fewer columns.") from None
        except duckdb.Error as error:
            let_pass(error)
            raise flight.FlightServerError(str(error)) from None
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

    @contextmanager
    def _in_time(self, con: duckdb.DuckDBPyConnection) -> Iterator[None]:
        timer = threading.Timer(self.limits.seconds, con.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

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


def _columns(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Schema:
    """The columns of a statement; an EXPLAIN, which is no relation, is asked itself."""
    if con.extract_statements(sql)[0].type == duckdb.StatementType.EXPLAIN:
        return con.execute(sql).to_arrow_table().schema
    return messages.columns(con, sql)
