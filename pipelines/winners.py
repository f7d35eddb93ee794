"""Which accepted version of a key counts: the rules behind `current`, as views of one connection.

`inputs` makes `version` and `rejected`; `candidates` says which versions may count, `winners` which do. Nothing here is written.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from pipelines.batch import BatchId
from pipelines.compiler import Plan, digest
from pipelines.segments import Version
from pipelines.sql import name, names, text, texts

MANY, SMALL, KEPT = 16, 20_000, 2_000_000      # files, rows of one, and rows of all of them that are kept in memory


def inputs(con: duckdb.DuckDBPyConnection, plan: Plan, segments: Iterable[Version], quarantine: dict[str, Path]) -> None:
    """Tables `batch` (small) and `rejected` (addresses) and view `version` (accepted rows) of some segments.

    The rows of many small files are kept in a table, with what is known of their batches: what follows reads them several times, and opening a file costs as much as
    some thousand rows of it.
    """
    segments = list(segments)
    batches(con, plan, (b for v in segments for b, _ in v.batches))
    small = [v for v in segments if v.rows < SMALL * len(v.files)]
    lying = _versions(plan, _files(segments))
    if len(_files(small)) >= MANY and sum(v.rows for v in small) <= KEPT:
        # Their order is of no use, and keeping it takes two threads as long again.
        con.execute(f"SET preserve_insertion_order = false; CREATE TABLE small AS {_versions(plan, _files(small))}; SET preserve_insertion_order = true")
        large = _files(v for v in segments if v.rows >= SMALL * len(v.files))
        lying = f"FROM small UNION ALL {_versions(plan, large)}" if large else "FROM small"
    con.execute(f"CREATE VIEW version AS {lying}")
    rejected(con, quarantine)


def _versions(plan: Plan, files: Iterable[str]) -> str:
    """A SELECT of the rows of some files, with what is known of their batches."""
    return f"SELECT v.*, batch.* EXCLUDE (batch_id) FROM ({stored(plan, files)}) v JOIN batch ON _batch = batch_id"


def _files(segments: Iterable[Version]) -> list[str]:
    return [f for v in segments for f in v.files]


def batches(con: duckdb.DuckDBPyConnection, plan: Plan, batch_ids: Iterable[str]) -> None:
    """Table `batch`: what a batch's name says, the authority of its source, and whether it is the newest of its stream."""
    rank = {s.source: s.rank for s in plan.dataset.sources}
    con.execute("CREATE TABLE batch(batch_id VARCHAR, source VARCHAR, rank INTEGER, part VARCHAR, batch_date DATE, sequence INTEGER, newest BOOLEAN)")
    ids = [BatchId.parse(b) for b in batch_ids]
    newest = {}
    for b in ids:
        newest[b.stream] = max(newest.get(b.stream, ("", 0)), (b.batch_date, b.sequence))
    rows = [(str(b), b.source, rank.get(b.source, len(rank)), b.part, b.batch_date, b.sequence,
             newest[b.stream] == (b.batch_date, b.sequence)) for b in ids]
    if rows:      # in one statement: executemany takes a millisecond a row
        con.execute("INSERT INTO batch SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5)::DATE, unnest($6), unnest($7)", list(map(list, zip(*rows))))


def stored(plan: Plan, files: Iterable[str], more: str = "") -> str:
    """A SELECT of the columns of base, as the contract has them today, of some of its files.

    Args:
        more: further columns of the reader, such as the position of a row.
    """
    files, given = list(files), names(n for n, _ in plan.physical())
    typed = ", ".join(f"NULL::{t} AS {name(n)}" for n, t in plan.physical())
    # Older files lack columns that the contract gained since: the empty branch brings name and type.
    read = f"SELECT *{more} FROM read_parquet({texts(files)}, union_by_name = true) AS lying UNION ALL BY NAME " if files else ""
    return f"SELECT {given}{', file, pos' if more else ''} FROM ({read}SELECT {typed}{', NULL::UBIGINT AS file, NULL::BIGINT AS pos' if more else ''} WHERE false)"


def rejected(con: duckdb.DuckDBPyConnection, quarantine: dict[str, Path], only: str = "") -> None:
    """Table `rejected`: the keys and identities of rejected rows, with what is known of their batches.

    Args:
        only: a condition on them.
    """
    empty = "SELECT ''::VARCHAR AS batch_id, ''::VARCHAR AS _key, ''::VARCHAR AS _identity WHERE false"
    lying = f"""UNION ALL SELECT list_extract({texts(quarantine)}, one.file_index::BIGINT + 1), _key, _identity
                FROM read_parquet({texts(quarantine.values())}) AS one""" if quarantine else ""
    con.execute(f"CREATE TABLE rejected AS SELECT r.*, source, part, batch_date, sequence, newest FROM ({empty} {lying}) r JOIN batch USING (batch_id){only}")


def candidates(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """`candidate`: the versions that may win, each with `stale_since`.

    A snapshot counts as the whole truth of its stream: only its newest submission's rows stand, and beside them the
    last accepted version of every key that the newest submission carries in a rejected row (matched by key, or, where
    the rejected row's key itself is unreadable, by its identity columns).
    """
    keep = plan.dataset.on_reject == "keep"
    if plan.dataset.load != "snapshot":
        con.execute("CREATE VIEW candidate AS SELECT *, NULL::DATE AS stale_since FROM version")
        return
    identity = digest(f"identity:{plan.dataset.id}", [name(i) for i in plan.dataset.identity]) if plan.dataset.identity else "NULL::VARCHAR"
    con.execute("CREATE VIEW newest AS SELECT *, NULL::DATE AS stale_since FROM version WHERE newest")
    if not keep or not con.execute("SELECT count(*) FROM rejected WHERE newest").fetchone()[0]:
        con.execute("CREATE VIEW candidate AS FROM newest")
        return
    con.execute(f"""
        CREATE TABLE kept AS
        WITH earlier AS (SELECT *, {identity} AS _identity FROM version WHERE NOT newest)
        SELECT e.* EXCLUDE (_identity), r.batch_date AS stale_since FROM earlier e
        JOIN (SELECT DISTINCT source, part, batch_date, sequence, _key FROM rejected WHERE newest AND _key IS NOT NULL) r
          ON e.source = r.source AND e.part = r.part AND e._key = r._key
        UNION ALL
        SELECT e.* EXCLUDE (_identity), r.batch_date FROM earlier e
        JOIN (SELECT DISTINCT source, part, batch_date, sequence, _identity FROM rejected WHERE newest AND _key IS NULL AND _identity IS NOT NULL) r
          ON e.source = r.source AND e.part = r.part AND e._identity = r._identity""")
    if not con.execute("SELECT count(*) FROM kept").fetchone()[0]:      # or every use of the view would hash all rows for nothing
        con.execute("CREATE VIEW candidate AS FROM newest")
        return
    con.execute("CREATE VIEW candidate AS FROM newest UNION ALL BY NAME "
                "FROM kept WHERE (source, part, _key) NOT IN (SELECT (source, part, _key) FROM newest)")


def winners(con: duckdb.DuckDBPyConnection, keep: bool) -> None:
    """`of_source`: the newest version per (source, key) and since when newer rows of it are rejected; `winner`: of the
    highest authority per key.

    Keys with a single version, nearly all of them, never enter a window.

    Args:
        keep: a version with newer rejected rows stays, flagged; otherwise it is dropped (`on_reject`).
    """
    con.execute("CREATE TABLE repeated AS SELECT _key FROM candidate GROUP BY _key HAVING count(*) > 1")
    alone = not con.execute("SELECT count(*) FROM repeated").fetchone()[0]      # every key: or each view would look for every key in an empty table
    contested = "" if alone else "AND _key NOT IN (SELECT _key FROM repeated) UNION ALL SELECT * FROM contest WHERE _op <> 'D'"
    con.execute(f"""
        CREATE TABLE contest AS
            SELECT * FROM candidate WHERE {'false' if alone else '_key IN (SELECT _key FROM repeated)'}
            QUALIFY row_number() OVER (PARTITION BY source, _key
                ORDER BY batch_date DESC, sequence DESC, _file DESC, _ordinal DESC, part DESC) = 1;
        CREATE VIEW live AS
            SELECT * FROM candidate WHERE _op <> 'D' {contested};
        CREATE TABLE late AS
            SELECT l.source, l._key, min(r.batch_date) AS since FROM live l JOIN rejected r ON r.source = l.source AND r._key = l._key
            WHERE (r.batch_date, r.sequence) > (l.batch_date, l.sequence) GROUP BY ALL""")
    late = con.execute("SELECT count(*) FROM late").fetchone()[0]
    stands = """SELECT * FROM live WHERE (source, _key) NOT IN (SELECT (source, _key) FROM late)
                UNION ALL
                SELECT l.* REPLACE (coalesce(l.stale_since, late.since) AS stale_since) FROM live l JOIN late USING (source, _key)""" if late else "SELECT * FROM live"
    best = "" if alone else """
            WHERE _key NOT IN (SELECT _key FROM repeated)
            UNION ALL
            SELECT * FROM of_source WHERE _key IN (SELECT _key FROM repeated)
            QUALIFY row_number() OVER (PARTITION BY _key ORDER BY rank) = 1"""
    con.execute(f"""
        CREATE VIEW of_source AS SELECT * FROM ({stands}) WHERE {'true' if keep else 'stale_since IS NULL'};
        CREATE VIEW winner AS SELECT * FROM of_source {best}""")


def disagreements(con: duckdb.DuckDBPyConnection, plan: Plan) -> dict[str, int]:
    """Column → keys whose sources give different values (indicator 0401); empty with a single source."""
    columns = [c.name for c in plan.dataset.columns if not c.primary_key]
    if len(plan.dataset.sources) < 2 or not columns:
        return {}
    differ = ", ".join(f"count(DISTINCT {name(c)}) > 1 AS {name(c)}" for c in columns)
    sums = ", ".join(f"count(*) FILTER ({name(c)})" for c in columns)
    found = con.execute(f"SELECT {sums} FROM (SELECT {differ} FROM of_source "
                        "WHERE _key IN (SELECT _key FROM repeated) GROUP BY _key HAVING count(*) > 1)").fetchone()
    return {c: n for c, n in zip(columns, found) if n}


def overlaps(plan: Plan) -> str:
    """Where one key is reported more than once, as (rule, column, source, other, region, applicable, failed).

    agrees: per column and pair of sources the keys that both fill in, and those that differ; `source` has the lower authority.
    one_part: rows of a snapshot, and those whose key stands in several parts. one_identity: the latter, and those whose
    identity columns differ (two persons with one number).
    """
    d = plan.dataset
    columns = [c.name for c in d.columns if not c.primary_key]
    region = f"coalesce({{}}.{name(d.region)}, '')" if d.region else "''"
    found = ["SELECT NULL::VARCHAR AS rule, NULL::VARCHAR AS \"column\", NULL::VARCHAR AS source, NULL::VARCHAR AS other, NULL::VARCHAR AS region, "
             "NULL::BIGINT AS applicable, NULL::BIGINT AS failed WHERE false"]
    if len(d.sources) > 1 and columns:
        each = ", ".join(f"{{c: {text(c)}, a: count(*) FILTER (a.{name(c)} IS NOT NULL AND b.{name(c)} IS NOT NULL), "
                         f"f: count(*) FILTER (a.{name(c)} <> b.{name(c)})}}" for c in columns)
        found.append(f"""
            SELECT 'agrees', u.c, source, other, region, u.a, u.f FROM (
                SELECT b.source AS source, a.source AS other, {region.format('b')} AS region, unnest([{each}]) AS u
                FROM of_source a JOIN of_source b ON a._key = b._key AND a.rank < b.rank WHERE a._key IN (SELECT _key FROM repeated) GROUP BY ALL)
            WHERE u.a > 0""")
    if d.load == "snapshot":
        identity = f"hash({names(d.identity)})" if d.identity else "0"
        found.append(f"""
            SELECT u.r, NULL, source, NULL, region, sum(u.a)::BIGINT, sum(u.f)::BIGINT FROM (
                SELECT source, {region.format('c')} AS region, unnest([
                    {{r: 'one_part', a: count(*), f: count(*) FILTER (parts > 1)}},
                    {{r: 'one_identity', a: count(*) FILTER (parts > 1), f: count(*) FILTER (parts > 1 AND kinds > 1)}}]) AS u
                FROM (SELECT *, 1 AS parts, 1 AS kinds FROM candidate WHERE _op <> 'D' AND _key NOT IN (SELECT _key FROM repeated)
                      UNION ALL BY NAME
                      SELECT *, count(DISTINCT part) OVER w AS parts, count(DISTINCT {identity}) OVER w AS kinds
                      FROM candidate WHERE _op <> 'D' AND _key IN (SELECT _key FROM repeated) WINDOW w AS (PARTITION BY source, _key)) c
                GROUP BY ALL)
            WHERE u.a > 0 GROUP BY ALL""")
    return f"SELECT * FROM ({' UNION ALL '.join(found)}) ORDER BY ALL"
