"""Numbers and money (macros/amounts.sql)."""
from __future__ import annotations

from pipelines.semantics.model import Check, SemanticType

_NUMBER = Check("number", "{column}是数字", "{column} is a number", "0302", "5,000000")
_FORM = "regexp_full_match({raw}, '-?[0-9]+(\\.[0-9]+)?')"
_MISSING = ("", "无", "N/A", "-")


def _money(unit: str, physical: str, examples: tuple[tuple[str, str | None], ...]) -> SemanticType:
    return SemanticType(
        name="money", parameter=unit, physical=physical, classification="public",
        clean_sql="clean_number({raw})", value_sql=f"_money_{unit}_value({{cleaned}})", reason_sql="_amount_check({cleaned}, {value})",
        form_sql=_FORM,
        checks=(_NUMBER, Check("unit", "{column}的单位明确", "{column} has a unit that is certain", "0302", "100(万颗)")),
        must_pass=examples, must_miss=_MISSING,
    )


WAN = _money("wan", "DECIMAL(18,6)", (
    ("100(万元人民币)", "100.000000"), ("12.8000(万美元)", "12.800000"), ("1,165(万元人民币)", "1165.000000"), ("500（万元）", "500.000000"),
    ("90()", "90.000000"), ("60万人民币", "60.000000"), ("9(人民币元)", "0.000900"), ("0.2", "0.200000"), ("￥1,000.5", "1000.500000"),
    ("300(万元(人民币))", "300.000000"), ("376.2200(万元(美元))", "376.220000"), ("5( 万人民币元)", "5.000000"), ("2,124(万德国马克)", "2124.000000"),
    ("１００", "100.000000"), ("-1e-05", "-0.000010"), ("1.5亿元", "15000.000000"), ("0", "0.000000")))

YUAN = _money("yuan", "DECIMAL(18,2)", (
    ("2000", "2000.00"), ("2,000.00", "2000.00"), ("2000元", "2000.00"), ("0.2万元", "2000.00"), ("￥ 35.5", "35.50")))

INTEGER = SemanticType(
    name="integer", physical="BIGINT", classification="public",
    clean_sql="clean_number({raw})", value_sql="_integer_value({cleaned})", reason_sql="_number_check({cleaned}, {value})", form_sql=_FORM,
    checks=(_NUMBER,), must_pass=(("12", "12"), ("1,200", "1200"), ("12.0", "12"), ("-3", "-3"), ("0", "0")), must_miss=_MISSING,
)


def decimal(precision_and_scale: str) -> SemanticType:
    """A plain number stored as DECIMAL(p,s); `precision_and_scale` is `p,s`."""
    precision, _, scale = precision_and_scale.partition(",")
    if not (precision.strip().isdigit() and scale.strip().isdigit() and 0 < int(precision) <= 38 and int(scale) < int(precision)):
        raise ValueError(f"decimal needs (precision,scale) with scale < precision <= 38, got ({precision_and_scale})")
    physical = f"DECIMAL({int(precision)},{int(scale)})"
    return SemanticType(
        name="decimal", parameter=precision_and_scale, physical=physical, classification="public",
        clean_sql="clean_number({raw})", value_sql=f"try_cast(_number_text({{cleaned}}) AS {physical})",
        reason_sql="_number_check({cleaned}, {value})", form_sql=_FORM,
        checks=(_NUMBER,), must_pass=(("1", f"{1:.{int(scale)}f}"), ("-2", f"{-2:.{int(scale)}f}")), must_miss=_MISSING,
    )


TYPES = (WAN, YUAN, INTEGER)
