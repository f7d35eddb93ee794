"""现势库: derived from accepted versions, never edited: current/<dataset>/<version>/rows.parquet, overlaps.parquet, current.json.

Per (source, key) the version with the greatest (batch_date, sequence, file, ordinal, part), absent if that is a delete;
per key the row of the source with the highest authority (`winners`). The version name is a digest of what went in, so the
order of arrival leaves no trace and an unchanged dataset is not written again. Written beside, then renamed.

A large dataset that a few batches change is not written again: <version>+<n>/ holds the n-th delta over a first part, rows.parquet and
superseded.parquet, and names the folders before it (`chain`). What it holds together with them is what the whole would hold. Everything reads
`Current.relation`; `fold` makes one part of them.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from pipelines import deltas, durable, keys, parts, winners
from pipelines.batch import BatchId
from pipelines.compiler import Plan, key_column
from pipelines.segments import State, Version
from pipelines.settings import Lake
from pipelines.sql import PARQUET, connect, name, text

FORMAT = 2
LARGE = 983_040     # rows; below it deriving the whole costs about as much as finding what changed
FEW, LITTLE = 8, 0.1     # deltas, and rows in them, that `maintain` leaves as they are


@dataclass(frozen=True)
class Current:
    """One derived state of a dataset: its folder and the content of its current.json."""

    folder: Path
    facts: dict[str, Any]
    snapshot: int | None = None     # of base, from which it was derived
    segments: tuple[Version, ...] = ()      # that it was derived from,
    quarantine: tuple[tuple[str, Path], ...] = ()      # with the rejected addresses of their batches

    @property
    def rows(self) -> Path:
        """The rows that this state added to those before it; all of them where `chain` is empty."""
        return self.folder / "rows.parquet"

    @cached_property
    def chain(self) -> list[Path]:
        """The folders of its parts, the first part first, its own last."""
        return [*(self.folder.parent / one for one in self.facts.get("chain", ())), self.folder]

    @property
    def files(self) -> list[Path]:
        """The files of its rows, in the order that positions count."""
        return [folder / "rows.parquet" for folder in self.chain]

    @property
    def superseded(self) -> list[Path]:
        """The files of positions that are superseded."""
        return [folder / "superseded.parquet" for folder in self.chain[1:]]

    @property
    def relation(self) -> str:
        """Its rows, to stand after FROM."""
        return parts.relation(self.files, self.superseded)

    @property
    def overlaps(self) -> Path:
        """Counts where sources or parts overlap; see `winners.overlaps`."""
        return self.folder / "overlaps.parquet"


def derive(lake: Lake, plan: Plan, state: State, quarantine: dict[str, Path], whole: bool = False) -> Current:
    """Derive the dataset's current state.

    Args:
        plan: the dataset's plan.
        state: what base holds.
        quarantine: batch_id → quarantine file, of every accepted batch that has one.
        whole: as one part, whatever is there.
    """
    rules, version = _rules(plan), _version(plan, state)
    home = lake.current / plan.dataset.id
    final = next((c.folder for c in states(home) if c.facts["version"] == version and not (whole and c.facts.get("chain"))), None)
    if final is None:
        work = home / f"{version}.part"
        shutil.rmtree(work, ignore_errors=True)
        earlier, facts = None if whole else _earlier(home, rules, plan, state, quarantine), None
        if earlier:
            facts = _made(lake, work, lambda con: deltas.write(con, plan, earlier[0], state, quarantine, earlier[1], work))
        if facts is None:
            earlier = None
            facts = _made(lake, work, lambda con: _write(con, plan, state, quarantine, work))
        chain = [folder.name for folder in earlier[0].chain] if earlier else []
        facts |= {"dataset": plan.dataset.id, "version": version, "batches": sorted(state.batches),
                  "as_of": max((BatchId.parse(b).batch_date for b in state.batches), default=None), "chain": chain, "rules": rules,
                  "segments": {s: v.files for s, v in sorted(state.segments.items())},
                  "batches_of": {s: [b for b, _ in v.batches] for s, v in sorted(state.segments.items())},
                  "quarantine": {b: str(file) for b, file in sorted(quarantine.items())}}
        (work / "current.json").write_text(json.dumps(facts, ensure_ascii=False))
        final = home / (f"{version}+{len(chain)}" if chain else version)
        shutil.rmtree(final, ignore_errors=True)
        durable.replace(work, final)
    return Current(final, json.loads((final / "current.json").read_text()), state.snapshot, tuple(v for _, v in sorted(state.segments.items())),
                   tuple(sorted(quarantine.items())))


def states(home: Path) -> Iterator[Current]:
    """The complete derived states in a dataset's folder, those of fewer parts first."""
    found = [Current(file.parent, json.loads(file.read_text())) for file in home.glob("*/current.json") if not file.parent.name.endswith(".part")]
    for one in sorted(found, key=lambda c: (len(c.chain), c.folder.name)):
        if all((folder / "current.json").exists() for folder in one.chain):
            yield one


def heavy(state: Current) -> bool:
    """Does this state have so many deltas, or so much in them, that it should be folded?"""
    each = [json.loads((folder / "current.json").read_text()) for folder in state.chain[1:]]
    return len(each) > FEW or sum(f["file_rows"] + f["superseded"] for f in each) > LITTLE * state.facts["rows"]


def _earlier(home: Path, rules: str, plan: Plan, state: State, quarantine: dict[str, Path]) -> tuple[Current, deltas.Change] | None:
    """The state from which the least has changed, and what has; None where the whole must be derived."""
    found = []
    for one in states(home):
        if one.facts.get("rules") == rules and (change := deltas.change(plan, one, state, quarantine, LARGE)):
            found.append((sum(Path(f).stat().st_size for f in (*change.added, *change.removed)), len(one.chain), one.folder.name, one, change))
    return min(found)[3:] if found else None


def _made(lake: Lake, work: Path, write: Any) -> Any:
    """What `write` makes of a new connection, in an empty folder."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "scratch").mkdir(parents=True)
    con = connect(temp=work / "scratch")
    try:
        keys.install(con, keys.pseudonym_key(lake))
        made = write(con)
    finally:
        con.close()
    shutil.rmtree(work / "scratch")
    return made


def _rules(plan: Plan) -> str:
    """A digest of what decides, beside the files of base, what is current: the load rules and the columns."""
    d = plan.dataset
    return hashlib.sha256(json.dumps([FORMAT, d.load, d.on_reject, d.key, d.identity, [s.source for s in d.sources], plan.physical()]).encode()).hexdigest()[:16]


def _version(plan: Plan, state: State) -> str:
    """A digest of the files that went in (their folders name batch and revision), the load rules and the columns."""
    parts_ = [_rules(plan), sorted(f for v in state.segments.values() for f in v.files)]
    return hashlib.sha256(json.dumps(parts_).encode()).hexdigest()[:16]


def _write(con: duckdb.DuckDBPyConnection, plan: Plan, state: State, quarantine: dict[str, Path], work: Path) -> dict[str, Any]:
    winners.inputs(con, plan, state.segments.values(), quarantine)
    winners.candidates(con, plan)
    winners.winners(con, plan.dataset.on_reject == "keep")
    columns = {n: name(n) for n, _ in plan.physical() if n != "_op"} | {"_source": "source", "_stale_since": "stale_since"}
    later = {"_key": name(key_column(plan))} if key_column(plan) != "_key" else {}
    if len(batches := con.execute("SELECT batch_id, source FROM batch").fetchall()) == 1:
        later |= {"_batch": text(batches[0][0]), "_source": text(batches[0][1])}
    sorted_ = ", ".join(f"{sql} AS {name(n)}" for n, sql in columns.items() if n not in later)      # what every row has, or has twice, need not be sorted
    con.execute(f"""
        COPY (SELECT {', '.join(f"{later.get(n, name(n))} AS {name(n)}" for n in columns)} FROM (SELECT {sorted_} FROM winner ORDER BY {deltas.order(plan)}))
        TO {text(work / 'rows.parquet')} ({PARQUET})""")
    con.execute(f"COPY ({winners.overlaps(plan)}) TO {text(work / 'overlaps.parquet')} ({PARQUET})")
    rows, stale = con.execute("SELECT count(*), count(_stale_since) FROM read_parquet($1)", [str(work / "rows.parquet")]).fetchone()
    return {"rows": rows, "stale_rows": stale, "disagreements": winners.disagreements(con, plan), "file_rows": rows, "superseded": 0}


def sweep(lake: Lake, dataset_id: str, wanted: Iterable[Current]) -> None:
    """Remove derived states but those of the versions of `wanted`, and what they stand on. The caller holds the dataset's lock."""
    home, versions = lake.current / dataset_id, {c.facts["version"] for c in wanted}
    kept = {folder for one in states(home) if one.facts["version"] in versions for folder in one.chain}
    for path in home.glob("*"):
        if path not in kept:
            durable.remove(path, "current.json")
