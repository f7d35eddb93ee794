"""Real PostgreSQL and MariaDB servers for a test session, from Debian's packages: no root, nothing of the system is changed.

Programs that are not installed are downloaded as packages and unpacked into `.venv/servers`. Each server has its data in a temporary
folder, listens on a free loopback port, and is ended with the session. They keep nothing safe (no fsync): they are thrown away.
"""
from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.support import REPOSITORY

UNPACKED = REPOSITORY / ".venv" / "servers"
USER = "nobody"
OWNER, OWNER_WORD = "keeper", "Owner-1"
READER, READER_WORD = "lake_reader", "S3cret-Reader"
_PACKAGES = {
    "postgres": ("postgresql-15", "postgresql-client-15", "postgresql-common", "libpq5", "libllvm14", "libxslt1.1"),
    "mariadbd": ("mariadb-server-core", "mariadb-common", "libaio1", "libnuma1", "liburing2")}
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/sbin", "/usr/bin", "usr/lib/postgresql/*/bin", "usr/sbin")


class Missing(Exception):
    """The programs are not installed and cannot be downloaded: no Debian, or no network."""


@dataclass(frozen=True)
class Server:
    """A running server. `admin`, `reader`: engines of its owner and of a role that may only SELECT in `gov`."""

    dialect: str
    port: int
    folder: Path

    def url(self, user: str, password: str, port: int | None = None, database: str = "gov") -> sa.URL:
        driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[self.dialect]
        return sa.URL.create(driver, user, password, "127.0.0.1", port or self.port, database)

    @property
    def reader(self) -> str:
        """What stands in LAKE_CONNECTION_<NAME>."""
        return self.through(self.port)

    def through(self, port: int) -> str:
        """The reader's address by way of a proxy."""
        return self.url(READER, READER_WORD, port).render_as_string(hide_password=False)

    @contextmanager
    def admin(self) -> Iterator[sa.Connection]:
        """A connection of the owner; every statement is a transaction of its own."""
        engine = sa.create_engine(self.url(OWNER, OWNER_WORD), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as con:
            yield con

    def run(self, *statements: str) -> None:
        """Run statements as the owner."""
        with self.admin() as con:
            for statement in statements:
                con.exec_driver_sql(statement)

    def grant(self, table: str) -> None:
        """Let the reader read one table or view, as docs/databases.md says."""
        self.run(f"GRANT SELECT ON {table} TO {READER}" if self.dialect == "postgresql" else f"GRANT SELECT, SHOW VIEW ON {table} TO {READER}@'%%'")

    def readers(self) -> list[int]:
        """Process ids of the reader's connections, the oldest first."""
        query = "SELECT pid FROM pg_stat_activity WHERE usename = '%s' ORDER BY backend_start" if self.dialect == "postgresql" else \
            "SELECT id FROM information_schema.processlist WHERE user = '%s' ORDER BY id"
        with self.admin() as con:
            return [row[0] for row in con.exec_driver_sql(query % READER)]

    def cut(self, pid: int) -> None:
        """End a connection from another session, as its keeper would."""
        with suppress(sa.exc.DBAPIError):
            self.run(f"SELECT pg_terminate_backend({pid})" if self.dialect == "postgresql" else f"KILL {pid}")


@contextmanager
def postgresql(folder: Path) -> Iterator[Server]:
    """A PostgreSQL server."""
    programs, port = _programs("postgres"), _port()
    _give(folder)
    _run([programs / "initdb", "--no-sync", "-D", folder / "data", "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"], folder)
    (folder / "data" / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    command = [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1",
               "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_wal_size=4GB", "-c", "autovacuum=off", "-c", "max_connections=400"]
    with _running(command, folder):
        local = sa.create_engine(f"postgresql+psycopg://{OWNER}@/postgres?host={folder}&port={port}", poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        _until(lambda: local.connect().close())
        with local.connect() as con:
            for statement in (f"ALTER ROLE {OWNER} PASSWORD '{OWNER_WORD}'", f"CREATE ROLE {READER} LOGIN PASSWORD '{READER_WORD}'", "CREATE DATABASE gov"):
                con.exec_driver_sql(statement)
        yield Server("postgresql", port, folder)


@contextmanager
def mariadb(folder: Path) -> Iterator[Server]:
    """A MariaDB server."""
    program, port = _programs("mariadbd") / "mariadbd", _port()
    share = program.parent.parent / "share"
    share = share / "mysql" if (share / "mysql").exists() else share / "mariadb"
    _give(folder)
    (folder / "data").mkdir()
    (folder / "tmp").mkdir()
    _give(folder / "data", folder / "tmp")
    base = [program, "--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}/tmp", f"--lc-messages-dir={share}", "--innodb-flush-log-at-trx-commit=0",
            "--skip-log-bin", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=256M", f"--character-sets-dir={share}/charsets"]
    tables = "\n".join((share / f"mysql_{name}.sql").read_text(encoding="utf-8") for name in ("system_tables", "performance_tables", "system_tables_data"))
    _run([*base, "--bootstrap"], folder, f"create database mysql;\nuse mysql;\n{tables}")
    command = [*base, f"--socket={folder}/my.sock", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder}/my.pid", "--character-set-server=utf8mb4"]
    with _running(command, folder):
        local = sa.create_engine(f"mysql+pymysql://root@localhost/mysql?unix_socket={folder}/my.sock", poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        _until(lambda: local.connect().close())
        with local.connect() as con:
            for statement in (f"CREATE USER {OWNER}@'%%' IDENTIFIED BY '{OWNER_WORD}'", f"GRANT ALL ON *.* TO {OWNER}@'%%' WITH GRANT OPTION",
                              f"CREATE USER {READER}@'%%' IDENTIFIED BY '{READER_WORD}'", "CREATE DATABASE gov CHARACTER SET utf8mb4"):
                con.exec_driver_sql(statement)
        yield Server("mysql", port, folder)


class Proxy:
    """A loopback TCP proxy that ends every connection through it after so many bytes from the server, once per number given."""

    def __init__(self, port: int, after: list[int]):
        self._target, self._after, self.cuts = port, list(after), 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target))
                limit = self._after.pop(0) if self._after else None
                threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, limit), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65_536):
                passed += len(data)
                if limit is not None and passed > limit:
                    self.cuts += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listening.close()


def _programs(name: str) -> Path:
    """The folder of an installed program, or of one unpacked for these tests."""
    found = _look(name)
    if found is None:
        UNPACKED.mkdir(parents=True, exist_ok=True)
        with open(UNPACKED / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = _look(name) or _fetch(name)
    return found


def _look(name: str) -> Path | None:
    for place in _PLACES:
        root = Path("/") if place.startswith("/") else UNPACKED / name
        for folder in sorted(root.glob(place.lstrip("/")), reverse=True):
            if (folder / name).exists():
                return folder
    return None


def _fetch(name: str) -> Path:
    """Download and unpack a program's packages; nothing is installed.

    Raises:
        Missing: they cannot be downloaded.
    """
    packages = _PACKAGES[name]
    try:
        try:
            unpack(packages, UNPACKED / name)
        except subprocess.CalledProcessError:
            if not refresh():
                raise
            unpack(packages, UNPACKED / name)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{name} is not installed, and its Debian packages cannot be downloaded ({type(error).__name__})") from None
    found = _look(name)
    assert found, f"the packages of {name} do not hold it"
    return found


def refresh() -> bool:
    """Ask anew which packages there are, where this account may."""
    return os.getuid() == 0 and subprocess.run(["apt-get", "update"], capture_output=True).returncode == 0


def unpack(packages: Sequence[str], folder: Path) -> None:
    """Download packages and unpack them into one folder. The first must be there; of the others what can be had.

    Raises:
        subprocess.CalledProcessError: the first one cannot be downloaded.
    """
    work = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    (work / "debs").mkdir(parents=True)
    (work / "debs").chmod(0o777)
    for package in packages:
        subprocess.run(["apt-get", "download", package], cwd=work / "debs", check=package == packages[0], capture_output=True)
    for file in (work / "debs").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", file, work], check=True)
    shutil.rmtree(work / "debs")
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def _as_other() -> dict[str, str]:
    return {"user": USER} if os.getuid() == 0 else {}


def _environment() -> dict[str, str]:
    libraries = ":".join(str(p) for p in UNPACKED.glob("*/usr/lib/*-linux-gnu"))
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"} | ({"LD_LIBRARY_PATH": libraries} if libraries else {})


def _give(*folders: Path) -> None:
    """Make folders the server's own, and let it pass those above."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(folder, USER)
            for above in folder.parents:
                if above.stat().st_uid == 0 and above != Path("/"):
                    above.chmod(above.stat().st_mode | 0o011)


def _run(command: list, folder: Path, typed: str = "") -> None:
    done = subprocess.run(command, cwd=folder, env=_environment(), input=typed, text=True, capture_output=True, **_as_other())
    assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def _running(command: list, folder: Path) -> Iterator[None]:
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_as_other())
    try:
        yield
    finally:
        server.terminate() if server.args[0].name == "mariadbd" else server.send_signal(2)      # SIGINT: PostgreSQL's fast shutdown
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _until(works, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            return works()
        except sa.exc.DBAPIError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
