"""发布: one manifest pins one version of every dataset; `lake.duckdb` shows exactly that, or what it showed before.

releases/data/<dataset>/<version>-<masks>/rows.parquet + facts.json: masked rows, shared by the releases that list them
releases/r000001/: governance Parquet, lake.duckdb, and manifest.json, renamed into place last: without it the folder
is unfinished and is swept. The newest manifest that the ledger does not know is finished by the next call, so a kill
at any instant leaves the old release or the new one. The rows analysts may not see are never under releases/.
"""
from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import (
    changes,
    classification,
    database,
    durable,
    governance,
    history,
    keys,
    ledger_tables as tables,
    linkability,
    masks,
    objects,
    published,
    themes,
)
from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.database import BrokenView
from pipelines.ledger import Ledger, now
from pipelines.semantics import reference
from pipelines.settings import Lake, Project, WrongUse
from pipelines.version import code_version

KEEP = 12
KEEP_HOURS = 12     # a session of a working day keeps its files however many releases follow


def publish(lake: Lake, project: Project, plans: dict[str, Plan], states: dict[str, Current], ledger: Ledger, reason: str,
            withdrawn: dict[str, list[str]] | None = None) -> dict[str, Any] | None:
    """Publish the given state of every dataset. The caller holds the lock `release`.

    Args:
        plans: the plan of every dataset to publish; one without a state becomes an empty view.
        states: dataset → its derived current state.
        reason: why, for the ledger.
        withdrawn: dataset → keys of records that must not be shown.

    Returns:
        release_id, datasets, rows, written (datasets whose files are new), views, left_out, database; None when
        nothing changed since the newest release.

    Raises:
        WrongUse: masks would show or rebuild a person, or a view is broken; what was published stays.
    """
    _judge(plans)
    _sweep_unfinished(lake)
    newest = last(lake)
    engine = published.Engine(lake, project, withdrawn)
    other = ThreadPoolExecutor(1)      # the unmasked database, which is much like the other one, is made while that one is
    try:
        content = _content(engine, plans, states, newest)
        same = newest is not None and newest["fingerprint"] == published.fingerprint(content)
        if same and _known(ledger, newest["release_id"]):
            _show(lake, ledger)
            _sweep(lake, ledger)
            return None
        restricted = other.submit(published.restricted, lake, plans, states, content)
        manifest = newest if same else _make(engine, plans, states, ledger, content, reason, _shown(lake, ledger) or newest)
    finally:
        other.shutdown()
        engine.close()
    database.point(folder(lake, manifest["release_id"]) / "lake.duckdb", lake.database)
    published.restrict(restricted)
    _record(ledger, manifest)
    _sweep(lake, ledger)
    return _summary(lake, manifest) | {"written": [d for d in engine.written if d in plans]}


def rollback(lake: Lake, project: Project, ledger: Ledger, release_id: int | None = None) -> dict[str, Any]:
    """Show an earlier kept release again; later ones stay kept, and the next accepted batch publishes anew.

    Args:
        release_id: which one; without it, the one before the release shown now.

    Raises:
        WrongUse: no such release is kept, or its files are not what they were.
    """
    releases = {m["release_id"]: m for m in kept(lake)}
    shown = shown_release(ledger)
    earlier = [n for n in releases if shown is not None and n < shown]
    wanted = release_id if release_id is not None else max(earlier, default=None)
    if wanted not in releases:
        known = ", ".join(map(str, releases)) or "none"
        raise WrongUse(f"Release {wanted or 'before ' + str(shown)} is not kept. Kept releases: {known}.")
    manifest = releases[wanted]
    changed = [f["path"] for r in manifest["relations"].values() for f in (*r["files"], *r.get("superseded", ())) if published.sha256(lake.releases / f["path"]) != f["sha256"]]
    if changed:
        raise WrongUse(f"Release {wanted} is damaged: {len(changed)} files differ from its manifest, first {changed[0]}. Nothing was changed.")
    own = folder(lake, wanted) / "lake.duckdb"
    if not objects.entered(lake, ledger, [own]):
        database.build(manifest, lake, own)
        objects.replace(lake, ledger, [own])
    database.point(own, lake.database)
    _record(ledger, manifest)
    return _summary(lake, manifest)


def kept(lake: Lake) -> list[dict[str, Any]]:
    """The manifests of all finished releases, oldest first."""
    return [json.loads(p.read_text("utf-8")) for p in _manifests(lake)]


def last(lake: Lake) -> dict[str, Any] | None:
    """The manifest of the newest finished release, None before the first."""
    return next((json.loads(p.read_text("utf-8")) for p in reversed(_manifests(lake))), None)


def _manifests(lake: Lake) -> list[Path]:
    """The manifests of all finished releases, oldest first; of many datasets each is a megabyte and more."""
    return sorted(lake.releases.glob("r*/manifest.json"))


def _shown(lake: Lake, ledger: Ledger) -> dict[str, Any] | None:
    """The manifest of the release that the ledger says is shown, if it is kept."""
    number = shown_release(ledger)
    file = folder(lake, number) / "manifest.json" if number is not None else None
    return json.loads(file.read_text("utf-8")) if file and file.exists() else None


def pinned(lake: Lake, dataset_id: str) -> set[int]:
    """The snapshots of one dataset's base table that kept releases stand on."""
    found = (m["relations"].get(dataset_id, {}).get("snapshot") for m in kept(lake))
    return {snapshot for snapshot in found if snapshot is not None}


def shown_release(ledger: Ledger) -> int | None:
    """The release that lake.duckdb shows, None before the first."""
    r = tables.releases
    found = ledger.rows(sa.select(r.c.release_id).where(r.c.state == "published"))
    return found[0]["release_id"] if found else None


def _show(lake: Lake, ledger: Ledger) -> None:
    """Let lake.duckdb show what the ledger says it shows; they differ when a rollback died between the two."""
    told = folder(lake, shown_release(ledger)) / "lake.duckdb"
    if published.sha256(lake.database) != published.sha256(told):
        database.point(told, lake.database)
    database.unfinished(lake.database)
    database.unfinished(told)


def _judge(plans: dict[str, Plan]) -> None:
    errors = []
    for plan in plans.values():
        try:
            masks.judge(plan)
            history.judge(plan)
        except WrongUse as error:
            errors.append(str(error))
    if errors:
        raise WrongUse("\n".join(errors))


def _content(engine: published.Engine, plans: dict[str, Plan], states: dict[str, Current], before: dict[str, Any] | None) -> dict[str, Any]:
    """What a release shows, without its number and its governance: equal content is no new release.

    Args:
        before: the newest manifest, which tells what a broken view used to read.
    """
    followed = [plan for plan in plans.values() if plan.dataset.history]
    with engine.together():
        relations = {d: published.dataset(engine, plan, states.get(d)) for d, plan in plans.items()} | published.lists(engine)
        relations |= {f"{plan.dataset.id}_versions": published.versions(engine, plan, states.get(plan.dataset.id)) for plan in followed}
    histories = [history.view(plan, states.get(plan.dataset.id)) for plan in followed]
    declared = themes.themes(engine.project)
    try:
        views = classification.judged(engine.project, list(plans.values()), [t for t in declared if set(t.needs) <= set(plans)], before["views"] if before else ())
    except WrongUse as error:
        raise _explained(error, before, {"relations": relations}) from None
    left_out = {t.id: sorted(set(t.needs) - set(plans)) for t in declared if not set(t.needs) <= set(plans)}
    content = {"relations": relations, "macros": reference.macros(engine.project), "histories": histories, "views": views, "left_out": left_out,
               "pseudonym": {"scheme": keys.SCHEME, "key_id": keys.key_id(engine.lake)}, "format": published.FORMAT}
    return json.loads(json.dumps(content, ensure_ascii=False))


def _explained(error: WrongUse, before: dict[str, Any] | None, content: dict[str, Any]) -> BrokenView:
    """A broken view, with the changes of contracts that broke it."""
    lines = [line.removesuffix(database.STOPPED) for line in str(error).splitlines()]
    return BrokenView("\n".join([*lines, *classification.changes(before, content)]) + database.STOPPED)


def _make(engine: published.Engine, plans: dict[str, Plan], states: dict[str, Current], ledger: Ledger, content: dict[str, Any], reason: str,
          before: dict[str, Any] | None) -> dict[str, Any]:
    """Write the folder of a new release: governance, the tried database, and last the manifest.

    Args:
        before: the manifest of the release shown until now, which `_changes` views compare with.
    """
    lake, r = engine.lake, tables.releases
    used = [int(p.parent.name.removeprefix("r")) for p in _manifests(lake)] + [row["release_id"] for row in ledger.rows(sa.select(r.c.release_id))]
    number = max(used, default=0) + 1
    place = folder(lake, number)
    place.mkdir()
    place.chmod(0o755)
    manifest = content | {"release_id": number, "created_at": now(), "reason": reason, "code_version": code_version(),
                          "engine": duckdb.__version__, "fingerprint": published.fingerprint(content)}
    manifest |= {"reidentification": linkability.measured(engine, plans, manifest, before), "reidentification_format": linkability.FORMAT}
    for table, file in governance.export(engine.con, lake, engine.project, plans, ledger, manifest, place, engine.withdrawn, states).items():
        file.chmod(0o644)
        declared, entry = governance.TABLES[table], published.entry(file)
        manifest["relations"] = manifest["relations"] | {f"governance.{table}": {
            "kind": "governance", "rows": entry["rows"], "comment": declared.comment,
            "files": [{"path": str(file.relative_to(lake.releases)), **entry}],
            "columns": [[c, kind, " — ".join(governance.COMMENTS[c])] for c, kind in declared.columns]}}
    manifest["changes"] = changes.facts(before, manifest)
    try:
        database.build(manifest, lake, place / "lake.duckdb", kept="release")
    except BrokenView as error:
        raise _explained(error, before, manifest) from None
    write_manifest(lake, manifest)
    return manifest


def keep_hours() -> float:
    """How long a release stays after another took its place: LAKE_KEEP_HOURS.

    Raises:
        WrongUse: it is no number of hours.
    """
    wish = os.environ.get("LAKE_KEEP_HOURS", str(KEEP_HOURS))
    if not wish.replace(".", "", 1).isdigit():
        raise WrongUse(f"LAKE_KEEP_HOURS is {wish!r}; give a number of hours, such as {KEEP_HOURS}.")
    return float(wish)


def write_manifest(lake: Lake, manifest: dict[str, Any]) -> None:
    """Put the manifest of a release in place."""
    durable.write(folder(lake, manifest["release_id"]) / "manifest.json", manifest_text(manifest), 0o644)


def manifest_text(manifest: dict[str, Any]) -> str:
    """A manifest as it stands in its file."""
    return json.dumps(manifest, ensure_ascii=False, indent=1)


def folder(lake: Lake, number: int) -> Path:
    """Where a release lies."""
    return lake.releases / f"r{number:06d}"


def _known(ledger: Ledger, number: int) -> bool:
    r = tables.releases
    return bool(ledger.rows(sa.select(r.c.release_id).where(r.c.release_id == number)))


def _record(ledger: Ledger, manifest: dict[str, Any]) -> None:
    """Enter the release as the one shown; an earlier one shown again makes the later ones `rolled_back`."""
    release, pinned = governance.ledger_rows(manifest)
    r, d, number = tables.releases, tables.release_datasets, manifest["release_id"]
    with ledger.transaction() as con:
        known = con.execute(sa.select(r.c.release_id).where(r.c.release_id == number)).first()
        con.execute(r.update().where(r.c.state == "published").values(state="kept", left_at=now()))
        con.execute(r.update().where(r.c.release_id > number, r.c.state != "removed").values(state="rolled_back"))
        if known:
            con.execute(r.update().where(r.c.release_id == number).values(state="published", left_at=None))
        else:
            con.execute(r.insert(), release)
            con.execute(d.insert(), pinned)


def _sweep_unfinished(lake: Lake) -> None:
    """Remove what a kill left: release folders without a manifest, half-written data."""
    for place in lake.releases.glob("r[0-9]*"):
        if not (place / "manifest.json").exists():
            shutil.rmtree(place)
    for part in lake.releases.glob("data/*/*.part"):
        shutil.rmtree(part)


def _sweep(lake: Lake, ledger: Ledger) -> None:
    """Keep the newest releases, the one shown, those a closing names and those shown until lately; remove others and the data no kept manifest lists."""
    r, manifests = tables.releases, kept(lake)
    needed = {c["release_id"] for c in ledger.rows(sa.select(tables.closings))} | {shown_release(ledger)}
    needed |= {row["release_id"] for row in ledger.rows(sa.select(r.c.release_id).where(r.c.left_at > now(keep_hours())))}
    old = [m["release_id"] for m in manifests[:-KEEP] if m["release_id"] not in needed]
    if old:      # the ledger first: after a death the next sweep still finds the manifests
        with ledger.transaction() as con:
            con.execute(r.update().where(r.c.release_id.in_(old)).values(state="removed"))
    for number in old:
        durable.remove(folder(lake, number), "manifest.json")
    listed = {(lake.releases / f["path"]).parent for m in manifests if m["release_id"] not in old for f in changes.listed(m)}
    for place in lake.releases.glob("data/*/*"):
        if place not in listed:
            durable.remove(place, "facts.json")


def _summary(lake: Lake, manifest: dict[str, Any]) -> dict[str, Any]:
    shown = [r for r in manifest["relations"].values() if r["kind"] == "dataset"]
    return {"release_id": manifest["release_id"], "datasets": len(shown), "rows": sum(r["rows"] for r in shown),
            "views": len(manifest["views"]), "left_out": manifest["left_out"], "database": str(lake.database)}
