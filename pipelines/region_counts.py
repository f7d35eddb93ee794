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

import sqlalchemy as sa

from pipelines.ledger_tables import region_counts
from pipelines.settings import POSTGRESQL

COUNTED = ("applicable", "failed", "repaired", "waived")
NOTHING = json.dumps({name: [] for name in ("rules", "region", *COUNTED, "of")}, separators=(",", ":"))
_BEFORE = "ledger_rule_counts"      # the table of an older lake: a row per region and rule
_LOCK = 0x1A6F
_TELLING = (COUNTED.index("applicable"), COUNTED.index("waived"))
MASK = 63      # bits that a mask may take


def packed(rules: list[str], bits: list[int], groups: Iterable[tuple[int, str, int, int, int, int]]) -> dict[int, str]:
    """Batch → its text.

    Rules are not counted one by one: those that the same masks name have equal counts, so that sets of rules are cut by each mask in turn.

    Args:
        rules: the names of the rules.
        bits: of each rule its bit, counted through all masks.
        groups: batch, region, place in `COUNTED`, place of the mask, its value and how many rows have it; in the order of batch and region.
    """
    named = {1 << bit: place for place, bit in enumerate(bits)}
    known: dict[int, list[int]] = {}      # few different sets of rules have equal counts
    found: dict[int, list[tuple]] = {}
    for (of, region), mine in groupby(groups, itemgetter(0, 1)):
        for counts, rules_ in sorted(_classes([(kind, mask << place * MASK, n) for _, _, kind, place, mask, n in mine]).items()):
            if rules_ not in known:
                known[rules_] = sorted(named[bit] for bit in _single(rules_))
            found.setdefault(of, []).append((region, *counts, known[rules_]))
    return {of: _text(rules, mine) for of, mine in found.items()}


def _classes(groups: list[tuple[int, int, int]]) -> dict[tuple[int, ...], int]:
    """The counts of a region → the set of rules that have them, for rules that apply to a row of it or are waived for one.

    Args:
        groups: place in `COUNTED`, set of rules, and how many rows have it.
    """
    told = 0
    for kind, rules, _ in groups:
        if kind in _TELLING:
            told |= rules
    sets = [(told, [0] * len(COUNTED))] if told else []
    for kind, rules, n in groups:
        for place in range(len(sets)):
            before, counts = sets[place]
            hit = before & rules
            if hit:
                if hit != before:
                    sets[place] = (before ^ hit, counts.copy())
                    sets.append((hit, counts))
                counts[kind] += n
    found: dict[tuple[int, ...], int] = {}
    for rules, counts in sets:
        key = tuple(counts)
        found[key] = found.get(key, 0) | rules
    return found


def _single(bits: int) -> Iterator[int]:
    """The bits of a set, each by itself."""
    while bits:
        yield (lowest := bits & -bits)
        bits ^= lowest


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
