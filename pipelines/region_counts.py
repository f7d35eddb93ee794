"""Counts by rule and region of a batch as one text: what `counts.json` and the ledger keep, and what `governance.rule_counts` is unpacked from.

Most rules apply to the same rows of a region and fail in none: a row per region and rule is some thousand rows of a batch of a thousand records, which cost
more than the records. The text is a JSON object of lists of one length, one entry per region and set of equal counts: `region`, the counts, and `of`, the
places in `rules` of those that have them.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines.ledger_tables import region_counts
from pipelines.settings import POSTGRESQL

COUNTED = ("applicable", "failed", "repaired", "waived")
NOTHING = json.dumps({name: [] for name in ("rules", "region", *COUNTED, "of")}, separators=(",", ":"))
_BEFORE = "ledger_rule_counts"      # the table of an older lake: a row per region and rule
_LOCK = 0x1A6F
_ENTRY, _BITS = 1 + len(COUNTED), 62


def packed(con: duckdb.DuckDBPyConnection, rules: list[str], rows: str) -> dict[int, str]:
    """Batch → its text.

    Args:
        rules: the names of the rules, by their place.
        rows: a relation of `_of` (the batch), region, place (from 1) and the counts.
    """
    bits = [f"bit_or(CASE WHEN place - 1 BETWEEN {first} AND {first + _BITS - 1} THEN 1::BIGINT << (place - 1 - {first})::INTEGER ELSE 0::BIGINT END)"
            for first in range(0, len(rules), _BITS)]
    counts = ", ".join(COUNTED)
    entries = con.execute(f"SELECT _of, region, {counts}, {', '.join(bits)} FROM {rows} GROUP BY _of, region, {counts} ORDER BY _of, region, {counts}").fetchall()
    known: dict[tuple[int, ...], list[int]] = {}      # few different sets of rules have equal counts
    found: dict[int, list[tuple]] = {}
    for of, *entry in entries:
        masks = tuple(entry[_ENTRY:])
        if masks not in known:
            known[masks] = [number * _BITS + bit for number, mask in enumerate(masks) for bit in range(_BITS) if mask >> bit & 1]
        found.setdefault(of, []).append((*entry[:_ENTRY], known[masks]))
    return {of: _text(rules, mine) for of, mine in found.items()}


def _text(rules: list[str], entries: Iterable[tuple]) -> str:
    """The text of entries of region, the counts and the places of rules."""
    return json.dumps(dict(zip(("rules", "region", *COUNTED, "of"), (rules, *zip(*entries)))), ensure_ascii=False, separators=(",", ":"))


def unpacked_sql(packed: str) -> str:
    """SELECT of batch_id, revision, region, rule and the counts from a relation of batch_id, revision and `counts`."""
    kinds = json.dumps({"rules": ["VARCHAR"], "region": ["VARCHAR"], **{c: ["BIGINT"] for c in COUNTED}, "of": [["INTEGER"]]})
    each = ", ".join(f'unnest(found."{c}") AS "{c}"' for c in ("region", *COUNTED, "of"))
    return f"""
        WITH read AS (SELECT batch_id, revision, from_json(counts, '{kinds}') AS found FROM {packed}),
        entries AS (SELECT batch_id, revision, found.rules AS rules, {each} FROM read)
        SELECT batch_id, revision, region, rules[place] AS rule, {', '.join(COUNTED)} FROM (SELECT *, unnest("of") + 1 AS place FROM entries)"""


def pack(rows: Iterable[dict[str, Any]]) -> str:
    """The text of one batch from a row per region and rule."""
    listed = sorted(rows, key=itemgetter("region", "rule"))
    rules = sorted({row["rule"] for row in listed})
    places, found = {rule: place for place, rule in enumerate(rules)}, {}
    for row in listed:
        found.setdefault((row["region"], *(row.get(c) or 0 for c in COUNTED)), []).append(places[row["rule"]])
    entries = sorted(found.items())
    return _text(rules, [(*key, of) for key, of in entries]) if entries else NOTHING


def text_of(found: str | list[dict[str, Any]]) -> str:
    """What `counts.json` says of a batch; one that an earlier program staged has a row per region and rule."""
    return found if isinstance(found, str) else pack(found)


def unpack(text: str) -> Iterator[dict[str, Any]]:
    """A row per region and rule of one batch."""
    found = json.loads(text)
    for *entry, of in zip(*(found[c] for c in ("region", *COUNTED, "of"))):
        for place in of:
            yield dict(zip(("region", *COUNTED), entry)) | {"rule": found["rules"][place]}


def failing(text: str) -> Iterator[dict[str, Any]]:
    """Every rule that fails in a region, and per region in one row without a rule all that do not."""
    found, sound = json.loads(text), {}
    for region, applicable, failed, of in zip(*(found[c] for c in ("region", "applicable", "failed", "of"))):
        if failed:
            for place in of:
                yield {"region": region, "rule": found["rules"][place], "applicable": applicable, "failed": failed}
        else:
            sound[region] = sound.get(region, 0) + applicable * len(of)
    for region, applicable in sound.items():
        yield {"region": region, "rule": "", "applicable": applicable, "failed": 0}


def adopt(engine: sa.Engine) -> None:
    """Pack what the table of an older lake holds, and drop it; whole or not at all, and only by one process."""
    if not sa.inspect(engine).has_table(_BEFORE):
        return
    t = sa.Table(_BEFORE, sa.MetaData(), *(sa.Column(c) for c in ("batch_id", "revision", "region", "rule", *COUNTED)))
    with engine.begin() as con:
        if engine.dialect.name == POSTGRESQL:
            con.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        else:
            con.execute(region_counts.delete().where(sa.false()))      # SQLite: from here on no other process writes
        if not sa.inspect(con).has_table(_BEFORE):
            return
        there = [c["name"] for c in sa.inspect(con).get_columns(_BEFORE)]
        key = (t.c.batch_id, t.c.revision)
        with con.execution_options(stream_results=True).execute(sa.select(*(c for c in t.c if c.name in there)).order_by(*key)).mappings() as rows:
            packed = [{"batch_id": batch_id, "revision": revision, "counts": pack(map(dict, mine))}
                      for (batch_id, revision), mine in groupby(rows, itemgetter("batch_id", "revision"))]
        if packed:
            con.execute(region_counts.insert(), packed)
        con.execute(sa.DDL(f"DROP TABLE {_BEFORE}"))
