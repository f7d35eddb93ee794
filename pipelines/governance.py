"""治理视图: what analysts can ask about the data itself, as Parquet files of one release (`governance.*`).

Rows come from the contracts, the rules, the code lists, the ledger and the quarantine addresses; none holds a
submitted value. A column name means one thing in every table: its words stand once, in `COMMENTS`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import data_items, ledger_tables as tables, masks, region_counts
from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.feedback import states as quarantine_states
from pipelines.ledger import Ledger
from pipelines.rules import Rule
from pipelines.semantics import reference
from pipelines.settings import Lake, Project
from pipelines.sql import name, text

COMMENTS = {
    "absent": ("缺少的契约字段", "Contract columns that the file does not hold"), "accepted": ("入库记录数", "Records accepted"), "address": ("记录地址：批次~修订#文件:序号", "Address of a record: batch~revision#file:record"),
    "applicable": ("适用记录数", "Records the rule applies to"), "as_of": ("数据截至日期", "State of the data: newest batch date"),
    "at_least": ("合格率下限", "Lowest acceptable pass rate"), "batch_date": ("报送日期", "Batch date"), "batch_id": ("报送批次", "Batch"),
    "blank": ("空行数", "Blank lines"), "bytes": ("字节数", "Bytes submitted"), "catalogue_name": ("目录名称", "Catalogue: name"),
    "category": ("资源分类", "Catalogue category"),
    "classification": ("数据分级", "Classification, the stricter one where it is conditional"), "code_list": ("代码表", "Code list"),
    "code": ("原因代码", "Reason code of what was not read or not taken"), "damaged": ("无法解码字节数", "Bytes that are no character"),
    "encoding": ("字符编码", "Encoding of the bytes"), "evidence": ("依据", "How form, encoding and header were found; of a lead, the records it is about"),
    "form": ("文件格式", "Form of the file"), "header_row": ("表头所在行", "Row of the header; 0: given by the contract"),
    "member": ("压缩包内序号", "Place in its archive"), "repairs": ("修复字符数", "Private-use characters mapped"),
    "submitted": ("报送文件序号", "Number of the submitted file"), "unread": ("未采用的表头位置", "Positions of header cells that nothing reads"),
    "width": ("列数", "Columns of the header"),
    "closed_at": ("关账时间", "Time of the closing"), "code_version": ("程序版本", "Version of the program"), "column": ("字段", "Column of the contract"),
    "contract_hash": ("契约指纹", "Digest of contract and rules"), "contract_version": ("契约版本", "Version of the contract"),
    "copies": ("重复记录数", "Identical copies in the batch"), "created_at": ("发布时间", "Time of the release"),
    "data_format": ("数据格式", "Catalogue: data format"), "data_items": ("数据项", "Catalogue: data items"),
    "dataset": ("数据资源", "Dataset"), "decided_at": ("裁决时间", "Time of the decision"), "decided_by": ("裁决者", "Decided by"),
    "deletes": ("删除记录数", "Records that delete"), "detail": ("步骤明细", "Counts of the step (JSON)"),
    "disagreements": ("来源间不一致数", "Values on which sources disagree"), "domain": ("基础库", "Base database"),
    "en": ("英文说明", "English words"), "failed": ("不合格记录数", "Records that fail"), "file": ("文件序号", "Number of the file in the batch"),
    "files": ("文件数", "Files"), "grading": ("数据分类分级", "Catalogue: classification and grade"),
    "header": ("表头行数", "Header lines"), "indicator": ("质量指标代码", "Quality indicator (GB/T 36344-2018)"),
    "inner_line_ends": ("值内换行数", "Line ends inside values"), "key_id": ("假名密钥编号", "Id of the pseudonym key"),
    "limitations": ("局限", "Limitations"), "lines": ("物理行数", "Physical lines"), "list": ("代码表", "Code list"),
    "lists_hash": ("代码表指纹", "Digest of the code lists"), "load": ("加载方式", "Way of loading: snapshot, upsert or append"),
    "loss_budget": ("允许损失率", "Share of rows that may be lost"),
    "manifest_hash": ("发布清单指纹", "Digest of the release manifest"), "mask": ("脱敏方式", "Mask"),
    "basis": ("法律依据", "Legal basis"), "document": ("文号", "Number of the decision"), "withdrawn_at": ("撤回时间", "Time of the withdrawal"),
    "releases": ("涉及发布数", "Releases that were changed"), "lifted_at": ("解除时间", "Time it was lifted"), "lifted_reason": ("解除原因", "Why it was lifted"),
    "message": ("说明", "What is the matter and what to do"), "seen_at": ("查看时间", "Time of the last look"),
    "mask_words": ("脱敏说明", "What the mask does"), "month": ("报送月份", "Month of batch dates"), "name": ("名称", "Name"), "name_en": ("英文名称", "English name"),
    "frequency": ("报送频率", "How often it is sent"),
    "rank": ("权威顺序（0 最高）", "Order of authority, 0 is the highest"), "uscc": ("统一社会信用代码", "Unified social credit code"),
    "changes": ("阈值变更记录", "Changes of the threshold: day, value, reason"), "why": ("规则依据", "Why the rule must hold"),
    "on_breach": ("低于下限时", "When below the limit: hold or report"), "outcome": ("结果", "Outcome"),
    "owner": ("责任部门", "Department that answers for it and must mend it"), "part": ("报送分区", "Part of the stream"),
    "pass_rate": ("合格率", "Pass rate"), "person_id": ("人员假名", "Pseudonym of the person"), "primary_key": ("主键", "Part of the key"),
    "provider": ("提供单位", "Catalogue: providing departments"), "provider_notes": ("报送说明", "How each source sends"), "provider_uscc": ("提供单位统一社会信用代码", "Unified social credit codes of the providers"),
    "published_as": ("发布字段", "Published columns"), "purpose": ("用途", "Purpose"), "quarantined": ("隔离记录数", "Records in quarantine"),
    "reading": ("读取方式", "Read by records or by lines"), "reason": ("原因", "Reason"), "received_at": ("接收时间", "Time of receipt"),
    "record": ("记录序号", "Ordinal of the record in its file"), "records": ("记录数", "Records read"),
    "refuse_basis": ("不予共享依据", "Legal basis when not shared"), "region": ("行政区划", "Division"),
    "release_id": ("发布号", "Release"), "reopened_at": ("重新开账时间", "Time of the re-opening"), "reopened_reason": ("重新开账原因", "Reason of the re-opening"),
    "repaired": ("修复记录数", "Records repaired"), "required": ("必填", "Required"),
    "revision": ("修订号", "Revision of the batch"), "rows": ("行数", "Rows published or exported"), "rule": ("规则", "Rule"),
    "rules": ("未通过规则", "Rules that failed"), "score": ("质量得分", "Quality score"), "seconds": ("耗时（秒）", "Seconds"),
    "semantic_type": ("语义类型", "Semantic type"), "sequence": ("当日序号", "Sequence on the day"), "severity": ("严重程度", "Severity"),
    "share_class": ("共享属性", "Catalogue: sharing class"), "share_condition": ("共享条件", "Condition of sharing"),
    "share_mode": ("共享方式", "Catalogue: mode of sharing"), "sla_days": ("报送时限（天）", "Days allowed for delivery"),
    "source": ("报送渠道", "Source"), "stale_rows": ("沿用旧值行数", "Rows kept while their correction is in quarantine"),
    "standard": ("标准", "Standard"), "started_at": ("开始时间", "Time of the start"), "state": ("状态", "State"),
    "step": ("步骤", "Step"), "subject": ("对象", "Batch or dataset"), "superseded": ("批内被替代数", "Records replaced in the batch"),
    "builds_on": ("所更正的修订号", "Revision whose files this one corrects by returned rows"), "cancelled": ("报送方作废记录数", "Records that their sender took back"),
    "corrected": ("退回更正记录数", "Records replaced by returned rows"), "corrected_revision": ("更正修订号", "Revision that came in answer"),
    "corrected_at": ("更正接收时间", "Time the correction was received"), "encrypted": ("已加密", "Encrypted: 1 yes, 0 no"),
    "made_at": ("生成时间", "Time it was made"), "quarantined_at": ("首次隔离时间", "Time of the first rejection"), "path": ("位置", "Path under the lake"),
    "readmitted_at": ("重新入库时间", "Time it was accepted after correction"), "returned_at": ("退回时间", "Time of the pack that holds it"),
    "sha256": ("内容指纹", "SHA-256 of the rows"), "trailer": ("表尾行数", "Trailer lines"),
    "unmapped_columns": ("未采用表头数", "Header cells that nothing reads"), "unparseable": ("无法解析行数", "Lines that cannot be read"),
    "update_frequency": ("更新频率", "Catalogue: frequency"), "usage_conditions": ("使用条件", "Catalogue: conditions of use"),
    "id": ("编号", "Number"), "problem": ("问题单编号", "Number of the problem"), "department": ("数源部门", "Department that sends the data"),
    "opened_at": ("开单时间", "Time the problem was opened"), "opened_batch": ("首次不合格批次", "Batch that failed first"), "due_on": ("整改期限", "Last day to mend it"),
    "reopened": ("重开次数", "Times it was opened again"), "changed_at": ("变更时间", "Time of the last change"), "note": ("说明", "What was found or done"),
    "waived": ("豁免记录数", "Records that fail and are waived"), "definition": ("规则定义指纹", "Digest of what the rule says"),
    "waivers_hash": ("豁免指纹", "Digest of the waivers it was judged under"), "at": ("时间", "Time"),
    "granted_at": ("授予时间", "Time it was granted"), "expires_on": ("截止日期", "Last day of a grant; of a waiver, the last batch date it holds for"),
    "keys": ("豁免记录键数", "Records that the waiver is for; empty: all"), "ended_at": ("终止时间", "Time it ended"), "ended_reason": ("终止原因", "Why it ended"),
    "decision": ("裁定", "Decision: release or hold"), "channel": ("通知渠道", "Channel of the message"), "sent_at": ("发送时间", "Time of sending"),
    "opened": ("新增问题数", "Problems opened"), "verified": ("核验问题数", "Problems verified"), "overdue": ("逾期问题数", "Problems past their last day"),
    "ended": ("豁免终止数", "Waivers that ended"), "digest": ("消息指纹", "Digest of the message"),
    "version": ("数据版本", "Version of the data"), "view": ("发布视图", "Published view"),
    "kind": ("类别", "Kind. Of a check: across, agreement, history, values, publication, conformity or timeliness; of a usage note: problem, waiver or caveat"), "checked_at": ("检查时间", "Time of the check"),
    "fill_rate": ("填充率", "Share of current rows that have a value"), "last_update": ("最近更新", "Newest batch date that the data holds"),
    "since": ("起始日期", "Since when"), "filled": ("已填写数", "Cells filled in"), "distinct_values": ("不同取值数", "Distinct values, about"), "value": ("取值或统计量", "Code, or value of the statistic"),
    "signal": ("线索类别", "Kind of lead"), "peers": ("同类中位数", "Median of its peers"), "n": ("统计行数", "Rows of the statistic"),
    "p": ("偶然概率", "Probability that chance does it"), "explanation": ("说明和其他可能", "What was seen, and another explanation"),
    "label": ("代码含义", "What the code means"), "accepted_by": ("认定人", "Accepted by"), "accepted_at": ("认定时间", "Time it was accepted"),
    "revoked_at": ("撤销时间", "Time it was revoked"),
    "reads": ("引用的数据资源", "Datasets that the rule reads"),
    "groups": ("组合数", "Groups: distinct combinations of these columns"), "smallest": ("最小组人数", "Persons of the smallest group counted"),
    "rows_in_small_groups": ("不足五人组的行数", "Rows in groups of fewer than five persons"),
    "counted_share": ("计数的组所占份额", "Share of the groups that was counted; below 1 the figures are scaled up"),
    "role": ("角色", "Role"), "datasets": ("数据资源", "Datasets of the grant"), "columns": ("字段", "Columns granted or read"),
    "request": ("申请编号", "Number of the request"), "exported_at": ("导出时间", "Time of the export"), "exported_by": ("导出人", "Who exported it"),
    "views": ("视图", "Views that were read"),
    "source_view": ("来源数据资源或表", "Dataset or table that it is made of"), "source_column": ("来源字段", "Column that it is made of"),
    "clause": ("读取的子句", "Clause that reads it: select, filter, join, group, order or window; without a column it decides about every row"),
    "raised_by": ("达到该分级的字段", "Columns that raise it to this classification"),
    "withheld_rows": ("不予发布行数", "Rows barred from publication"), "zh": ("中文说明", "Chinese words"),
}


@dataclass(frozen=True)
class Table:
    """One governance view: its words and its columns with DuckDB types; and where the ledger keeps it in other columns, these and the SELECT over them."""

    zh: str
    en: str
    columns: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...] = ()
    unpack: Callable[[str], str] | None = None

    @property
    def comment(self) -> str:
        return f"{self.zh} — {self.en}"


def _columns(declared: str) -> tuple[tuple[str, str], ...]:
    """`"dataset, rows:BIGINT"` → pairs; VARCHAR is the type that is not written."""
    return tuple((n, kind or "VARCHAR") for n, _, kind in (one.strip().partition(":") for one in declared.split(",")))


_SQL_TYPES = {"Integer": "INTEGER", "BigInteger": "BIGINT", "Float": "DOUBLE", "String": "VARCHAR"}


def _of_ledger(table: sa.Table, without: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    return tuple((c.name, _SQL_TYPES[type(c.type).__name__]) for c in table.c if c.name not in without)


LEDGER = {"batches": tables.batches, "files": tables.files, "steps": tables.steps, "rule_results": tables.rule_results, "rule_counts": tables.region_counts,
          "releases": tables.releases, "release_datasets": tables.release_datasets, "closings": tables.closings, "inbox": tables.inbox,
          "withdrawals": tables.withdrawals, "checks": tables.checks, "check_counts": tables.check_counts, "profiles": tables.profiles,
          "profile_values": tables.profile_values, "signals": tables.signals, "accepted_values": tables.accepted_values, "problems": tables.problems,
          "problem_events": tables.problem_events, "waivers": tables.waivers, "approvals": tables.approvals, "alerts": tables.alerts, "feedback": tables.feedback,
          "new_values": tables.new_values, "grants": tables.grants, "exports": tables.exports}
TABLES = {
    "datasets": Table("数据资源目录：政务数据共享条例第十三条九要素和现状", "Catalogue of datasets: the nine statutory elements and the present state", _columns(
        "dataset, view, domain, catalogue_name, data_items, provider, data_format, update_frequency, share_class, share_mode, usage_conditions, grading, "
        "category, share_condition, refuse_basis, provider_uscc, provider_notes, purpose, limitations, load, sla_days:DOUBLE, contract_version, contract_hash, version, "
        "as_of:DATE, rows:BIGINT, withheld_rows:BIGINT, stale_rows:BIGINT, disagreements:BIGINT")),
    "columns": Table("数据项：契约字段和专题视图字段，标准、分级、发布方式、填充率和质量", "Data items: columns of contracts and theme views, standards, classification, how they are published, how full and how good", _columns(
        "dataset, column, zh, en, semantic_type, code_list, standard, primary_key:BOOLEAN, required:BOOLEAN, classification, mask, mask_words, published_as, "
        "owner, fill_rate:DOUBLE, score:DOUBLE, last_update:DATE")),
    "usage_notes": Table("使用须知：字段的已知问题、豁免和局限", "What to know before use: known problems, waivers and caveats of columns", _columns(
        "dataset, column, kind, zh, en, since:DATE")),
    "rules": Table("已声明的质量规则", "Declared quality rules", _columns(
        "dataset, rule, column, reason, zh, en, indicator, severity, at_least:DOUBLE, on_breach, owner, why, changes, reads")),
    "sources": Table("报送渠道：谁报送什么、多久一次", "Sources: who sends what, and how often", _columns(
        "dataset, source, department, uscc, rank:INTEGER, frequency, sla_days:DOUBLE")),
    "lists": Table("代码表", "Code lists", _columns("list, name, name_en, standard, version, rows:BIGINT")),
    "quarantine": Table("隔离区：地址、未通过规则和整改状态，不含数据值", "Quarantine: addresses, failed rules and what became of them, no values", _columns(quarantine_states.COLUMNS)),
    "batches": Table("报送批次", "Batches", _of_ledger(tables.batches)),
    "files": Table("报送文件：每个文件、压缩包成员和工作表如何读取", "How each file, archive member and sheet was read", _of_ledger(tables.files)),
    "steps": Table("处理步骤", "Steps of processing", _of_ledger(tables.steps, ("id",))),
    "rule_results": Table("每批每规则的检验结果", "Results per batch and rule", _of_ledger(tables.rule_results)),
    "rule_counts": Table("每批每区划每规则的计数", "Counts per batch, division and rule", _columns(
        "batch_id, revision:INTEGER, region, rule, applicable:BIGINT, failed:BIGINT, repaired:BIGINT, waived:BIGINT"),
        kept=_of_ledger(tables.region_counts), unpack=region_counts.unpacked_sql),
    "releases": Table("历次发布", "Releases", _of_ledger(tables.releases, ("left_at",))),
    "release_datasets": Table("每次发布的数据版本", "Versions of the datasets in each release", _of_ledger(tables.release_datasets)),
    "closings": Table("关账：哪些月份已关账，以哪次发布为准", "Closed months: which release each stands for", _of_ledger(tables.closings, ("id",))),
    "withdrawals": Table("撤回：不再发布的记录数、依据和文号", "Withdrawn records: dataset, legal basis and decision", _of_ledger(tables.withdrawals, ("id", "key"))),
    "checks": Table("批次之外的检查结果：跨数据资源、来源一致、历史、时效、新值", "Results of checks beyond one batch: across datasets, agreement, history, timeliness, new codes",
                    _of_ledger(tables.checks)),
    "check_counts": Table("批次之外的检查按区划计数", "Counts of those checks by division", _of_ledger(tables.check_counts)),
    "profiles": Table("每批每字段的填报数和取值数", "Filled cells and distinct values per batch and column", _of_ledger(tables.profiles)),
    "profile_values": Table("每批代码字段的取值计数", "Counts of codes per batch and column", _of_ledger(tables.profile_values)),
    "accepted_values": Table("新值认定：代码表之外认定的代码和文号", "Codes accepted for this lake beyond the published lists, and the documents", _of_ledger(tables.accepted_values, ("id",))),
    "new_values": Table("新值：代码表之外、尚待认定的代码", "Codes that their list does not hold, per batch and column", _of_ledger(tables.new_values)),
    "signals": Table("疑似编造数据的线索，非结论", "Leads of made-up data, never a verdict", _of_ledger(tables.signals)),
    # Officers' names stay in the ledger.
    "problems": Table("问题单：每条规则、数据资源和部门一张，自何时、谁负责、到何时", "Problems: one per rule, dataset and department", _of_ledger(tables.problems, ("changed_by",))),
    "problem_events": Table("问题单的每次变更", "Every change of every problem", _of_ledger(tables.problem_events, ("id", "by"))),
    "waivers": Table("豁免：规则、报送渠道、依据文件和期限", "Waivers: rule, source, document and expiry", _of_ledger(tables.waivers, ("granted_by",))),
    "approvals": Table("对扣留批次的裁定", "Decisions about held batches", _of_ledger(tables.approvals, ("id", "decided_by"))),
    "alerts": Table("发给部门的通知：只有计数", "Messages to departments: counts only", _of_ledger(tables.alerts, ("id",))),
    "feedback": Table("反馈包：每批退回部门的行数、位置和更正情况", "Feedback packs: rows returned to the department, where they lie, which revision corrects them",
                      _of_ledger(tables.feedback, ("id",))),
    # Which rows a grant holds may name persons by pseudonym: that stays in the ledger too.
    "grants": Table("授权：给谁（角色）、哪些字段、为何、到何时", "Grants: to which role, which columns, what for, until when", _of_ledger(tables.grants, ("rows", "reader_group", "granted_by"))),
    "exports": Table("导出：谁、何时、为何、多少行、读了哪些视图，不含查询中的值", "Exports: who, when, what for, how many rows, which views; no value of the query", _of_ledger(tables.exports)),
    "reidentification": Table("可链接性：公开给分析员的字段组合有多小，只有计数", "Linkability: how small the groups are that county, year of birth, sex and codes make; counts only", _columns(
        "dataset, columns, groups:BIGINT, smallest:BIGINT, rows_in_small_groups:BIGINT, rows:BIGINT, counted_share:DOUBLE")),
    "lineage": Table("血缘：每个发布字段来自哪些契约字段，在哪个子句中读取", "Lineage: which contract columns every published column is made of, and in which clause", _columns(
        "view, column, source_view, source_column, clause, classification")),
    "views": Table("视图分级：所读字段中最高的分级", "Views: the classification of the most sensitive column that each reads", _columns("view, classification, raised_by")),
    "inbox": Table("收件箱中未接收的文件：原因和处理办法", "What is left in the inbox: why, and what to do", _of_ledger(tables.inbox)),
}


def export(con: duckdb.DuckDBPyConnection, lake: Lake, project: Project, plans: dict[str, Plan], ledger: Ledger,
           manifest: dict[str, Any], folder: Path, withdrawn: dict[str, list[str]], states: dict[str, Current]) -> dict[str, Path]:
    """Write every governance table into `folder`; returns table → file.

    Args:
        withdrawn: dataset → keys of records whose pseudonym is not shown in `quarantine` either.
        manifest: the release being made; its own rows are added to `releases` and `release_datasets`.
        states: dataset → its derived current state, whose footers tell how full its columns are.
    """
    from pipelines import classification  # which reads the tables declared here

    lists = reference.lists(project)
    rows = declared_rows(project, plans, manifest["relations"]) | {
        "lists": [{"list": one.list, "name": one.name, "name_en": one.name_en, "standard": one.standard,
                   **{k: manifest["relations"][f"reference.{one.list}"][k] for k in ("version", "rows")}} for one in lists],
    } | ledger_tables(ledger) | {
        "reidentification": [row for found in manifest["reidentification"].values() for row in found],
        "lineage": classification.rows(plans.values(), manifest["views"]), "views": classification.view_rows(plans.values(), manifest["views"])}
    release, pinned = ledger_rows(manifest)
    n = release["release_id"]
    rows["releases"] = [r | {"state": "kept" if r["state"] == "published" else r["state"]} for r in rows["releases"] if r["release_id"] != n] + [release]
    rows["release_datasets"] = [r for r in rows["release_datasets"] if r["release_id"] != n] + pinned
    files = {table: folder / f"{table}.parquet" for table in TABLES}
    declared = rows.pop("columns")
    for table, found in rows.items():
        _write(con, TABLES[table], found, files[table])
    items, notes = data_items.complete(con, plans, states, declared, manifest["views"], manifest["relations"], files, rows.get("lineage", ()))
    _write(con, TABLES["columns"], items, files["columns"])
    _write(con, TABLES["usage_notes"], notes, files["usage_notes"])
    quarantine_states.write(con, lake, plans, rows["batches"], rows["feedback"], manifest["created_at"], files["quarantine"], withdrawn)
    return files


def declared_rows(project: Project, plans: dict[str, Plan], relations: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Governance rows that contracts and rules declare.

    Args:
        relations: dataset → its entry in a release manifest; a dataset that has none is not published yet.
    """
    standards = {one.list: one.standard for one in reference.lists(project)}
    return {
        "datasets": [_dataset(plan, relations.get(d, {})) for d, plan in plans.items()],
        "columns": [row for plan in plans.values() for row in _dataset_columns(plan, standards)],
        "rules": [row for plan in plans.values() for row in _rules(plan)],
        "sources": [row for plan in plans.values() for row in _sources(plan)],
    }


def ledger_tables(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Governance rows that are the ledger's own."""
    return {table: ledger.rows(sa.select(source)) for table, source in LEDGER.items()}


def ledger_rows(manifest: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rows of `releases` and `release_datasets` that a release adds to the ledger."""
    release = {"release_id": manifest["release_id"], "created_at": manifest["created_at"], "state": "published",
               "reason": manifest["reason"], "manifest_hash": manifest["fingerprint"]}
    pinned = [{"release_id": manifest["release_id"], "dataset": d, "version": r["version"], "rows": r["rows"],
               "stale_rows": r["stale_rows"], "disagreements": r["disagreements"], "as_of": r["as_of"]}
              for d, r in manifest["relations"].items() if r["kind"] == "dataset"]
    return release, pinned


def _write(con: duckdb.DuckDBPyConnection, table: Table, rows: Iterable[dict[str, Any]], file: Path) -> None:
    with typed(con, table, rows) as select:
        con.execute(f"COPY ({select}) TO {text(file)} (FORMAT parquet, COMPRESSION zstd)")


@contextmanager
def typed(con: duckdb.DuckDBPyConnection, table: Table, rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A SELECT that yields `rows` with the declared columns and types, while the block runs.

    Through Arrow: DuckDB's executemany takes a millisecond a row. DATE comes as ISO text.
    """
    con.register("exported", arrow(rows, table.kept or table.columns))
    try:
        found = f"({table.unpack('exported')})" if table.unpack else "exported"
        yield f"SELECT {', '.join(f'{name(n)}::{kind} AS {name(n)}' for n, kind in table.columns)} FROM {found}"
    finally:
        con.unregister("exported")


def arrow(rows: Iterable[dict[str, Any]], columns: str | tuple[tuple[str, str], ...]) -> Any:
    """Rows as an Arrow table of these columns, given as pairs or as `"dataset, rows:BIGINT"`."""
    import pyarrow as pa

    kinds = {"INTEGER": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
    pairs = _columns(columns) if isinstance(columns, str) else columns
    return pa.Table.from_pylist(list(rows), schema=pa.schema([(n, kinds.get(kind, pa.string())) for n, kind in pairs]))


def _dataset(plan: Plan, relation: dict[str, Any]) -> dict[str, Any]:
    d = plan.dataset
    catalogue, sla = dict(d.catalogue), {p: (value, unit) for p, value, unit in d.sla}
    every, unit = sla["frequency"]
    grades = "、".join(sorted({c.strictest for c in d.columns}, key=("public", "internal", "personal", "sensitive").index))
    return {
        "dataset": d.id, "view": d.id, "domain": d.domain, "catalogue_name": d.name, "data_items": "、".join(c.zh for c in d.columns),
        "provider": "、".join(s.department for s in d.sources), "data_format": "、".join(sorted({s.database.dialect if s.database else s.format for s in d.sources})),
        "update_frequency": f"{every:g} {unit}", "share_class": catalogue["share_class"], "share_mode": catalogue["share_mode"],
        "usage_conditions": d.usage, "grading": f"{catalogue['grade']}（{grades}）", "category": catalogue["category"],
        "share_condition": catalogue["share_condition"], "refuse_basis": catalogue.get("refuse_basis"),
        "provider_uscc": "、".join(s.uscc for s in d.sources), "provider_notes": "；".join(f"{s.source}：{s.note}" for s in d.sources if s.note),
        "purpose": d.purpose, "limitations": d.limitations, "load": d.load,
        "sla_days": sla.get("latency", (None,))[0], "contract_version": d.version,
        **{k: relation.get(k) for k in ("contract_hash", "version", "as_of", "rows", "withheld_rows", "stale_rows", "disagreements")},
    }


def _sources(plan: Plan) -> list[dict[str, Any]]:
    sla = {p: (value, unit) for p, value, unit in plan.dataset.sla}
    every, unit = sla["frequency"]
    return [{"dataset": plan.dataset.id, "source": s.source, "department": s.department, "uscc": s.uscc, "rank": s.rank,
             "frequency": f"{every:g} {unit}", "sla_days": sla.get("latency", (None,))[0]} for s in plan.dataset.sources]


def _rules(plan: Plan) -> list[dict[str, Any]]:
    declared = {r.rule: r for r in plan.business}
    found = [_across(plan, rule) for rule in plan.across]
    for rule in plan.rules:
        business = declared.get(rule.rule)
        found.append({**rule.public(), "dataset": plan.dataset.id, "why": business and business.reason, "changes": business and _changes(business)})
    return found


def _changes(rule: Rule) -> str | None:
    return "；".join(f"{day}：{limit:g}，{reason}" for day, limit, reason in rule.changes) or None


def _across(plan: Plan, rule: Rule) -> dict[str, Any]:
    """A rule that reads other datasets: a breach of `block` stops the release."""
    keys = ("rule", "zh", "en", "indicator", "severity", "at_least", "owner")
    return {"dataset": plan.dataset.id, "on_breach": "stop" if rule.severity == "block" else "report", "why": rule.reason, "changes": _changes(rule),
            "reads": ", ".join(rule.reads), **{k: getattr(rule, k) for k in keys}}


def _dataset_columns(plan: Plan, standards: dict[str, str]) -> list[dict[str, Any]]:
    given: dict[str, list[str]] = {}
    for one in masks.published(plan):
        given.setdefault(one.source_column, []).append(one.name)
    found = []
    for c in plan.dataset.columns:
        kind, mask = plan.type(c.name), masks.mask_of(plan, c)
        code_list = kind.parameter if kind.name == "code" else None
        words = masks.MASKS[mask]
        found.append({
            "dataset": plan.dataset.id, "column": c.name, "zh": c.zh, "en": c.en, "semantic_type": c.type, "code_list": code_list,
            "standard": standards.get(code_list) or kind.standard, "primary_key": c.primary_key, "required": c.required, "classification": c.strictest,
            "mask": mask, "mask_words": f"{words.zh} — {words.en}", "published_as": ", ".join(given.get(c.name, ())) or None})
    return found
