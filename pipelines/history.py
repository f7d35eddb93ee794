"""变更历史: what the published attributes of a record were, since when and until when, told by the batches that base holds.

Two things per dataset that declares `history: true`. `<dataset>_versions`: the masked row versions, one shared file per segment of base, so that a release
writes only what new batches brought. `<dataset>_history`: a view over them that says, per record and attribute, the value and its first and last day.
It follows the rules of `current` on every day: batches count by batch date, sequence and ordinal, sources by authority; so the order in which batches
arrived, re-runs and corrections leave no trace. What was folded is known by its newest version only.
"""
from __future__ import annotations

from typing import Any

from pipelines import masks
from pipelines.batch import BatchId
from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.masks import PublishedColumn
from pipelines.settings import WrongUse
from pipelines.sql import name, names, text, texts

_OWN = (("_op", "VARCHAR", "U 报送、D 删除、K 更正行被隔离而沿用旧值 — U sent, D deleted, K kept because the row that corrects it is in quarantine"),
        ("_batch", "VARCHAR", "报送批次 — Batch"), ("_file", "INTEGER", "文件序号 — Number of the file in the batch"),
        ("_ordinal", "BIGINT", "记录序号 — Ordinal of the record in its file"))
_COLUMNS = (("attribute", "属性（发布字段名） — Attribute, as its column is published"), ("attribute_zh", "属性中文名 — Its Chinese name"), ("value", "取值 — Value"),
            ("valid_from", "首次报送该值的报送日期 — Batch date that first gave this value"), ("valid_to", "该值最后一日（空为现值） — Last day of the value, NULL while it holds"),
            ("source", "报送渠道 — Source of the value"), ("batch", "首次给出该值的批次 — Batch that first gave it"))


def judge(plan: Plan) -> None:
    """Refuse a history that would show what the published rows hide, or that base cannot tell.

    Raises:
        WrongUse: the dataset is not loaded in a way that has a history.
    """
    d = plan.dataset
    if not d.history:
        return
    told = d.load == "upsert" or (d.load == "snapshot" and masks.record_key(plan) != "_key")
    if not told or d.on_reject != "keep" or d.publish_when:
        raise WrongUse(f"{d.id}: history needs load: upsert, or a snapshot whose only key is a person; on_reject: keep; and no publish_when. Remove history: true.")


def entity(plan: Plan) -> list[PublishedColumn]:
    """The published columns that tell a record."""
    key = masks.record_key(plan)
    return [c for c in masks.published(plan) if c.source_column in plan.dataset.key or c.name == key]


def attributes(plan: Plan) -> list[PublishedColumn]:
    """The published columns whose values are followed; none that is hidden in some rows: an earlier row could show what a later one hides."""
    d = plan.dataset
    return [c for c in masks.published(plan) if c.source_column and c.source_column not in d.key and not d.column(c.source_column).classified_when]


def columns(plan: Plan) -> list[tuple[str, str, str]]:
    """Name, type and words of the columns of `<dataset>_versions`."""
    return [*((c.name, c.type, c.comment) for c in (*entity(plan), *attributes(plan))), *_OWN]


def select(plan: Plan, files: tuple[str, ...], quarantine: list[tuple[str, str]], withdrawn: list[str]) -> str:
    """The masked versions of one segment.

    Args:
        files: its files in base.
        quarantine: (batch_id, quarantine file) of its batches; rejected rows keep what was accepted before, in a snapshot.
        withdrawn: keys of records that must not be shown.
    """
    kept, own = attributes(plan), entity(plan)
    typed = ", ".join(f"NULL::{t} AS {name(n)}" for n, t in plan.physical())
    listed = [f"({c.sql})::{c.type} AS {name(c.name)}" for c in own] + [f"CASE WHEN _op <> 'D' THEN ({c.sql})::{c.type} END AS {name(c.name)}" for c in kept]
    held = f"FROM read_parquet({texts(files)}, union_by_name = true) UNION ALL BY NAME " if files else ""
    read = f"({held}SELECT {typed} WHERE false)"
    gone = f" AND _key NOT IN (SELECT unnest({texts(withdrawn)}))" if withdrawn else ""
    parts = [f"SELECT {', '.join(listed)}, CASE WHEN _op = 'D' THEN 'D' ELSE 'U' END AS _op, _batch, _file, _ordinal FROM {read} WHERE true{gone}"]
    if plan.dataset.load == "snapshot":
        nothing = ", ".join(f"NULL::{c.type}" for c in kept)
        parts += [f"SELECT DISTINCT _key, {nothing}, 'K', {text(batch)}, NULL::INTEGER, NULL::BIGINT FROM read_parquet({text(file)}) WHERE _key IS NOT NULL{gone} "
                  f"AND _key NOT IN (SELECT _key FROM {read} WHERE _batch = {text(batch)})" for batch, file in quarantine]
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY {names(c.name for c in own)}, _batch, _file, _ordinal"


def view(plan: Plan, state: Current | None) -> dict[str, Any]:
    """The view `<dataset>_history` as `themes.create` takes it."""
    d = plan.dataset
    schema, _, table = d.id.partition(".")
    own = entity(plan)
    first = f"起点 since: {min((b for b, _ in _batches(state)), default='—').rpartition('~')[0].rpartition('~')[2]}"
    comment = (f"{d.name}的变更历史 — History of the attributes of {d.id}\n粒度 grain: 一条记录一属性一取值一段时间一行 — one row per record, attribute, value and period\n"
               "规则 rule: 按报送日期，与现势库同一规则；值为空的时段不出现；有条件脱敏的字段不含 — by batch date, by the rules of the published table; no row while a value is "
               f"empty; no column that is masked in some rows\n局限 limits: 首段起于首次报送；归并的旧批次只存最后一版 — the first period begins with the first batch; of folded "
               f"batches only the newest version is known\n{first}")
    described = [*((c.name, c.comment) for c in own), *_COLUMNS]
    return {"schema": schema, "name": f"{table}_history", "comment": comment, "columns": described, "sql": _sql(plan, state)}


def _batches(state: Current | None) -> list[tuple[str, int]]:
    return [b for v in state.segments for b in v.batches] if state else []


def _sql(plan: Plan, state: Current | None) -> str:
    d, snapshot = plan.dataset, plan.dataset.load == "snapshot"
    schema, _, table = d.id.partition(".")
    own = [name(c.name) for c in entity(plan)]
    key, same = ", ".join(own), " AND ".join(f"l.{c} = p.{c}" for c in own)
    kept = [(n, k) for n, k, _ in columns(plan)[len(own):] if n not in ("_op",)]
    row = ", ".join([*(f"{name(n)} := v.{name(n)}" for n, _ in kept), "since := b.since, sequence := b.sequence"])
    words = {c.name: c.zh for c in attributes(plan)}
    listed = ", ".join(f"{{'attribute': {text(n)}, 'zh': {text(zh)}, 'value': r.{name(n)}::VARCHAR}}" for n, zh in words.items())
    order = "since, sequence, _file, _ordinal, part"
    if snapshot:      # a version stands until the next submission of its stream, which carries the row again or ends it
        stream, ends = "source, part", ("until, CASE WHEN _op = 'K' THEN last_value(CASE WHEN _op = 'U' THEN r END IGNORE NULLS) OVER (PARTITION BY "
                f"{key}, source, part ORDER BY since, sequence, _op DESC, _file, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) ELSE r END AS r")
    else:             # a version stands until the next one of its source
        stream, ends = "source", f"lead(since) OVER (PARTITION BY {key}, source ORDER BY {order}) AS until, r"
    same_values = f"hash({', '.join(f'r.{name(n)}' for n in words)})"
    return f"""
WITH batch(_batch, source, part, rank, since, sequence, until) AS ({_listed(plan, state)}),
version AS NOT MATERIALIZED (
    SELECT {', '.join(f'v.{c}' for c in own)}, v._op, v._file, v._ordinal, b.source, b.part, b.rank, b.since, b.sequence, b.until, struct_pack({row}) AS r
    FROM {name(schema)}.{name(f'{table}_versions')} v JOIN batch b ON b._batch = v._batch
), span AS NOT MATERIALIZED (
    SELECT {key}, _op, source, part, rank, since, sequence, {ends}, min(({stream})) OVER w <> max(({stream})) OVER w AS several
    FROM version WINDOW w AS (PARTITION BY {key})
), live AS NOT MATERIALIZED (
    SELECT * FROM span WHERE _op <> 'D' AND r IS NOT NULL AND (until IS NULL OR until > since)
), crowd AS MATERIALIZED (
    SELECT * FROM live WHERE several
), point AS NOT MATERIALIZED (
    SELECT {key}, starts, lead(starts) OVER (PARTITION BY {key} ORDER BY starts) AS stops
    FROM (SELECT {key}, since AS starts FROM crowd UNION SELECT {key}, until FROM crowd WHERE until IS NOT NULL)
), alone AS NOT MATERIALIZED (
    SELECT *, count_if(begins) OVER (PARTITION BY {key} ORDER BY since, sequence) AS run
    FROM (SELECT *, lag({same_values}) OVER w IS DISTINCT FROM {same_values} OR lag(until) OVER w IS DISTINCT FROM since AS begins
          FROM live WHERE NOT several WINDOW w AS (PARTITION BY {key} ORDER BY since, sequence))
), state AS NOT MATERIALIZED (
    SELECT {key}, min(since) AS starts, CASE WHEN count(until) = count(*) THEN max(until) END AS stops, any_value(source) AS source, arg_min(r, since) AS r
    FROM alone GROUP BY {key}, run
    UNION ALL
    SELECT {', '.join(f'p.{c}' for c in own)}, p.starts, p.stops, l.source, l.r
    FROM point p JOIN crowd l ON {same} AND l.since <= p.starts AND (l.until IS NULL OR l.until > p.starts)
    QUALIFY row_number() OVER (PARTITION BY {', '.join(f'p.{c}' for c in own)}, p.starts
        ORDER BY l.rank, l.r.since DESC, l.r.sequence DESC, l.r._file DESC, l.r._ordinal DESC, l.part DESC) = 1
), fact AS NOT MATERIALIZED (
    SELECT {key}, starts, stops, source, r._batch AS batch, unnest([{listed}]) AS a FROM state
), step AS NOT MATERIALIZED (
    SELECT {key}, starts, stops, source, batch, a.attribute AS attribute, a.zh AS zh, a.value AS value,
        lag(a.value) OVER w IS DISTINCT FROM a.value OR lag(stops) OVER w IS DISTINCT FROM starts AS begins
    FROM fact WINDOW w AS (PARTITION BY {key}, a.attribute ORDER BY starts)
), run AS NOT MATERIALIZED (
    SELECT *, count_if(begins) OVER (PARTITION BY {key}, attribute ORDER BY starts) AS run FROM step
)
SELECT {key}, attribute, any_value(zh) AS attribute_zh, any_value(value) AS value, min(starts) AS valid_from,
    CASE WHEN count(stops) = count(*) THEN max(stops) - 1 END AS valid_to, arg_min(source, starts) AS source, arg_min(batch, starts) AS batch
FROM run WHERE value IS NOT NULL GROUP BY {key}, attribute, run""".strip()


def _listed(plan: Plan, state: Current | None) -> str:
    """The batches as VALUES: id, source, part, rank, day, sequence and the day of the stream's next submission."""
    rank = {s.source: s.rank for s in plan.dataset.sources}
    ids = sorted((BatchId.parse(b) for b, _ in _batches(state)), key=lambda b: (b.source, b.part, b.batch_date, b.sequence))
    if not ids:
        return "SELECT NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR, NULL::INTEGER, NULL::DATE, NULL::INTEGER, NULL::DATE WHERE false"
    following = [b.batch_date if b.stream == a.stream else None for a, b in zip(ids, ids[1:])] + [None]
    return "VALUES " + ", ".join(f"({text(b)}, {text(b.source)}, {text(b.part)}, {rank.get(b.source, len(rank))}, {text(b.batch_date)}::DATE, {b.sequence}, {text(until)}::DATE)"
                                 for b, until in zip(ids, following))
