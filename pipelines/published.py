"""What a release shows, as files: masked rows of each dataset, code lists, and the unmasked views of the pipeline's account.

releases/data/<dataset>/<version>-<masks>/rows.parquet (rows-001.parquet … of large ones) + facts.json: `version` is that of `current`, `masks`
a digest of the SELECT that made the files, so a file never changes and is written once for all the releases that list it.
Written beside, then renamed; analysts may read them, so nothing that a mask hides is ever in them.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipelines import database, deltas, durable, history, keys, layout, masks, published_deltas
from pipelines.compiler import Plan
from pipelines.copying import digest
from pipelines.current import Current
from pipelines.ledger import Ledger
from pipelines.parts import SUPERSEDED
from pipelines.published_deltas import Published
from pipelines.rules import declared_hash
from pipelines.semantics import reference
from pipelines.settings import Lake, Project, WrongUse
from pipelines.sql import PARQUET, connect, name, text, texts
from pipelines.version import code_version

FORMAT = 5
_RANGE = "_range"
_OWN_WORDS = {"_key": "主键摘要 — Digest of the key", "_file": "文件序号 — Number of the file in the batch",
              "_ordinal": "记录序号 — Ordinal of the record in its file"} | {n: f"{zh} — {en}" for n, _, zh, en in masks.LINEAGE}


def fingerprint(value: Any) -> str:
    """SHA-256 over the canonical JSON of `value`."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sha256(file: Path) -> str | None:
    """SHA-256 of a file's bytes, None when there is no such file."""
    return digest(file)[0] if file.exists() else None


class Engine:
    """A DuckDB connection with lists, macros and keys, made when the first file has to be written (1.3 s of CPU).

    It reads and writes nothing outside the lake: contracts supply SQL.
    """

    def __init__(self, lake: Lake, project: Project, withdrawn: dict[str, list[str]] | None = None):
        self.lake, self.project, self.withdrawn, self.written = lake, project, withdrawn or {}, []
        self.waiting: dict[Path, tuple[Path, dict[str, Any]]] | None = None      # inside `together`: place → what was written for it, and its facts
        self.added = Ledger(lake).added_codes()

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        lake, scratch = self.lake, self.lake.staging / ".release"
        scratch.mkdir(exist_ok=True)
        con = connect(temp=scratch)
        reference.ready(con, self.project, lake.staging, self.added)
        keys.install(con, keys.pseudonym_key(lake))
        allowed = (lake.base, lake.current, lake.quarantine, lake.releases, scratch)
        con.execute(f"SET allowed_directories = {texts(allowed)}; SET enable_external_access = false")
        return con

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is brought to the disk and put in its places at the end, all of it at once: one after the other, the disk is waited for longer than for the rows."""
        self.waiting = waiting = {}
        try:
            yield
        finally:
            self.waiting = None
        durable.replace_all((work, final) for final, (work, _) in waiting.items())

    def close(self) -> None:
        """Close the connection if one was made, and remove what it or a killed one spilled."""
        if "con" in self.__dict__:
            self.con.close()
        shutil.rmtree(self.lake.staging / ".release", ignore_errors=True)


def dataset(engine: Engine, plan: Plan, state: Current | None) -> dict[str, Any]:
    """The manifest's entry of one dataset, its masked file written if it is new.

    Raises:
        WrongUse: the file holds other columns than the masks allow.
    """
    d, columns = plan.dataset, masks.published(plan)
    found, version = _lying(engine, plan, columns, state)
    shown, (files, superseded) = found.columns, found.listed(engine.lake.releases)
    exposed = masks.exposed(plan, {n for n, _ in shown})
    if exposed or [n for n, _ in shown] != [c.name for c in columns]:
        raise WrongUse(f"{d.id}: the published file holds other columns than its masks allow: {', '.join(exposed) or 'order differs'}.")
    facts = state.facts if state else {"rows": 0, "stale_rows": 0, "disagreements": {}, "as_of": None}
    rows, as_of = published_deltas.rows(engine.lake.releases, files, superseded), facts["as_of"] or "尚无数据 no data yet"
    return {"kind": "dataset", "version": version, "rows": rows, "withheld_rows": facts["rows"] - rows, "stale_rows": facts["stale_rows"],
            "disagreements": sum(facts["disagreements"].values()), "as_of": facts["as_of"], "snapshot": state.snapshot if state else None, "record_key": masks.record_key(plan), "contract_version": d.version,
            "contract_hash": declared_hash(d, engine.project), "files": files, **({"superseded": superseded} if superseded else {}), "comment": f"{d.name}（{d.table_zh}） — {d.grain}\n{d.purpose}\n数据截至 as of: {as_of}",
            "columns": [(c.name, c.type, c.comment) for c in columns]}


def versions(engine: Engine, plan: Plan, state: Current | None) -> dict[str, Any]:
    """The manifest's entry of a dataset's masked row versions: one file per segment of base, written once for all the releases that list it.

    Raises:
        WrongUse: a file holds other columns than the masks allow.
    """
    d, declared, files = plan.dataset, history.columns(plan), []
    held, macro = dict(state.quarantine) if state else {}, (engine.project.macros / "redact.sql").read_text("utf-8")
    for files_, batches in [(v.files, v.batches) for v in state.segments] if state and state.segments else [((), ())]:
        select = history.select(plan, files_, [(b, str(held[b])) for b, _ in batches if b in held], engine.withdrawn.get(d.id, []))
        made_by = fingerprint([FORMAT, select.replace(str(engine.lake.home), ""), keys.key_id(engine.lake), macro])
        written, shown = _one_part(engine, f"{d.id}_versions/{made_by[:24]}", Rows((select,)))
        if [tuple(c) for c in shown] != [(n, kind) for n, kind, _ in declared]:
            raise WrongUse(f"{d.id}: the file of versions holds other columns than its masks allow.")
        files += written
    return {"kind": "versions", "rows": sum(f["rows"] for f in files), "record_key": masks.record_key(plan), "files": files, "columns": declared,
            "comment": f"{d.name}的各版本（脱敏） — Every accepted version of {d.id}, masked; {d.table}_history 由此而来 is made of it"}


@dataclass(frozen=True)
class Rows:
    """How the files of one relation are made: one SELECT each; or, where the order of the source tells nothing, all `split` into ranges first.

    Args:
        rows: about how many in each file, by which its options are chosen.
        split: a SELECT of all rows with the column `_range`; `selects` read `{range}` in place of the rows of one.

    Both read `{current}` in place of the current rows in the order of their key.
    """

    selects: tuple[str, ...]
    rows: int = 0
    split: str | None = None


@dataclass(frozen=True)
class Masked:
    """The masked rows of a dataset: how all of them are made, and how those of a delta are.

    Args:
        delta: a SELECT that reads `{rows}`; `order` is how they lie.
        digest: of what makes them, but not of the rows.
    """

    whole: Rows
    delta: str
    order: str
    digest: str


def _lying(engine: Engine, plan: Plan, columns: tuple[masks.PublishedColumn, ...], state: Current | None) -> tuple[Published, str]:
    """The files of a dataset's rows, written as far as they are new, and the version, which does not tell whether they are one part or several."""
    made, rows = _masked(engine, plan, columns, state), state.facts["rows"] if state else 0
    version = _version(state, made)
    home = engine.lake.releases / "data" / plan.dataset.id
    there = published_deltas.known(home, version)
    if there:
        return there, version
    facts, found = {"current": state.facts["version"] if state else None, "masks": made.digest}, published_deltas.earlier(home, state, made.digest)
    if found:
        before, place = found
        version_folder, facts = f"{version}+{len(before.folders)}", facts | {"before": before.folders[-1][0].name, "first": len(before.files)}
        return _materialise(engine, f"{plan.dataset.id}/{version_folder}",
                            lambda work: published_deltas.write(engine.con, made.delta, made.order, masks.record_key(plan), state, before, place, work), facts), version
    return _materialise(engine, f"{plan.dataset.id}/{version}", lambda work: _whole(engine, plan, state, made.whole, rows >= layout.LARGE, work), facts | {"first": 0}), version


def fold(engine: Engine, plan: Plan, state: Current) -> None:
    """Write the published files of a state as one part, for the next release to show; nothing to do for small datasets."""
    if state.facts["rows"] < layout.LARGE:
        return
    made = _masked(engine, plan, masks.published(plan), state)
    _materialise(engine, f"{plan.dataset.id}/{_version(state, made)}", lambda work: _whole(engine, plan, state, made.whole, True, work),
                 {"current": state.facts["version"], "masks": made.digest, "first": 0})


def _version(state: Current | None, made: Masked) -> str:
    """The version of published rows: of the state, and of what makes them; whether they are one part or several is not told."""
    current = state.facts["version"] if state else "empty"
    return f"{current}-{fingerprint([made.digest, repr(made.whole), layout.options(made.whole.rows)])[:12]}"


def _whole(engine: Engine, plan: Plan, state: Current | None, made: Rows, large: bool, work: Path) -> list[Path]:
    files = _write(engine, _with(made, _in_one(engine, plan, state)) if state else made, work)
    return [*files, published_deltas.nothing_superseded(engine.con, work)] if large else files


def _masked(engine: Engine, plan: Plan, columns: tuple[masks.PublishedColumn, ...], state: Current | None) -> Masked:
    """The masked rows, file by file, in the order in which they are to lie."""
    d, given, rows = plan.dataset, {c.source_column: c.name for c in columns}, state.facts["rows"] if state else 0
    physical = [(n, t) for n, t in plan.physical() if n != "_op"] + [("_source", "VARCHAR"), ("_stale_since", "DATE")]
    source = ("read_parquet({current}, file_row_number = true)" if state
              else f"(SELECT {', '.join(f'NULL::{t} AS {name(n)}' for n, t in physical)} WHERE false)")
    listed, withdrawn = ", ".join(f"({c.sql})::{c.type} AS {name(c.name)}" for c in columns), engine.withdrawn.get(d.id, [])
    conditions = [f"coalesce(({d.publish_when}), false)"] if d.publish_when else []
    conditions += [f"_key NOT IN (SELECT unnest({texts(withdrawn)}))"] if withdrawn else []
    key = [given[k] for k in d.key if k in given]
    made_here = {c.source_column: c.name for c in columns if c.mask == "pseudonym" and "keyed_digest" in c.sql}
    pseudonym = next((made_here[k] for k in d.key if k in made_here), None)
    delta = f"SELECT {listed} FROM {{rows}}{_where(conditions)}"
    digest_ = fingerprint([FORMAT, delta, keys.key_id(engine.lake), (engine.project.macros / "redact.sql").read_text("utf-8")])
    return Masked(_ranges(f"SELECT {listed} FROM {source}", conditions, rows, given.get(d.region), key, pseudonym), delta,
                  layout.order(layout.LARGE, given.get(d.region), key, pseudonym) or f" ORDER BY {deltas.order(plan)}", digest_)


def _ranges(select: str, conditions: list[str], rows: int, region: str | None, key: list[str], pseudonym: str | None) -> Rows:
    order, count = layout.order(rows, region, key, pseudonym), layout.ranges(rows, region)
    each = -(-rows // count)
    if count == 1:
        return Rows((f"{select}{_where(conditions)}{order}",), rows)
    if pseudonym:
        return Rows((f"FROM {{range}}{order}",) * count, each, f"SELECT *, coalesce({layout.range_of(pseudonym, count)}, 0) AS {_RANGE} FROM ({select}{_where(conditions)})")
    parts = [f"file_row_number BETWEEN {i * each} AND {(i + 1) * each - 1}" for i in range(count)]
    return Rows(tuple(f"{select}{_where([*conditions, part])}{order}" for part in parts), each)


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _one_part(engine: Engine, place: str, made: Rows) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Write the files of releases/data/<place>/ unless they are there; returns their manifest entries and their (column, type)s."""
    found = _materialise(engine, place, lambda work: _write(engine, made, work), {})
    return found.listed(engine.lake.releases)[0], found.columns


def _materialise(engine: Engine, place: str, write: Callable[[Path], Iterable[Path]], facts: dict[str, Any]) -> Published:
    """Fill releases/data/<place>/ unless that was done; returns what is published there.

    Args:
        write: writes files of rows, and of positions, into a folder and returns them.
        facts: what facts.json says beside the entries and columns of the files.
    """
    final = engine.lake.releases / "data" / place
    if (final / "facts.json").exists():
        return published_deltas.read(final)
    if final in (engine.waiting or ()):
        return Published(((final, engine.waiting[final][1]),))
    work = final.with_name(f"{final.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)
    _folders(work, engine.lake.releases)
    entries = {f.name: entry(f) for f in write(work)}
    positions = {"superseded": entries.pop(SUPERSEDED)} if SUPERSEDED in entries else {}
    columns = [c[:2] for c in engine.con.execute(f"DESCRIBE FROM read_parquet({text(work / next(iter(entries)))})").fetchall()]
    said = json.dumps({"entries": entries, "columns": columns} | positions | facts)
    (work / "facts.json").write_text(said)
    for file in work.iterdir():
        file.chmod(0o644)
    engine.written.append(place.partition("/")[0])
    if engine.waiting is not None and not positions:      # positions are read at once
        engine.waiting[final] = work, json.loads(said)
        return Published(((final, engine.waiting[final][1]),))
    durable.replace(work, final)
    return published_deltas.read(final)


def _in_one(engine: Engine, plan: Plan, state: Current) -> Path:
    """The current rows as one file in the order of their key: the one there is, or for a while in the engine's scratch folder."""
    if len(state.chain) == 1:
        return state.rows
    file = engine.lake.staging / ".release" / "current.parquet"
    engine.con.execute(f"COPY (SELECT * FROM {state.relation} ORDER BY {deltas.order(plan)}) TO {text(file)} ({PARQUET})")
    return file


def _with(made: Rows, current: Path) -> Rows:
    """`made` with a file in place of `{current}`."""
    return Rows(tuple(s.replace("{current}", text(current)) for s in made.selects), made.rows, made.split and made.split.replace("{current}", text(current)))


def _write(engine: Engine, made: Rows, work: Path) -> list[Path]:
    """The files of one relation, in `work`; what was split on the way lies in the engine's scratch folder, which only this account reads."""
    scratch = engine.lake.staging / ".release" / "split"
    if made.split:
        shutil.rmtree(scratch, ignore_errors=True)
        engine.con.execute(f"COPY ({made.split}) TO {text(scratch)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARTITION_BY ({_RANGE}))")
    files = []
    for i, select in enumerate(made.selects):
        part = scratch / f"{_RANGE}={i}"
        if made.split and not part.exists():      # nobody's pseudonym begins so
            continue
        files.append(work / ("rows.parquet" if len(made.selects) == 1 else f"rows-{i + 1:03}.parquet"))
        rows = f"read_parquet({text(part / '*.parquet')}, hive_partitioning = false)"
        engine.con.execute(f"COPY ({select.replace('{range}', rows)}) TO {text(files[-1])} ({layout.options(made.rows)})")
    shutil.rmtree(scratch, ignore_errors=True)
    return files


def entry(file: Path) -> dict[str, Any]:
    """A manifest's entry of a Parquet file."""
    return {"sha256": sha256(file), "bytes": file.stat().st_size, "rows": pq.read_metadata(file).num_rows}


def _folders(path: Path, root: Path) -> None:
    """Make `path` under `root`, every level readable by analysts whatever the umask."""
    path.mkdir(parents=True)
    for level in [path, *path.parents]:
        if level == root:
            break
        level.chmod(0o755)


def lists(engine: Engine) -> dict[str, Any]:
    """The manifest's entries of the code lists (schema `reference`); one is written again only when its version changes."""
    versions, derived = reference.versions(engine.project, engine.added), [reference.versions_hash(engine.project, engine.added), code_version()]
    relations = {}
    for one in reference.lists(engine.project):
        version = fingerprint([FORMAT, versions.get(one.list, derived)])[:16]
        [file], columns = _one_part(engine, f"reference.{one.list}/{version}", Rows((f"FROM reference.{name(one.list)}",)))
        words = {c: f"{zh} — {en}" for c, (zh, en) in one.columns}
        relations[f"reference.{one.list}"] = {
            "kind": "reference", "version": version, "rows": file["rows"], "files": [file],
            "comment": f"{one.name} — {one.name_en} ({one.standard})", "columns": [(n, t, words[n]) for n, t in columns]}
    return relations


def restricted(lake: Lake, plans: dict[str, Plan], states: dict[str, Current], content: dict[str, Any]) -> Callable[[], None]:
    """Make the pipeline account's database beside its place: unmasked views over `current/`, same schemas; returns what puts it there.

    Args:
        content: relations and macros of the release, of which code lists and macros are taken.
    """
    relations = {v: r for v, r in content["relations"].items() if r["kind"] == "reference"}
    for dataset_id, state in states.items():
        plan = plans[dataset_id]
        words = {c.name: f"{c.zh} — {c.en}" for c in plan.dataset.columns} | _OWN_WORDS
        words |= {p: f"{plan.dataset.column(c).zh}（假名） — {plan.dataset.column(c).en} (pseudonym)" for c, p, _ in plan.pseudonyms}
        columns = [(n, t) for n, t in plan.physical() if n not in ("_op", "_batch")] + [(n, t) for n, t, _, _ in masks.LINEAGE]
        relations[dataset_id] = {"rows": state.facts["rows"], "files": [{"path": str(f)} for f in state.files], "superseded": [{"path": str(f)} for f in state.superseded],
                                 "comment": f"{plan.dataset.name}（未脱敏，仅限流水线账户）— unmasked, for the pipeline's account only",
                                 "columns": [(n, t, words[n]) for n, t in columns]}
    return database.made({"relations": relations, "macros": content["macros"], "views": []}, lake, lake.restricted, mode=0o600, kept="restricted")


def restrict(made: Future[Callable[[], None]]) -> None:
    """Put the pipeline account's database in its place, once `restricted` has made it."""
    made.result()()
