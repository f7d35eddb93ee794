"""Sessions with a source: credentials, one read-only snapshot, and what may be said when it goes wrong.

A connection is known by its name only; its address comes from LAKE_CONNECTION_<NAME> or the Airflow connection of that name and
reaches no file, message or log. Drivers' errors quote SQL, hosts and users, so they are told by their kind only (`told`).
Where the source admits a second connection (PostgreSQL, `connections` above 1), that one holds the snapshot open, so that a
reader that was cut goes on in the same moment.
"""
from __future__ import annotations

import os
import warnings
from contextlib import suppress
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.settings import Later, WrongUse
from pipelines.sources.declaration import Database

_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "oracle": "oracle+oracledb", "sqlserver": "mssql+pymssql"}
_SPELLED = {"postgres": "postgresql", "mariadb": "mysql", "mssql": "sqlserver"}
_PATIENCE = {      # seconds without an answer, so that a connection that was dropped silently is noticed
    "postgresql": {"connect_timeout": 15, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000},
    "mysql": {"connect_timeout": 15, "read_timeout": 600, "charset": "utf8mb4"},
    "oracle": {"tcp_connect_timeout": 15}, "sqlserver": {"login_timeout": 15, "timeout": 600, "charset": "UTF-8"}}
_SESSION = {
    "postgresql": ("SET DateStyle = 'ISO, YMD'", "SET TimeZone = 'Asia/Shanghai'", "SET extra_float_digits = 1",
                   "SET idle_in_transaction_session_timeout = 0", "SET client_encoding = 'UTF8'"),
    "mysql": ("SET SESSION time_zone = '+08:00'", "SET SESSION sql_mode = ''", "SET SESSION net_write_timeout = 3600",
              "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    "oracle": ("ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,'", "ALTER SESSION SET TIME_ZONE = 'Asia/Shanghai'"),
    "sqlserver": ("SET TRANSACTION ISOLATION LEVEL SNAPSHOT",)}
_BEGIN = {"postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
          "oracle": "SET TRANSACTION READ ONLY"}
_LOGIN = ("28000", "28P01", "1045", "1044", "1698", "1017", "1005", "28001", "18456", "18452")
_MAY_NOT = ("42501", "1142", "1143", "1227", "1031", "229", "230")
_MISSING = ("42P01", "3F000", "3D000", "1146", "1049", "942", "208", "4060", "42703", "1054")
_NO_SNAPSHOT = ("3952",)
_ENDED = ("57P01", "57P02", "57P03", "57014", "40001", "53300", "25P03", "2006", "2013", "2055", "1927", "1317", "1053", "1040", "1205", "3113", "3114",
          "3135", "28", "1012", "20003", "20004", "20006", "20047", "1555")


class Refused(WrongUse):
    """The source answers, and refuses; somebody has to change something."""


class Cut(Later):
    """The source cannot be reached, or ended the connection."""


def address(database: Database) -> sa.URL:
    """Where the database is and who reads it.

    Raises:
        Refused: neither the environment nor Airflow knows the connection, or it is of another type.
    """
    variable = f"LAKE_CONNECTION_{database.connection.upper()}"
    given = os.environ.get(variable)
    with suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url(given) if given else _of_airflow(database)
        if url is not None:
            kind = url.drivername.partition("+")[0]
            if _SPELLED.get(kind, kind) != database.dialect:
                raise Refused(f"Connection {database.connection!r} is of type {kind}, the contract says {database.dialect}. Mend one of them.")
            return url.set(drivername=_DRIVERS[database.dialect])
    raise Refused(f"Connection {database.connection!r} is {'no address that can be read' if given else 'not known'}. Set {variable} to "
                  f"{database.dialect}://user:password@host:port/database, or make the Airflow connection {database.connection!r}.")


def _of_airflow(database: Database) -> sa.URL | None:
    """The Airflow connection of this name, None where there is none."""
    try:
        from airflow.sdk import Connection

        found = Connection.get(database.connection)
    except Exception:  # whatever a secrets backend raises may quote a secret
        return None
    path = {"service_name": found.extra_dejson["service_name"]} if "service_name" in (found.extra_dejson or {}) else {}
    return sa.URL.create(found.conn_type, found.login, found.password, found.host, found.port, None if path else found.schema, path)


class Session:
    """One connection in one read-only snapshot; `clock` is the source's when it was taken."""

    def __init__(self, database: Database, holding: bool):
        self.database = database
        self._url = address(database)
        self._holding = holding and database.dialect == "postgresql"
        self._holder: sa.Connection | None = None
        self._exported = self.reader = None
        self.clock = datetime.min

    def open(self) -> bool:
        """Connect; True when the rows are those of a new snapshot, False when the snapshot that was held goes on.

        Raises:
            Refused, Cut: it is refused, or cannot be reached.
        """
        self._drop(self.reader)
        try:
            if self._holder is not None:
                with suppress(sa.exc.DBAPIError):
                    self.reader = self._begin(self._exported)
                    return False
                self._drop(self._holder)
                self._holder = None
            if self._holding:
                self._holder = self._begin()
                self._exported = self._holder.scalar(sa.text("SELECT pg_export_snapshot()"))
            self.reader = self._begin(self._exported)
            self.clock = (self._holder or self.reader).scalar(sa.select(sa.func.now(6) if self.database.dialect == "mysql" else sa.func.current_timestamp()))
        except sa.exc.DBAPIError as error:
            raise told(error, self.database) from None
        return True

    def _begin(self, snapshot: str | None = None) -> sa.Connection:
        """A new connection at the beginning of its only transaction."""
        dialect = self.database.dialect
        engine = sa.create_engine(self._url, poolclass=sa.NullPool, hide_parameters=True, connect_args=dict(_PATIENCE[dialect]))

        @sa.event.listens_for(engine, "connect")
        def prepare(raw: Any, _: Any) -> None:
            with raw.cursor() as cursor:
                for statement in _SESSION[dialect]:
                    cursor.execute(statement)
            raw.commit()

        con = engine.connect()
        try:
            if dialect in _BEGIN:
                con.exec_driver_sql(_BEGIN[dialect])
            if snapshot:
                con.exec_driver_sql("SET TRANSACTION SNAPSHOT '" + snapshot.replace("'", "") + "'")
        except BaseException:
            self._drop(con)
            raise
        return con

    def describe(self) -> tuple[list[dict[str, Any]], list[str]]:
        """The table's columns (SQLAlchemy's inspector) and the names of its primary key.

        Raises:
            Refused: there is no such table, or the login may not see it.
        """
        schema, _, plain = self.database.table.rpartition(".")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sa.exc.SAWarning)
                seen = sa.inspect(self.reader)
                return seen.get_columns(plain, schema or None), seen.get_pk_constraint(plain, schema or None).get("constrained_columns") or []
        except sa.exc.NoSuchTableError:
            raise Refused(_words("missing", self.database)) from None
        except sa.exc.DBAPIError as error:
            raise told(error, self.database) from None

    def close(self) -> None:
        """End both connections."""
        self._drop(self.reader)
        self._drop(self._holder)
        self.reader = self._holder = None

    @staticmethod
    def _drop(con: sa.Connection | None) -> None:
        """Give a connection up without asking the source anything: the rest of a result is not waited for."""
        if con is not None:
            with suppress(Exception):
                con.invalidate()
            with suppress(Exception):
                con.close()


def told(error: sa.exc.DBAPIError, database: Database) -> WrongUse:
    """What may be said of a driver's error: its kind and the remedy."""
    codes = _codes(error.orig)
    for kind, known in (("login", _LOGIN), ("may_not", _MAY_NOT), ("missing", _MISSING), ("snapshot", _NO_SNAPSHOT)):
        if codes & set(known):
            return Refused(_words(kind, database))
    if error.connection_invalidated or codes & set(_ENDED) or _is_network(error):
        return Cut(_words("ended" if error.statement else "away", database))
    return Refused(f"{_words('other', database)} ({type(error.orig).__name__}{', code ' + ', '.join(sorted(codes)) if codes else ''}; its text is withheld.)")


def _codes(original: BaseException | None) -> set[str]:
    """SQLSTATE or the vendor's number, wherever the driver puts it."""
    found = {str(getattr(original, "sqlstate", None) or "")}
    for argument in getattr(original, "args", ()):
        number = getattr(argument, "code", argument)
        found.add(str(number) if isinstance(number, int) else "")
    text = str(original) if getattr(original, "sqlstate", None) is None else ""
    if "password authentication failed" in text or "no pg_hba.conf entry" in text or ("role" in text and "does not exist" in text):
        found.add("28000")
    elif "database" in text and "does not exist" in text:
        found.add("3D000")
    return found - {""}


def _is_network(error: sa.exc.DBAPIError) -> bool:
    """True for an error of the connection itself: it has no code of the server, or is told before anything was sent."""
    operational = isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
    return operational and (error.statement is None or getattr(error.orig, "sqlstate", "") is None)


def _words(kind: str, database: Database) -> str:
    it = f"The source database {database.connection!r}"
    return {
        "away": f"{it} cannot be reached. Ask its keeper whether it runs and lets this machine in; then run the extraction again.",
        "ended": f"{it} ended the connection. What was read is kept; run the extraction again.",
        "login": f"{it} refused the login. Ask its keeper for the account, or mend LAKE_CONNECTION_{database.connection.upper()}.",
        "may_not": f"{it} refuses to read table {database.table}. Ask its keeper to grant SELECT on it, see docs/databases.md.",
        "missing": f"{it} has no table {database.table} that this login sees, or not all its columns. Mend `table` in the contract, or ask for the grant.",
        "snapshot": f"{it} does not allow snapshots. Ask its keeper for: ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON.",
        "other": f"{it} cannot carry out a statement over table {database.table}",
    }[kind]
