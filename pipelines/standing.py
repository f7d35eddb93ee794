"""How a batch stands: the states in which something is to be done about it, and whether it was decided under what holds today."""
from __future__ import annotations

from typing import Any

from pipelines import base, staged_batches, waivers
from pipelines.desk import Desk

PENDING = ("received", "staged", "passed")
FAILED = ("held", "refused")
DONE, WAITING = "done", "waiting"      # how a batch stands to `stage`
CLOSING, FOLDING = "closing", "folding"      # who decided where the gate did not
UNSOUND = "unsound"      # code of a batch whose evidence could not be judged


def same_terms(row: dict[str, Any], stamp: dict[str, str], covers: waivers.Covers) -> bool:
    """Was the batch judged under today's contract, rules, code lists and waivers?"""
    return all(row[key] == stamp[key] for key in ("contract_hash", "lists_hash")) and row["waivers_hash"] == covers.of(row).hash


def standing_of(desk: Desk, row: dict[str, Any], stamp: dict[str, str], covers: waivers.Covers) -> str | None:
    """Whether a batch is to be staged, is staged, or (None) is no longer this step's matter. The caller holds the dataset's lock."""
    same = same_terms(row, stamp, covers)
    staged = staged_batches.read(desk.lake, row["batch_id"], row["revision"]) if row["state"] in ("staged", "passed") and same else None
    if staged and base.whole(desk.lake, row["dataset"], staged.folder):
        return DONE
    return WAITING if row["state"] in PENDING or (row["state"] in FAILED and not same) else None
