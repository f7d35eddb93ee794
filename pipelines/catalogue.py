"""Where the ledger and the Iceberg catalogue live: `catalog.db` (SQLite, one machine), or PostgreSQL (`LAKE_CATALOG`).

In PostgreSQL a lake has a schema of its own, `lake_<id>` with the id of `lake.json`, so that lakes share a database
without mixing. `lake.json` records which of the two a lake uses: opened the other way it would look empty, so that is
refused. SQLite loses commits on a network file system and is refused there.
"""
from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable

from pipelines.settings import POSTGRESQL, SQLITE, Lake, WrongUse
from pipelines.store.tables import kept_in

SETTING = "LAKE_CATALOG"
NETWORK = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre",
           "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs")
_TABLES_LOCK = 0x1A6E
_POOL = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 6}


def engine(lake: Lake) -> sa.Engine:
    """The database of the lake's ledger and catalogue, one pool per process.

    Raises:
        WrongUse: the setting and the lake disagree, the setting is no PostgreSQL address, or SQLite would lie on a network file system.
    """
    return _engine(_url(lake), os.getpid())


@lru_cache(maxsize=8)
def _engine(url: str, _process: int) -> sa.Engine:
    """`_process`: connections must not be shared with a process that was forked."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, **_POOL)
    found = sa.create_engine(url, connect_args={"timeout": 60})
    with found.begin() as con:
        con.exec_driver_sql("PRAGMA journal_mode=WAL")
    return found


def sqlite(path: Path) -> sa.Engine:
    """A database file of its own, as backups have it."""
    return sa.create_engine(f"sqlite:///{path}")


def postgresql(lake: Lake, lake_id: str) -> sa.Engine:
    """The database of the setting, for a lake that is being restored.

    Raises:
        WrongUse: the setting is no PostgreSQL address.
    """
    return _engine(address(os.environ.get(SETTING, ""), f"lake_{lake_id}"), os.getpid())


def iceberg(lake: Lake) -> SqlCatalog:
    """The Iceberg catalogue of the lake."""
    return _iceberg(_url(lake), str(lake.home), lake.store, os.getpid())


@lru_cache(maxsize=8)
def _iceberg(url: str, home: str, store: str | None, _process: int) -> SqlCatalog:
    create(_engine(url, _process), SqlCatalogBaseTable.metadata)
    return SqlCatalog("lake", uri=url, warehouse=f"{store or f'file://{home}'}/base", pool_pre_ping="true", **kept_in(store, home))


def forget() -> None:
    """Let go of what this process has open: another file is about to take the place of the lake's catalogue."""
    _engine.cache_clear()
    _iceberg.cache_clear()


def metadata_location(lake: Lake, identifier: tuple[str, ...]) -> str | None:
    """Where the newest metadata file of a table is, without reading it; None when there is no such table."""
    t = SqlCatalogBaseTable.metadata.tables["iceberg_tables"]
    with _engine(_url(lake), os.getpid()).connect() as con:
        return con.execute(sa.select(t.c.metadata_location).where(
            t.c.table_namespace == ".".join(identifier[:-1]), t.c.table_name == identifier[-1])).scalar()


def create(found: sa.Engine, tables: sa.MetaData) -> None:
    """Create the tables that are missing; two processes that begin at once do not disturb each other."""
    with found.begin() as con:
        if found.dialect.name == POSTGRESQL:
            con.execute(sa.select(sa.func.pg_advisory_xact_lock(_TABLES_LOCK)))
            schema = con.execute(sa.text("SELECT current_setting('search_path')")).scalar_one()
            con.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        tables.create_all(con)


def _url(lake: Lake) -> str:
    """The address of the database, for SQLAlchemy; it may hold a password and is never shown."""
    wish, kind = os.environ.get(SETTING), lake.catalogue
    if kind == POSTGRESQL:
        if not wish:
            raise WrongUse(f"The catalogue of this lake is on PostgreSQL. Set {SETTING} to its address (postgresql://user:password@host/database).")
        return address(wish, lake.schema)
    if wish:
        raise WrongUse(f"{SETTING} is set, but the catalogue of this lake is {lake.catalog.name}. Move it: python -m pipelines catalogue --move. "
                       f"Or unset {SETTING}.")
    refuse_network(lake.home)
    return f"sqlite:///{lake.catalog}"


def address(wish: str, schema: str) -> str:
    """The PostgreSQL address in `wish`, its names those of `schema`.

    Raises:
        WrongUse: it is none.
    """
    try:
        url = sa.make_url(wish)
    except sa.exc.ArgumentError:
        url = None
    if url is None or not url.drivername.startswith("postgres"):
        raise WrongUse(f"{SETTING} must be an address such as postgresql://user:password@host/database; without it the catalogue is SQLite.")
    own = url.set(drivername="postgresql+psycopg").update_query_dict({"options": f"-csearch_path={schema}"})
    return own.render_as_string(hide_password=False)


def refuse_network(home: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Raise WrongUse when `home` is on a network file system, as the kernel's list of mounts tells."""
    kind = filesystem(home, mounts)
    if kind in NETWORK:
        raise WrongUse(f"{home} is on a network file system ({kind}), where SQLite loses commits. Put the catalogue on PostgreSQL: set {SETTING} before "
                       "the lake is made, or keep LAKE_HOME on a local disk. A lake that is here already: copy it to the same path on a local disk.")


def filesystem(path: Path, mounts: Path) -> str | None:
    """The kind of file system that `path` is on, None where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    found: dict[str, str] = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        found[point] = after.split()[0]
    return next((found[str(p)] for p in (path, *path.parents) if str(p) in found), None)


def close_to_others(lake: Lake) -> None:
    """The SQLite file is for this account alone: it says who was withdrawn, who is named in a grant, and who decided."""
    for suffix in ("", "-wal", "-shm"):
        file = Path(f"{lake.catalog}{suffix}")
        with suppress(OSError):      # another process may just remove the last two
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def describe(lake: Lake) -> dict[str, str]:
    """Where the catalogue is, without its password."""
    if lake.catalogue == SQLITE:
        return {"kind": SQLITE, "place": str(lake.catalog)}
    shown = sa.make_url(_url(lake)).difference_update_query(["options"])
    return {"kind": POSTGRESQL, "place": f"{shown.render_as_string(hide_password=True)} schema {lake.schema}"}


def move(lake: Lake) -> dict[str, str]:
    """Copy the catalogue and the ledger from SQLite to the PostgreSQL of the setting, and use it from now on.

    The caller holds every writer's lock. A move that dies is done again from the start: `lake.json` changes last.

    Raises:
        WrongUse: there is no setting, or the catalogue is there already.
    """
    if lake.catalogue == POSTGRESQL:
        raise WrongUse("The catalogue of this lake is on PostgreSQL already.")
    target = _engine(address(os.environ.get(SETTING, ""), lake.schema), os.getpid())
    source = _engine(f"sqlite:///{lake.catalog}", os.getpid())
    copy(source, target)
    lake.mark(catalogue=POSTGRESQL)
    with source.connect() as con:
        con.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    source.dispose()      # the last connection takes the files of the log with it
    lake.catalog.rename(lake.catalog.with_suffix(".moved"))
    return describe(lake)


def copy(source: sa.Engine, target: sa.Engine) -> dict[str, int]:
    """Put every row of the ledger and the catalogue in `source` in the place of what `target` holds; returns table → rows.

    One transaction on either side: the copy shows one moment, and is whole or absent.
    """
    from pipelines import ledger_tables, region_counts

    counts = {}
    for tables in (ledger_tables.meta, SqlCatalogBaseTable.metadata):
        create(source, tables)
        create(target, tables)
    region_counts.adopt(source)      # of an older lake
    reading = source.connect().execution_options(isolation_level="REPEATABLE READ") if source.dialect.name == POSTGRESQL else source.connect()
    with reading as read, target.begin() as write:
        read.begin()
        for table in (*ledger_tables.meta.sorted_tables, *SqlCatalogBaseTable.metadata.sorted_tables):
            write.execute(table.delete())
            rows = [dict(r) for r in read.execute(sa.select(table)).mappings()]
            if rows:
                write.execute(table.insert(), rows)
            counts[table.name] = len(rows)
            _raise_sequence(write, table)
    return counts


def _raise_sequence(con: sa.Connection, table: sa.Table) -> None:
    """After rows came with their ids, PostgreSQL must count on from them."""
    if con.dialect.name == POSTGRESQL and table.autoincrement_column is not None and "id" in table.c and isinstance(table.c.id.type, sa.Integer):
        newest = con.execute(sa.select(sa.func.max(table.c.id))).scalar()
        if newest:
            con.execute(sa.text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :newest)"), {"table": table.name, "newest": newest})
