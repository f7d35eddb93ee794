"""What a department reads of a failing row: which fields, which rule, what to correct. Chinese first, English beside."""
from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.compiler import CONFLICT, Plan, PlannedRule
from pipelines.contract import Column
from pipelines.semantics import reference
from pipelines.settings import Project

LINE = "line."
_LINES = {      # readers' reasons for which a line cannot be read
    "width": ("列数与表头不符", "the line has too few or too many cells"), "quote": ("引号未配对", "a quote is not closed"),
    "encoding": ("含无法识别的字符", "it holds bytes that are no character"), "nul": ("含空字符", "it holds a NUL"),
    "cut": ("文件末行不完整", "the last line is cut"), "json": ("不是完整的 JSON 记录", "it is no JSON object"),
    "repeat": ("重复的字段名或表头", "it names a field twice, or is the header again")}
_WHOLE_ROW = ("请按各列填写完整的一行，原文见“原文”列；该行不是数据的，在“处理”列填“删除”", "fill in the whole row, column by column; write 删除 under 处理 when it is no record")
_REASONS = {    # semantic types' reasons
    "required": ("请填写", "fill it in"), "masked": ("请填写完整内容，不要用星号遮盖", "give it whole, without asterisks"),
    "length": ("位数或长度不符，请核对后填写完整", "wrong length: check it and give it whole"),
    "format": ("写法不符，请核对原件后更正（科学计数法会丢失数字）", "wrong form: check the original; scientific notation has lost digits"),
    "checksum": ("校验码不符，请核对原件后更正", "the check digit does not fit: check the original"),
    "org_checksum": ("主体标识码校验不符，请核对原件后更正", "the 17th character does not fit: check the original"),
    "code": ("请改为代码表内的代码", "give a code of the list"), "obsolete": ("代码已停用，请改为现行代码", "give the code in force"),
    "region": ("前两位不是省级代码，请核对原件", "it begins with no province: check the original"),
    "nationality": ("国籍代码不存在，请核对原件", "its nationality does not exist: check the original"),
    "birth_date": ("所含出生日期不存在或晚于报送日，请核对原件", "its birth date does not exist: check the original"),
    "sequence": ("顺序码无效，请核对原件", "its sequence number is not assigned: check the original"),
    "date": ("请填写存在的日期，如 2026-01-31", "give a calendar date such as 2026-01-31"),
    "future": ("日期过晚，请核对", "the date is too late: check it"), "range": ("超出合理范围，请核对", "out of range: check it"),
    "month": ("请填写存在的年月，如 2026-01", "give a month such as 2026-01"), "year": ("所含年份不合理，请核对", "its year is not plausible: check it"),
    "timestamp": ("请填写存在的时间，如 2026-01-31 10:00:00", "give a time such as 2026-01-31 10:00:00"),
    "number": ("请填写数字", "give a number"), "unit": ("请注明单位，或按约定单位填写数字", "state the unit"),
    "characters": ("含乱码、缺字或异常字符，请重新录入", "characters were lost: enter it again")}


@dataclass(frozen=True)
class Words:
    """What is said of one rule."""

    rule: str
    fields: str
    says: str
    remedy: str


def of(plan: Plan, project: Project) -> list[Words]:
    """The words of every rule of a dataset, and of every reason for which a line cannot be read."""
    lists = {one.list: f"{one.name}（{one.standard}）" for one in reference.declared(project)}
    lines = [Words(LINE + reason, "整行", f"{zh} — {en}", " — ".join(_WHOLE_ROW)) for reason, (zh, en) in _LINES.items()]
    return lines + [Words(r.rule, _fields(plan, r), f"{r.zh} — {r.en}", _remedy(plan, r, lists)) for r in plan.rules]


def _fields(plan: Plan, rule: PlannedRule) -> str:
    if rule.column:
        return plan.dataset.column(rule.column).zh
    if rule.rule == CONFLICT:
        return "、".join(plan.dataset.column(c).zh for c in dict.fromkeys((*plan.dataset.key, *plan.dataset.identity)))
    declared = next(r for r in plan.business if r.rule == rule.rule)
    named = set(re.findall(r"\w+", f"{declared.holds} {declared.when or ''}"))
    return "、".join(c.zh for c in plan.dataset.columns if c.name in named) or "整行"


def _remedy(plan: Plan, rule: PlannedRule, lists: dict[str, str]) -> str:
    if rule.column:
        return _of_column(plan, plan.dataset.column(rule.column), rule.reason or "", lists)
    if rule.rule == CONFLICT:
        return ("同一主键的多行在上述字段不一致：更正有误的行，多余的行在“处理”列填“删除” — "
                "rows of one key disagree: correct the wrong ones, write 删除 under 处理 for those that do not belong")
    declared = next(r for r in plan.business if r.rule == rule.rule)
    return f"请核对“{_fields(plan, rule)}”并更正，使“{rule.zh}”成立。依据：{declared.reason} — make it hold that {rule.en}"


def _of_column(plan: Plan, column: Column, reason: str, lists: dict[str, str]) -> str:
    zh, en = _REASONS.get(reason, ("请核对后更正", "check and correct it"))
    kind = plan.type(column.name)
    named = f"：{lists[kind.parameter]}" if reason == "code" and kind.parameter in lists else ""
    example = next((sent for sent, value in kind.must_pass if sent == value and sent.isascii()), None) if reason in ("required", "length", "format") else None
    shape = f"；写法如 {example}" if example and kind.pseudonym_kind is None else ""
    return f"{column.zh}：{zh}{named}{shape} — {column.name}: {en}"
