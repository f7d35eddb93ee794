"""Identifiers of persons and organisations: GB 11643, GB 32100, GB 11714, GS 15 (macros/identifiers.sql)."""
from __future__ import annotations

from pipelines.semantics.model import SAME, Check, SemanticType, characters, masked

_MISSING = ("", "  ", "无", "N/A", "000000000000000000", "--")

def _resident_id(parameter: str | None) -> SemanticType:
    judged = "{cleaned}, {as_of}" if parameter is None else "{cleaned}, {as_of}, false"
    sequence = (Check("sequence", "{column}的顺序码有效", "{column} holds an assigned sequence number", "0302", "110105199001010002"),)
    return SemanticType(
        name="resident_id", parameter=parameter, physical="VARCHAR", standard="GB 11643-1999", classification="personal", pseudonym_kind="person",
        clean_sql="clean_resident_id({raw})", value_sql="_resident_id_value({cleaned})",
        reason_sql=f"_resident_id_check({judged})", repair_sql="_resident_id_repair({cleaned}, {reason}, {as_of})",
        form_sql=SAME, plain_sql="_plain_resident_id({raw}, {as_of})",
        checks=(
            masked("330203************"),
            Check("length", "{column}为18位或15位", "{column} has 18 or 15 characters", "0101", "11010549123100"),
            Check("format", "{column}由数字组成，末位可为X", "{column} is digits, the last one possibly X", "0302", "1.10105194912310E+17"),
            Check("checksum", "{column}的校验码正确（GB 11643-1999）", "{column} has the right check digit (GB 11643-1999)", "0302", "110105194912310021"),
            Check("region", "{column}的省级代码存在", "{column} begins with a province that exists", "0105", "990105199001010014"),
            Check("nationality", "{column}的国籍代码存在（ISO 3166）", "{column} holds a nationality that exists (ISO 3166)", "0105", "964999197503150175"),
            Check("birth_date", "{column}的出生日期存在且不晚于报送日", "{column} holds a real birth date, not after the batch date", "0302", "110105194902310026"),
            *(sequence if parameter is None else ()),
        ),
        must_pass=(("11010519491231002X", "11010519491231002X"), ("11010519491231002x", "11010519491231002X"),
                   ("１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X"), (" '110105 19491231-002X\t", "11010519491231002X"),
                   ("110105491231002", "11010519491231002X"), ("330104199001010154", "330104199001010154"),
                   ("830000199003070035", "830000199003070035"), ("911124198108030024", "911124198108030024"),
                   ("USA640175031519", "USA640175031519"), *((("110105199001010002", "110105199001010002"),) if parameter else ())),
        must_miss=(*_MISSING, "111111111111111111", "123456789012345678"),
    )


RESIDENT_ID, RESIDENT_ID_LENIENT = _resident_id(None), _resident_id("lenient")


def _uscc(parameter: str | None) -> SemanticType:
    strict = str(parameter is None).lower()
    inner = (Check("org_checksum", "{column}第17位（主体标识码校验）正确（GB 11714-1997）",
                   "{column} has the right 17th character (GB 11714-1997)", "0302", "91640104123456780R"),)
    return SemanticType(
        name="uscc", parameter=parameter, physical="VARCHAR", standard="GB 32100-2015", classification="public",
        clean_sql="clean_uscc({raw})", reason_sql=f"_uscc_check({{cleaned}}, {strict})",
        repair_sql="_uscc_repair({cleaned}, {reason})", form_sql=SAME, plain_sql=f"_plain_uscc({{raw}}, {strict})",
        checks=(
            masked("9164**************"),
            Check("length", "{column}为18位", "{column} has 18 characters", "0101", "91640104MA75ABC13"),
            Check("format", "{column}只含GB 32100-2015规定的字符", "{column} holds only characters of GB 32100-2015", "0302", "91640104MAV5ABC132"),
            *(inner if parameter is None else ()),
            Check("checksum", "{column}的校验码正确（GB 32100-2015）", "{column} has the right check character (GB 32100-2015)", "0302", "91640104MA75ABC13A"),
        ),
        must_pass=(("91350100M000100Y43", "91350100M000100Y43"), ("91640104ma75abc132", "91640104MA75ABC132"),
                   ("N1640121MF000011XF", "N1640121MF000011XF"), ("９１６４０１０４MA75ABC132 ", "91640104MA75ABC132"),
                   *((("91640104123456780R", "91640104123456780R"),) if parameter else ())),
        must_miss=_MISSING,
    )


USCC, USCC_LENIENT = _uscc(None), _uscc("lenient")

ORG_CODE = SemanticType(
    name="org_code", physical="VARCHAR", standard="GB 11714-1997", classification="public",
    clean_sql="clean_org_code({raw})", reason_sql="_org_code_check({cleaned})", form_sql="{raw} = {value}",
    checks=(
        masked("D2143****"),
        Check("length", "{column}为9位", "{column} has 9 characters", "0101", "1616173"),
        Check("format", "{column}由数字和大写字母组成", "{column} is digits and capital letters", "0302", "D2143569张"),
        Check("checksum", "{column}的校验码正确（GB 11714-1997）", "{column} has the right check character (GB 11714-1997)", "0302", "D21435690"),
    ),
    must_pass=(("D2143569X", "D2143569X"), ("D2143569-X", "D2143569X"), ("m000100y4", "M000100Y4")),
    must_miss=_MISSING,
)

REG_NO = SemanticType(
    name="reg_no", physical="VARCHAR", standard="GS 15-2006", classification="public",
    clean_sql="clean_reg_no({raw})", reason_sql="_reg_no_check({cleaned})", form_sql=SAME,
    checks=(
        masked("6401**********9"),
        Check("length", "{column}为15位", "{column} has 15 digits", "0101", "3209231800598"),
        Check("format", "{column}由数字组成", "{column} is digits", "0302", "企合苏锡总字第0031"),
        Check("checksum", "{column}的校验码正确（GS 15-2006）", "{column} has the right check digit (GS 15-2006)", "0302", "310115600985535"),
    ),
    must_pass=(("310115600985533", "310115600985533"), ("１00000000000014", "100000000000014")),
    must_miss=_MISSING,
)

DOCUMENT_NUMBER = SemanticType(
    name="document_number", physical="VARCHAR", classification="personal", pseudonym_kind="person",
    clean_sql="clean_document_number({raw})", value_sql="_document_number_value({cleaned})",
    reason_sql="_document_number_check({cleaned}, {as_of})", repair_sql="_document_number_repair({cleaned}, {reason}, {as_of})",
    form_sql=SAME,
    checks=(
        masked("6401****"),
        Check("length", "{column}位数完整", "{column} is complete", "0101", "330203"),
        Check("format", "{column}是证件号码的写法", "{column} looks like a number of an identity document", "0302",
              "1.10105194912310E+17"),
        Check("checksum", "{column}若为身份号码或信用代码则有效", "{column} is valid where it is a resident number or a credit code", "0302",
              "110105194912310021"),
    ),
    must_pass=(("11010519491231002x", "11010519491231002X"), ("110105491231002", "11010519491231002X"), ("e12345678", "E12345678"),
               ("H12345678", "H12345678"), ("91640104MA75ABC132", "91640104MA75ABC132"), ("军字第1234567号", "军字第1234567号")),
    must_miss=_MISSING,
)

OPAQUE_ID = SemanticType(
    name="opaque_id", physical="VARCHAR",
    clean_sql="clean_opaque_id({raw})", reason_sql="_opaque_id_reason({cleaned})", form_sql=SAME,
    plain_sql="strlen({raw}) BETWEEN 6 AND 64 AND regexp_full_match({raw}, '[0-9A-DF-Za-df-z]+')",
    checks=(
        masked("AB12****"),
        Check("format", "{column}不是科学计数法", "{column} is not in scientific notation", "0302", "1.10105E+17"),
        characters("AB\ufffd12"),
    ),
    must_pass=(("ab-12/3", "ab-12/3"), ("０１２ ", "012"), ("'00123", "00123")),
    must_miss=("", "无", "NULL", "\\N", "0"),
)

TYPES = (RESIDENT_ID, RESIDENT_ID_LENIENT, USCC, USCC_LENIENT, ORG_CODE, REG_NO, DOCUMENT_NUMBER, OPAQUE_ID)
