"""撤回: a record disappears from everything analysts can open, the kept releases included (PIPL art. 47, credit repair).

A withdrawal is one ledger row of (dataset, record key). From then on no release shows the record; the files that kept
releases share are cut and renamed over in place, so open sessions go on, and their manifests are brought in step.
Landing, base and current keep the row for the pipeline alone. A withdrawal that died is finished by the next
withdrawal, release or rollback; until then `verify` says so.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import base, changes, durable, grants, layout, ledger_tables as tables, objects, parts, published_deltas, release as publication
from pipelines.contract import dataset as read_dataset
from pipelines.copying import digest
from pipelines.desk import Desk
from pipelines.ledger import Ledger, now
from pipelines.locks import confirm, writer
from pipelines.parts import SUPERSEDED
from pipelines.settings import Lake, WrongUse
from pipelines.sql import PARQUET, connect, name, text, texts

ENTERED, DONE, LIFTED = "entered", "done", "lifted"


def withdraw(dataset_id: str, records: Iterable[str], basis: str, document: str, desk: Desk | None = None) -> dict[str, Any]:
    """Withdraw records from every kept release and all later ones.

    Args:
        records: keys of the records (`_key` or the person's pseudonym, as views show them), or their addresses
            (`batch~rN#file:record`, as reports show them).
        basis: the legal basis, such as 个人信息保护法第四十七条; analysts can read it.
        document: number of the decision.

    Returns:
        {"dataset", "withdrawn": [ids], "already": [keys withdrawn before], "rows" (removed from files), "releases" (touched)}.

    Raises:
        WrongUse: no such record, no basis or document, or a kept release is damaged; then nothing is entered.
    """
    desk, wanted = desk or Desk.open(), list(dict.fromkeys(records))
    if not basis.strip() or not document.strip():
        raise WrongUse("Give the legal basis and the number of the decision: --basis TEXT --document TEXT. Analysts can read both, so they name no person.")
    if not wanted:
        raise WrongUse("Name at least one record: its key as views show it, or its address (batch~r1#file:record).")
    found, t = read_dataset(dataset_id, desk.project), tables.withdrawals
    with writer(desk.lake, "release"):
        keys = _keys(desk, found.id, wanted)
        in_force = (t.c.dataset == found.id) & t.c.key.in_(keys) & (t.c.state != LIFTED)
        active = {r["key"] for r in desk.ledger.rows(sa.select(t.c.key).where(in_force))}
        fresh = [k for k in keys if k not in active]
        with desk.ledger.step(found.id, "withdraw") as detail:
            shown = _shown(desk.lake, found.id, fresh)
            with desk.ledger.transaction() as con:
                con.execute(t.update().where(in_force).values(state=ENTERED))      # what is withdrawn already is looked for again
                for key in fresh:
                    rows, releases = shown.get(key, (0, 0))
                    con.execute(t.insert().values(dataset=found.id, key=key, basis=basis, document=document, withdrawn_at=now(), state=ENTERED,
                                                  rows=rows, releases=releases))
            done = finish(desk.lake, desk.ledger)
            grants.renew(desk)
            detail |= {"records": len(fresh), **done}
        ids = [r["id"] for r in desk.ledger.rows(sa.select(t.c.id).where(in_force, t.c.key.in_(fresh)))]
    return {"dataset": found.id, "withdrawn": ids, "already": [k for k in keys if k in active], **done}


def lift(number: int, reason: str, desk: Desk | None = None) -> dict[str, Any]:
    """Take a withdrawal back: releases from now on show the record again, earlier ones stay without it.

    Raises:
        WrongUse: no reason, or no such withdrawal in force.
    """
    desk, t = desk or Desk.open(), tables.withdrawals
    if not reason.strip():
        raise WrongUse("Give a reason: --reason TEXT. It stands in the ledger.")
    with writer(desk.lake, "release"), desk.ledger.transaction() as con:
        row = con.execute(sa.select(t).where(t.c.id == number, t.c.state != LIFTED)).mappings().first()
        if row is None:
            raise WrongUse(f"There is no withdrawal {number} in force.")
        con.execute(t.update().where(t.c.id == number).values(state=LIFTED, lifted_at=now(), lifted_reason=reason))
    return {"dataset": row["dataset"], "lifted": number}


def withdrawn(ledger: Ledger) -> dict[str, list[str]]:
    """Dataset → the keys that no release may show."""
    t, found = tables.withdrawals, {}
    for row in ledger.rows(sa.select(t.c.dataset, t.c.key).where(t.c.state != LIFTED).distinct().order_by(t.c.dataset, t.c.key)):
        found.setdefault(row["dataset"], []).append(row["key"])
    return found


def unfinished(ledger: Ledger) -> list[dict[str, Any]]:
    """Withdrawals that died on the way."""
    return ledger.rows(sa.select(tables.withdrawals).where(tables.withdrawals.c.state == ENTERED))


def finish(lake: Lake, ledger: Ledger) -> dict[str, int]:
    """Cut what is withdrawn out of the files of every kept release. The caller holds the lock `release`.

    Returns:
        {"rows": removed from files, "releases": whose manifests changed}.

    Raises:
        WrongUse: a file is not what its manifest says; it must be restored first.
    """
    waiting = unfinished(ledger)
    if not waiting:
        return {"rows": 0, "releases": 0}
    confirm(lake)
    manifests, removed, entries = publication.kept(lake), 0, {}
    with connect(temp=lake.staging) as con:
        for dataset_id in sorted({r["dataset"] for r in waiting}):
            keys = sorted({r["key"] for r in waiting if r["dataset"] == dataset_id})
            for manifest in manifests:
                addresses = manifest["relations"].get("governance.quarantine", {}).get("files", ())
                for file, column, also in (*((f, c, "true") for f, c in changes.of_records(manifest, dataset_id)),
                                           *((f, "person_id", f"dataset = {text(dataset_id)}") for f in addresses)):
                    if (dataset_id, file["path"]) not in entries:
                        entries[dataset_id, file["path"]], gone, positions = _cut(con, lake, ledger, file, column, keys, also)
                        entries |= {(dataset_id, path): entry for path, entry in positions.items()}
                        removed += gone
    changed = _restate(lake, ledger, manifests, {path: entry for (_, path), entry in entries.items()})
    t = tables.withdrawals
    with ledger.transaction() as con:
        con.execute(t.update().where(t.c.id.in_([r["id"] for r in waiting])).values(state=DONE))
    return {"rows": removed, "releases": changed}


def _shown(lake: Lake, dataset_id: str, keys: list[str]) -> dict[str, tuple[int, int]]:
    """Key → (rows in the files of kept releases, releases that show it)."""
    listed: dict[tuple[str, str], None] = {}      # (file, column that tells a record)
    shows: dict[tuple[str, str], int] = {}        # (SELECT of the rows shown, that column) → releases that show them
    for relation in (m["relations"][dataset_id] for m in publication.kept(lake) if dataset_id in m["relations"]):
        files, superseded = ([lake.releases / f["path"] for f in relation.get(which, ())] for which in ("files", "superseded"))
        listed |= {(parts.relation([file], []), relation["record_key"]): None for file in files}
        place = (parts.relation(files, superseded), relation["record_key"])
        shows[place] = shows.get(place, 0) + 1
    found: dict[str, tuple[int, int]] = {}
    with connect() as con:
        for (rows, column), (in_files, releases) in ([(place, (1, 0)) for place in listed] + [(place, (0, n)) for place, n in shows.items()]):
            for key, count in con.execute(f"SELECT {name(column)}, count(*) FROM {rows} WHERE {name(column)} IN "
                                          f"(SELECT unnest({texts(keys)}::VARCHAR[])) GROUP BY ALL").fetchall():
                found[key] = (found.get(key, (0, 0))[0] + in_files * count, found.get(key, (0, 0))[1] + releases)
    return found


def _keys(desk: Desk, dataset_id: str, records: list[str]) -> list[str]:
    """The keys of records that base holds."""
    files = [f for v in base.state(desk.lake, desk.plan(dataset_id)).segments.values() for f in v.files]
    addresses = [r for r in records if "#" in r]
    with connect() as con:
        con.execute(f"CREATE VIEW held AS SELECT _key, _batch || '#' || _file || ':' || _ordinal AS address FROM read_parquet({texts(files)})"
                    if files else "CREATE VIEW held AS SELECT NULL::VARCHAR AS _key, NULL::VARCHAR AS address")
        # An address names the revision; base holds one revision of a batch at a time.
        plain = {a: "#".join((a.partition("#")[0].rpartition("~r")[0], a.partition("#")[2])) for a in addresses}
        by_address = dict(con.execute("SELECT address, _key FROM held WHERE address IN (SELECT unnest($1::VARCHAR[]))", [list(plain.values())]).fetchall())
        given = [r for r in records if r not in plain]
        known = {k for k, in con.execute("SELECT DISTINCT _key FROM held WHERE _key IN (SELECT unnest($1::VARCHAR[]))", [given]).fetchall()}
    missing = sum(plain[a] not in by_address for a in addresses) + sum(k not in known for k in given)
    if missing:
        raise WrongUse(f"{dataset_id}: {missing} of {len(records)} records are not in base. Give keys as the column _key (or the person's pseudonym) of the "
                       "view shows them, or addresses of accepted records (batch~r1#file:record).")
    return list(dict.fromkeys([by_address[plain[a]] for a in addresses] + given))


def _cut(con: duckdb.DuckDBPyConnection, lake: Lake, ledger: Ledger, file: dict[str, Any], column: str, keys: list[str],
         also: str) -> tuple[dict[str, Any], int, dict[str, dict[str, Any]]]:
    """Remove rows from one shared file in place; returns its new manifest entry, how many rows went, and the entries of files of positions that changed.

    A note beside the file says what it becomes before it does, so that after a kill a cut file is told from a damaged one. Where positions of rows are
    told elsewhere, rows keep their places: they are entered as superseded first, then emptied, so that nobody sees an empty row.
    """
    path = lake.releases / file["path"]
    is_cut, said = _said(path, file)
    gone, positions = f"{name(column)} IN (SELECT unnest({texts(keys)})) AND {also}", path.with_name(SUPERSEDED)
    count = con.execute(f"SELECT count(*) FROM read_parquet({text(path)}) WHERE {gone}").fetchone()[0]
    hidden = _hide(con, lake, ledger, path, positions, gone, count) if positions.exists() else {}
    if not count:
        return said if is_cut else {k: file[k] for k in ("sha256", "bytes", "rows")}, 0, hidden
    columns = [c for c, *_ in con.execute(f"DESCRIBE FROM read_parquet({text(path)})").fetchall()]
    emptied = ", ".join(f"CASE WHEN ({gone}) IS TRUE THEN NULL ELSE {name(c)} END AS {name(c)}" for c in columns)
    left = f"SELECT {emptied} FROM read_parquet({text(path)})" if positions.exists() else f"SELECT * FROM read_parquet({text(path)}) WHERE ({gone}) IS NOT TRUE"
    rows = said["rows"] - (0 if positions.exists() else count)
    options = layout.options(max(said["rows"], layout.LARGE) if positions.exists() else said["rows"])
    return _exchange(con, lake, ledger, path, f"COPY ({left}) TO {{}} ({options})", rows), count, hidden


def _said(path: Path, file: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Whether a file was cut by a withdrawal that died then, and what is said of it as it is.

    Raises:
        WrongUse: it is not what is said of it.
    """
    note = _note(path)
    noted = json.loads(note.read_text()) if note.exists() else None
    sha, _ = digest(path) if path.exists() else (None, 0)
    if sha is None or sha not in (file["sha256"], noted and noted["sha256"]):
        raise WrongUse(f"{path.parent.name}/{path.name} of a kept release is not what its manifest says; nothing can be withdrawn from it. Run: python -m pipelines verify")
    is_cut = noted is not None and sha == noted["sha256"]
    return is_cut, noted if is_cut else file


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.cut")


def _exchange(con: duckdb.DuckDBPyConnection, lake: Lake, ledger: Ledger, path: Path, copy: str, rows: int) -> dict[str, Any]:
    """Put what `copy` writes (to `{}`) in the place of a file; returns its new entry."""
    beside = path.with_name(f".{path.name}.part")
    con.execute(copy.replace("{}", text(beside)))
    beside.chmod(0o644)
    sha, size = digest(beside)
    entry = {"sha256": sha, "bytes": size, "rows": rows}
    durable.write(_note(path), json.dumps(entry))
    objects.expect(lake, ledger, {path: (sha, size)})
    durable.replace(beside, path)
    return entry


def _hide(con: duckdb.DuckDBPyConnection, lake: Lake, ledger: Ledger, path: Path, positions: Path, gone: str, count: int) -> dict[str, dict[str, Any]]:
    """Enter the rows of a file that go as superseded; returns the entry of the file of positions, if it changes or did before a death."""
    facts = json.loads(path.with_name("facts.json").read_text())
    is_cut, said = _said(positions, facts["superseded"])
    place, number = str(positions.relative_to(lake.releases)), facts["first"] + list(facts["entries"]).index(path.name)
    listed = f"SELECT file, pos FROM read_parquet({text(positions)}) UNION SELECT {number}::UBIGINT, file_row_number FROM read_parquet({text(path)}) WHERE {gone}"
    rows = con.execute(f"SELECT count(*) FROM ({listed})").fetchone()[0] if count else said["rows"]
    if rows == said["rows"]:
        return {place: said} if is_cut else {}
    return {place: _exchange(con, lake, ledger, positions, f"COPY (FROM ({listed}) ORDER BY file, pos) TO {{}} ({PARQUET})", rows)}


def _restate(lake: Lake, ledger: Ledger, manifests: list[dict[str, Any]], entries: dict[str, dict[str, Any]]) -> int:
    """Bring facts, manifests and the ledger in step with the cut files; returns how many releases changed."""
    changed = 0
    for path, entry in entries.items():
        facts = (lake.releases / path).with_name("facts.json")
        if facts.exists():
            said = json.loads(facts.read_text())
            change = {"superseded": entry} if Path(path).name == SUPERSEDED else {"entries": said.get("entries", {}) | {Path(path).name: entry}}
            cut = {"cut": True} if Path(path).name == SUPERSEDED or said.get("cut") else {}
            _put(lake, ledger, facts, json.dumps(said | change | cut))
    for manifest in manifests:
        before = json.dumps(manifest)
        for file in changes.listed(manifest):
            file |= entries.get(file["path"], {})
        for relation in manifest["relations"].values():
            if any(f["path"] in entries for f in (*relation["files"], *relation.get("superseded", ()))):
                rows = published_deltas.rows(lake.releases, relation["files"], relation.get("superseded", ()))
                if "withheld_rows" in relation:
                    relation["withheld_rows"] += relation["rows"] - rows
                relation["rows"] = rows
        if json.dumps(manifest) != before:
            _put(lake, ledger, publication.folder(lake, manifest["release_id"]) / "manifest.json", publication.manifest_text(manifest))
            changed += 1
    for path in entries:
        target = lake.releases / path
        target.with_name(f".{target.name}.cut").unlink(missing_ok=True)
    return changed


def _put(lake: Lake, ledger: Ledger, path: Path, content: str) -> None:
    """Write a file anew. The ledger expects it first: after a death it is written again, and a damaged one is never taken for it."""
    objects.expect(lake, ledger, {path: (hashlib.sha256(content.encode()).hexdigest(), len(content.encode()))})
    durable.write(path, content, 0o644)


def left(lake: Lake, ledger: Ledger, kept: Iterable[dict[str, Any]], damaged: set[str]) -> list[tuple[Path, int]]:
    """Files of kept releases (their manifests) that hold withdrawn records after all, and how many.

    Args:
        damaged: paths under the lake's home that cannot be read.
    """
    found, manifests = {}, list(kept)
    with connect() as con:
        for dataset_id, keys in withdrawn(ledger).items():
            for manifest in manifests:
                for file, column in changes.of_records(manifest, dataset_id):
                    path = lake.releases / file["path"]
                    if path not in found and path.exists() and str(path.relative_to(lake.home)) not in damaged:
                        found[path] = con.execute(f"SELECT count(*) FROM read_parquet({text(path)}) WHERE {name(column)} "
                                                  f"IN (SELECT unnest({texts(keys)}))").fetchone()[0]
    return [(path, rows) for path, rows in found.items() if rows]
