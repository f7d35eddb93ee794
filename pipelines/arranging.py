"""Batches into staging: which may be read by one pass, and what became of each in the ledger. Those that cannot go together go alone."""
from __future__ import annotations

import duckdb

from pipelines import landing, ledger_tables as tables, mapping, staged_batches, staging, waivers
from pipelines.batch import Key, each_once
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.standing import DONE, WAITING, standing_of

SMALL = 1 << 20      # bytes of a batch that is staged together with others


def alike(desk: Desk, plan: Plan, keys: list[Key], covers: waivers.Covers) -> list[list[Key]]:
    """The batches that may be staged by one pass: small, of one source and date, under the same waivers, without corrections; and each other one alone."""
    found: dict[tuple, list[Key]] = {}
    sizes: dict[Key, int] = {}
    for key, (row,) in desk.ledger.of(tables.batches, keys).items():
        sizes[key] = row["bytes"] or 0
        small, cover = not plan.windowed and sizes[key] <= SMALL and row["builds_on"] is None, covers.of(row)
        found.setdefault((row["source"], row["batch_date"], cover.hash, cover.ids) if small else key, []).append(key)
    return [run for some in found.values() for run in each_once(some, sizes)]


def stage_some(con: duckdb.DuckDBPyConnection, desk: Desk, plan: Plan, keys: list[Key], ids: dict[str, int], stamp: dict[str, str],
                covers: waivers.Covers) -> dict[Key, bool]:
    """Stage batches in one pass; tells of those that were read whether they are staged. The others are to be staged alone, and their faults told there.

    The work is done without the dataset's lock, as in `_stage_one`.
    """
    manifests = [landing.read_manifest(landing.folder(desk.lake, *key)) for key in keys]
    cover = covers.of(vars(manifests[0]))
    with desk.ledger.steps(keys, "stage") as details:
        try:
            made = staging.make_together(con, plan, plan.dataset.source(manifests[0].source), manifests, ids, cover)
        except duckdb.Error:
            made = {}
        found = {key: made[key[0]] for key in keys if key[0] in made}
        counts = {key: {k: v for k, v in one.counts.items() if k in tables.batches.c} for key, one in found.items()}
        for key in keys:
            details[key] |= counts.get(key, {})
            if key not in found:
                del details[key]
    own = {"state": "staged", "reason": None, "code": None} | stamp | {"waivers_hash": cover.hash}
    with writer(desk.lake, plan.dataset.id):
        standing = {key: standing_of(desk, row, stamp, covers) for key, (row,) in desk.ledger.of(tables.batches, found).items()}
        fresh = [key for key, how in standing.items() if how == WAITING]
        if fresh:
            staged_batches.settle_all(desk.lake, {key: found[key] for key in fresh})
            desk.ledger.replace_files({key: found[key].counts["units"] for key in fresh})
            desk.ledger.update_batches({key: own | counts[key] for key in fresh})
    return {key: how in (WAITING, DONE) for key, how in standing.items()}


def stage_one(con: duckdb.DuckDBPyConnection, desk: Desk, plan: Plan, key: Key, ids: dict[str, int], stamp: dict[str, str],
               covers: waivers.Covers) -> bool:
    """Stage one batch. A file that cannot be read refuses it; a header that does not fit the contract holds it.

    The work is done without the dataset's lock. What another process staged or decided meanwhile stays.
    """
    batch_id, revision = key
    manifest = landing.read_manifest(landing.folder(desk.lake, batch_id, revision))
    source, cover = plan.dataset.source(manifest.source), covers.of(desk.ledger.batch(batch_id, revision))
    own = stamp | {"waivers_hash": cover.hash}
    try:
        with desk.ledger.step(batch_id, "stage", revision) as detail:
            found = staging.make(con, plan, source, manifest, ids, cover)
            counts = {k: v for k, v in found.counts.items() if k in tables.batches.c}
            detail |= counts
    except WrongUse as error:
        state = "held" if isinstance(error, mapping.HeaderMismatch) else "refused"
        units, values = [], {"state": state, "reason": str(error), "code": getattr(error, "code", None), "decided_at": now(), "decided_by": "stage"}
        found = None
    else:
        units, values = found.counts["units"], {"state": "staged", "reason": None, "code": None, **counts}
    with writer(desk.lake, plan.dataset.id):
        standing = standing_of(desk, desk.ledger.batch(batch_id, revision), stamp, covers)
        if standing == WAITING:
            if found:
                staged_batches.settle(desk.lake, found, batch_id, revision)
            desk.ledger.replace_files({key: units})
            desk.ledger.update_batch(batch_id, revision, **values, **own)
    return found is not None if standing == WAITING else standing == DONE
