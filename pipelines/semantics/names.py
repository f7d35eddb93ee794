"""Names, addresses, document numbers and running text (macros/names.sql, macros/text.sql)."""
from __future__ import annotations

from pipelines.semantics.model import SAME, Check, SemanticType, characters, masked

_MISSING = ("", " 　", "NULL", "\\N", "无", "暂无", "不详", "—", "0")


# Han without the characters that lost text is made of; a name that begins as a placeholder does is looked at closely.
_HAN = r"\x{4E00}-\x{5C6E}\x{5C70}-\x{70EA}\x{70EC}-\x{951E}\x{9520}-\x{9FFF}"
_IN_NAMES = r"[\x{3400}-\x{4DBF}\x{4E00}-\x{67CF}\x{67D1}-\x{951E}\x{9520}-\x{9FFF}\x{20000}-\x{3FFFF}]"
_FIRST = r"[^暂没无不未待其测同见空某锟\x00-\x{33FF}\x{4DC0}-\x{4DFF}\x{A000}-\x{1FFFF}\x{40000}-\x{10FFFF}]"


def _braced(sql: str) -> str:
    """A template from SQL with RAW for the cell and braces of its own."""
    return sql.replace("{", "{{").replace("}", "}}").replace("RAW", "{raw}")


def _plain(letters: str, longest: int) -> str:
    """Text too long for a placeholder (12 bytes) that holds nothing but `letters`."""
    return _braced(f"strlen(RAW) BETWEEN 13 AND {longest} AND regexp_full_match(RAW, '[{letters}]+')")


def _length(bounds: str, example: str) -> Check:
    return Check("length", "{column}长度合理（" + bounds + "字）", "{column} has a plausible length (" + bounds + " characters)", "0302", example)


PERSON_NAME = SemanticType(
    name="person_name", physical="VARCHAR", classification="personal",
    clean_sql="clean_person_name({raw})", reason_sql="_person_name_reason({cleaned})", form_sql=SAME,
    plain_sql=_braced(f"regexp_full_match(RAW, '{_FIRST}{_IN_NAMES}{{1,3}}(·{_IN_NAMES}{{1,12}})?')"),
    checks=(masked("张**"), characters("王?明"), _length("2–50", "张")),
    must_pass=(("张 三", "张三"), ("阿依古丽.买买提", "阿依古丽·买买提"), ("迪丽•拜尔", "迪丽·拜尔"), ("䶮𠮷", "䶮𠮷"), ("JOHN  SMITH", "JOHN SMITH"),
               ("\u200b李　四", "李四"), ("待业", "待业")),
    must_miss=(*_MISSING, "未知"),
)

ORG_NAME = SemanticType(
    name="org_name", physical="VARCHAR", classification="public",
    clean_sql="clean_org_name({raw})", reason_sql="_org_name_reason({cleaned})", form_sql=SAME, plain_sql=_plain(f"{_HAN}（）·0-9A-Z", 200),
    checks=(masked("***"), characters("银川市锟斤拷有限公司"), _length("2–200", "公")),
    must_pass=(("凤凰(宁夏) 科技有限公司", "凤凰（宁夏）科技有限公司"), ("无锡第四机床电器有限公司", "无锡第四机床电器有限公司"),
               ("宁夏ＡＢＣ有限公司", "宁夏ABC有限公司"), ("91640104MA75ABC132", "91640104MA75ABC132")),
    must_miss=_MISSING,
)

NAME_LIST = SemanticType(
    name="name_list", physical="VARCHAR", classification="internal",
    clean_sql="clean_name_list({raw})", value_sql="_name_list_value({cleaned})", reason_sql="_text_reason({cleaned})",
    checks=(characters("甲公司;乙\ufffd公司"),),
    must_pass=(("甲公司,乙公司", "甲公司；乙公司"), (",甲公司；；甲公司", "甲公司")), must_miss=_MISSING,
)

ADDRESS = SemanticType(
    name="address", physical="VARCHAR", classification="internal",
    clean_sql="clean_address({raw})", reason_sql="_address_reason({cleaned})", form_sql=SAME, plain_sql=_plain(f"{_HAN}0-9A-Za-z（）#-", 500),
    checks=(masked("银川市兴庆区****"), characters("银川市□□路1号"), _length("2–500", "银")),
    must_pass=(("银川市 解放西街１２号", "银川市解放西街12号"), ("银川市解放西街12号", "银川市解放西街12号")), must_miss=_MISSING,
)

DOCUMENT_NO = SemanticType(
    name="document_no", physical="VARCHAR", classification="internal",
    clean_sql="clean_document_no({raw})", reason_sql="_document_no_reason({cleaned}, {as_of})", form_sql=SAME,
    checks=(
        characters("宁市监罚\ufffd号"),
        Check("format", "{column}不是科学计数法", "{column} is not in scientific notation", "0302", "2.0210908E+11"),
        Check("year", "{column}的年份在1949年至报送年之间", "{column} holds a year from 1949 to the batch date's", "0302", "宁市监罚〔2099〕12号"),
    ),
    must_pass=(("宁市监罚[2026]12号", "宁市监罚〔2026〕12号"), ("宁市监罚（２０２６）12 号", "宁市监罚〔2026〕12号"),
               ("(2022)豫0724执恢54号", "（2022）豫0724执恢54号"), ("JY16401040012345", "JY16401040012345")),
    must_miss=(*_MISSING, "[]号"),
)


def _running(kind: str) -> SemanticType:
    return SemanticType(
        name=kind, physical="VARCHAR", classification="internal",
        clean_sql="clean_text({raw})", reason_sql="_text_reason({cleaned})", form_sql=SAME,
        plain_sql=_plain(_HAN + r"0-9A-Za-z（）()，。、；：“”《》〔〕【】·,.;:/%+=#-", 1 << 20),
        checks=(characters("罚款锟斤拷元"),),
        must_pass=(("罚款2000元", "罚款2000元"), ("未按规\n定 公示\t年报", "未按规定公示年报"), ("ABC  Ltd", "ABC Ltd")), must_miss=_MISSING,
    )


TYPES = (PERSON_NAME, ORG_NAME, NAME_LIST, ADDRESS, DOCUMENT_NO, _running("text"), _running("narrative"))
