-- Identifiers. Each has: clean_… (submitted text → text to judge, NULL = missing), _…_check (cleaned → first failing
-- reason, NULL = valid), and for analysts …_reason(any text) and is_…(any text). Check digits are integer arithmetic.

-- 公民身份号码 GB 11643-1999: Σ aᵢ·wᵢ mod 11, wᵢ = 2^(18-i) mod 11, over the first 17 digits.
-- With q_k = n // 10^k the digit is q_k − 10·q_(k+1); as −10 ≡ 1 (mod 11), Σ = 2·q₀ + Σ 3·2^k·q_k: half the divisions.
CREATE OR REPLACE MACRO _id17(id) AS try_cast(substr(id, 1, 17) AS bigint);
CREATE OR REPLACE MACRO _mod_11_2(id) AS
  (_id17(id) * 2 + _id17(id) // 10 * 6 + _id17(id) // 100 * 1 + _id17(id) // 1000 * 2 +
   _id17(id) // 10000 * 4 + _id17(id) // 100000 * 8 + _id17(id) // 1000000 * 5 + _id17(id) // 10000000 * 10 +
   _id17(id) // 100000000 * 9 + _id17(id) // 1000000000 * 7 + _id17(id) // 10000000000 * 3 + _id17(id) // 100000000000 * 6 +
   _id17(id) // 1000000000000 * 1 + _id17(id) // 10000000000000 * 2 + _id17(id) // 100000000000000 * 4 + _id17(id) // 1000000000000000 * 8 +
   _id17(id) // 10000000000000000 * 5) % 11;
-- 身份号码校验码 (由前 17 位算出)。The check character that the first 17 digits demand.
CREATE OR REPLACE MACRO resident_id_check_character(id) AS substr('10X98765432', 1 + _mod_11_2(id), 1);

-- Well-formed and plausible by pattern alone: province, calendar day (29 February is left to the slow path), sequence.
CREATE OR REPLACE MACRO _is_plain_resident_id(id) AS
  regexp_full_match(id, '(1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[123])[0-9]{4}(18[5-9]|19[0-9]|20[0-9])[0-9]((0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])(29|30)|(0[13578]|1[02])31)(00[1-9]|0[1-9][0-9]|[1-9][0-9]{2})[0-9X]');
CREATE OR REPLACE MACRO _is_province(p) AS
  regexp_full_match(p, '1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[123]');
CREATE OR REPLACE MACRO _compact_date(d) AS
  CASE WHEN d BETWEEN '18500101' AND '20991231' THEN try_strptime(d, '%Y%m%d')::date END;

-- 身份号码清洗; 占位值为 NULL。A resident number as it should have been typed; placeholders become NULL.
CREATE OR REPLACE MACRO clean_resident_id(x) AS
  CASE WHEN regexp_full_match(x, '[1-9][0-9]{5}(18|19|20)[0-9]{9}[0-9X]') THEN x
       WHEN regexp_full_match(x, '[1-9][0-9]{5}(18|19|20)[0-9]{9}x') THEN upper(x)
       ELSE clean_identifier(x) END;

-- 外国人永久居留证旧卡 15 位: 3 字母国籍 + 4 位地区 + 出生 YYMMDD + 1 + 校验 (权 7、3、1)。The old card of foreign permanent residents.
CREATE OR REPLACE MACRO _old_foreigner_check(c) AS
  CASE WHEN NOT list_contains(_country_aliases(), substr(c, 1, 3)) THEN 'nationality'
       WHEN NOT _is_province(substr(c, 4, 2)) THEN 'region'
       WHEN _compact_date('19' || substr(c, 8, 6)) IS NULL AND _compact_date('20' || substr(c, 8, 6)) IS NULL THEN 'birth_date'
       WHEN list_sum(list_transform(range(1, 15), lambda __i:
              (strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(c, __i, 1)) - 1) * [7, 3, 1][(__i - 1) % 3 + 1])) % 10
            <> try_cast(substr(c, 15, 1) AS integer) THEN 'checksum' END;

-- 15 位旧号码: no check digit; sequences 996-999 were centenarians of another century and cannot be converted alone.
CREATE OR REPLACE MACRO _old_resident_check(c) AS
  CASE WHEN NOT regexp_full_match(c, '[0-9]{15}') THEN 'format'
       WHEN NOT _is_province(substr(c, 1, 2)) THEN 'region'
       WHEN _compact_date('19' || substr(c, 7, 6)) IS NULL THEN 'birth_date'
       WHEN regexp_full_match(substr(c, 13, 3), '000|99[6-9]') THEN 'sequence' END;

-- strict: sequence 000, which is never assigned, is refused.
CREATE OR REPLACE MACRO _resident_id_problem(c, as_of, strict) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN _is_scientific(c) THEN 'format'
       WHEN regexp_full_match(c, '[A-Z]{3}[0-9]{12}') THEN _old_foreigner_check(c)
       WHEN length(c) = 15 THEN _old_resident_check(c)
       WHEN length(c) <> 18 THEN 'length'
       WHEN NOT regexp_full_match(c, '[0-9]{17}[0-9X]') THEN 'format'
       WHEN resident_id_check_character(c) <> substr(c, 18, 1) THEN 'checksum'
       WHEN substr(c, 1, 1) = '9' AND NOT _is_province(substr(c, 2, 2)) THEN 'region'
       WHEN CASE WHEN substr(c, 1, 1) = '9' THEN NOT list_contains(_country_aliases(), substr(c, 4, 3)) ELSE false END THEN 'nationality'
       WHEN substr(c, 1, 1) <> '9' AND NOT _is_province(substr(c, 1, 2)) THEN 'region'
       WHEN coalesce(_compact_date(substr(c, 7, 8)) > as_of, true) THEN 'birth_date'
       WHEN strict AND substr(c, 15, 3) = '000' THEN 'sequence' END;

-- Right at the first look: nothing to clean, to repair or to refuse. The check digit stands first: only there does the optimiser share the
-- seventeen casts (0.6 s instead of 3.2 s per 5 M rows).
CREATE OR REPLACE MACRO _plain_resident_id(c, as_of) AS
  suffix(c, ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'][1 + _mod_11_2(c)])
  AND _is_plain_resident_id(c) AND substr(c, 7, 8) <= strftime(as_of, '%Y%m%d');
CREATE OR REPLACE MACRO _resident_id_check
  (c, as_of) AS CASE WHEN _plain_resident_id(c, as_of) THEN NULL ELSE _resident_id_problem(c, as_of, true) END,
  (c, as_of, strict) AS CASE WHEN _plain_resident_id(c, as_of) THEN NULL ELSE _resident_id_problem(c, as_of, strict) END;

-- 15 位转 18 位: 插入 19, 补校验码。The 18-character form of a cleaned number.
CREATE OR REPLACE MACRO _resident_id_value(c) AS
  CASE WHEN strlen(c) = 18 THEN c
       WHEN regexp_full_match(c, '[0-9]{15}') THEN substr(c, 1, 6) || '19' || substr(c, 7)
            || resident_id_check_character(substr(c, 1, 6) || '19' || substr(c, 7))
       WHEN regexp_full_match(c, '[A-Z]{3}[0-9]{12}') THEN c END;

-- Letters typed for digits. At most two, every check must then pass and the county must have existed. Never 15 digits: nothing would prove it.
CREATE OR REPLACE MACRO _unconfused(c) AS translate(c, 'OILSZB', '011528');
CREATE OR REPLACE MACRO _resident_id_repair(c, reason, as_of) AS
  CASE WHEN reason = 'format' AND regexp_full_match(c, '[0-9OILSZB]{17}[0-9XOILSZB]')
            AND length(regexp_replace(c, '[0-9X]', '', 'g')) <= 2
            AND resident_id_check_character(_unconfused(c)) = substr(_unconfused(c), 18, 1)
            AND _is_plain_resident_id(_unconfused(c)) AND substr(_unconfused(c), 7, 8) <= strftime(as_of, '%Y%m%d')
            AND (_is_known_region(substr(_unconfused(c), 1, 6)) OR substr(_unconfused(c), 1, 6) IN ('810000', '820000', '830000'))
       THEN _unconfused(c) END;

-- 身份号码不合格的原因 (NULL 为合格)。Why a resident number is not valid; NULL when it is.
CREATE OR REPLACE MACRO resident_id_reason
  (x) AS _resident_id_check(clean_resident_id(x), current_date),
  (x, as_of) AS _resident_id_check(clean_resident_id(x), as_of);
-- 是否有效身份号码 (含港澳台居住证、外国人永久居留证、15 位旧号)。Is it a valid resident number on that date?
CREATE OR REPLACE MACRO is_resident_id
  (x) AS clean_resident_id(x) IS NOT NULL AND resident_id_reason(x) IS NULL,
  (x, as_of) AS clean_resident_id(x) IS NOT NULL AND resident_id_reason(x, as_of) IS NULL;
-- 18 位标准号码。The 18-character form of a valid number, NULL otherwise.
CREATE OR REPLACE MACRO resident_id_18(x) AS
  CASE WHEN resident_id_reason(x) IS NULL THEN _resident_id_value(clean_resident_id(x)) END;
-- 出生日期。Birth date in an 18-character number.
CREATE OR REPLACE MACRO resident_id_birth_date(id) AS
  CASE WHEN strlen(id) = 18 THEN _compact_date(substr(id, 7, 8)) END;
-- 性别代码 (GB/T 2261.1: 1 男 2 女)。Sex code in an 18-character number.
CREATE OR REPLACE MACRO resident_id_sex(id) AS
  CASE WHEN strlen(id) = 18 THEN CASE WHEN list_contains(['1', '3', '5', '7', '9'], substr(id, 17, 1)) THEN '1' ELSE '2' END END;
-- 首次登记地区划代码, 不是住址。County of first registration, never a residence; NULL for permits and foreigners.
CREATE OR REPLACE MACRO resident_id_region_code(id) AS
  CASE WHEN strlen(id) = 18 AND substr(id, 1, 1) BETWEEN '1' AND '7' THEN substr(id, 1, 6) END;
-- 指定日期的周岁年龄。Age in whole years on a date.
CREATE OR REPLACE MACRO resident_id_age(id, as_of) AS date_sub('year', resident_id_birth_date(id), as_of);

-- 统一社会信用代码 GB 32100-2015: 31 个字符 (无 I O S V Z)，权 3^(i-1) mod 31。Positions 9-17 are the organisation code.
CREATE OR REPLACE MACRO _digit8(code, k) AS try_cast(substr(code, 1, 8) AS integer) // (10 ** k)::integer % 10;
CREATE OR REPLACE MACRO _uscc_value(code, i) AS strpos('0123456789ABCDEFGHJKLMNPQRTUWXY', substr(code, i, 1)) - 1;
CREATE OR REPLACE MACRO _uscc_head(code) AS
  _digit8(code, 7) * 1 + _digit8(code, 6) * 3 + _digit8(code, 5) * 9 + _digit8(code, 4) * 27 + _digit8(code, 3) * 19 + _digit8(code, 2) * 26 + _digit8(code, 1) * 16 + _digit8(code, 0) * 17;
CREATE OR REPLACE MACRO _uscc_tail(code) AS
  _uscc_value(code, 9) * 20 + _uscc_value(code, 10) * 29 + _uscc_value(code, 11) * 25 + _uscc_value(code, 12) * 13 + _uscc_value(code, 13) * 8 + _uscc_value(code, 14) * 24 + _uscc_value(code, 15) * 10 + _uscc_value(code, 16) * 30 + _uscc_value(code, 17) * 28;
CREATE OR REPLACE MACRO _uscc_check_character(code, head) AS
  substr('0123456789ABCDEFGHJKLMNPQRTUWXY', 1 + (31 - (head + _uscc_tail(code)) % 31) % 31, 1);
-- Authorities A, N, Y: position 1 is a letter.
CREATE OR REPLACE MACRO _uscc_lettered_head(code) AS
  _uscc_value(code, 1) + _uscc_head('0' || substr(code, 2));
-- 统一社会信用代码校验码 (由前 17 位算出)。The check character that the first 17 characters demand.
CREATE OR REPLACE MACRO uscc_check_character(code) AS
  CASE WHEN substr(code, 1, 1) BETWEEN '0' AND '9' THEN _uscc_check_character(code, _uscc_head(code))
       ELSE _uscc_check_character(code, _uscc_lettered_head(code)) END;
-- 信用代码清洗; 占位值为 NULL。A credit code as it should have been typed; placeholders become NULL.
CREATE OR REPLACE MACRO clean_uscc(x) AS
  CASE WHEN regexp_full_match(x, '[1-9ANY][0-9]{7}[0-9A-Z]*[A-Z][0-9A-Z]*') THEN x ELSE clean_identifier(x) END;
CREATE OR REPLACE MACRO _is_plain_uscc(c) AS regexp_full_match(c, '[1-9ANY][0-9]{7}[0-9A-HJ-NPQRTUWXY]{10}');

-- 组织机构代码 GB 11714-1997: 8 位本体 + 校验，权 3 7 9 10 5 8 4 2。Eight characters and a check character.
CREATE OR REPLACE MACRO _org_value(code, i) AS strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(code, i, 1)) - 1;
CREATE OR REPLACE MACRO _org_code_check_character(code, skip) AS
  substr('0X987654321', 1 + (_org_value(code, 1 + skip) * 3 + _org_value(code, 2 + skip) * 7 + _org_value(code, 3 + skip) * 9 + _org_value(code, 4 + skip) * 10 + _org_value(code, 5 + skip) * 5 + _org_value(code, 6 + skip) * 8 + _org_value(code, 7 + skip) * 4 + _org_value(code, 8 + skip) * 2) % 11, 1);
-- 组织机构代码校验码 (由前 8 位算出)。The check character that the first 8 characters demand.
CREATE OR REPLACE MACRO org_code_check_character(code) AS _org_code_check_character(code, 0);
-- 组织机构代码清洗 (去连字符)。An organisation code without its hyphen; placeholders become NULL.
CREATE OR REPLACE MACRO clean_org_code(x) AS clean_identifier(x);
CREATE OR REPLACE MACRO _org_code_check(c) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN _is_scientific(c) OR regexp_matches(c, '[^0-9A-Z]') THEN 'format'
       WHEN length(c) <> 9 THEN 'length'
       WHEN NOT regexp_full_match(c, '[0-9A-Z]{8}[0-9X]') THEN 'format'
       WHEN org_code_check_character(c) <> substr(c, 9, 1) THEN 'checksum' END;

CREATE OR REPLACE MACRO _uscc_problem(c, strict) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN _is_scientific(c) OR regexp_matches(c, '[^0-9A-Z]') THEN 'format'
       WHEN length(c) <> 18 THEN 'length'
       WHEN NOT _is_plain_uscc(c) THEN 'format'
       WHEN strict AND _org_code_check_character(c, 8) <> substr(c, 17, 1) THEN 'org_checksum'
       WHEN uscc_check_character(c) <> substr(c, 18, 1) THEN 'checksum' END;
-- Both check characters in one comparison, and first: the look-ups of positions 9-16 are then shared.
CREATE OR REPLACE MACRO _right_uscc(c, strict) AS
  CASE WHEN strict THEN _org_code_check_character(c, 8) ELSE substr(c, 17, 1) END || _uscc_check_character(c, _uscc_head(c)) = substr(c, 17, 2)
  AND _is_plain_uscc(c);
-- Right at the first look. Digits alone may be a placeholder.
CREATE OR REPLACE MACRO _plain_uscc(c, strict) AS _right_uscc(c, strict) AND try_cast(c AS bigint) IS NULL;
CREATE OR REPLACE MACRO _uscc_check(c, strict) AS
  CASE WHEN _right_uscc(c, strict) THEN NULL ELSE _uscc_problem(c, strict) END;

-- I O S Z are outside the alphabet; L and B only where a digit must stand. At most two, and both check characters must pass.
CREATE OR REPLACE MACRO _uscc_unconfused(c) AS
  translate(substr(c, 1, 1), 'ILSZB', '11528') || translate(substr(c, 2, 7), 'OILSZB', '011528') || translate(substr(c, 9), 'OISZ', '0152');
CREATE OR REPLACE MACRO _uscc_repair(c, reason) AS
  CASE WHEN reason = 'format' AND length(c) = 18
            AND length(regexp_replace(substr(c, 1, 8), '[0-9]', '', 'g')) - (substr(c, 1, 1) IN ('A', 'N', 'Y'))::integer
              + length(regexp_replace(substr(c, 9), '[^OISZ]', '', 'g')) <= 2
            AND _uscc_problem(_uscc_unconfused(c), true) IS NULL
       THEN _uscc_unconfused(c) END;

-- 统一社会信用代码不合格的原因。Why a unified social credit code is not valid; NULL when it is.
CREATE OR REPLACE MACRO uscc_reason(x) AS _uscc_check(clean_uscc(x), true);
-- 同上，不查第 17 位。The same without the inner organisation code's check (a few early codes fail it).
CREATE OR REPLACE MACRO uscc_lenient_reason(x) AS _uscc_check(clean_uscc(x), false);
-- 是否有效统一社会信用代码。Is it a valid unified social credit code?
CREATE OR REPLACE MACRO is_uscc(x) AS clean_uscc(x) IS NOT NULL AND uscc_reason(x) IS NULL;
-- 信用代码中的组织机构代码 (9-17 位)，新旧记录的桥。The organisation code inside: bridge between old and new records.
CREATE OR REPLACE MACRO uscc_org_code(code) AS CASE WHEN strlen(code) = 18 THEN substr(code, 9, 9) END;
-- 登记机关区划 (3-8 位)。Division of the registering authority when the code was given.
CREATE OR REPLACE MACRO uscc_region_code(code) AS CASE WHEN strlen(code) = 18 THEN substr(code, 3, 6) END;

-- 组织机构代码不合格的原因; 是否有效。Why an organisation code is not valid; is it?
CREATE OR REPLACE MACRO org_code_reason(x) AS _org_code_check(clean_org_code(x));
CREATE OR REPLACE MACRO is_org_code(x) AS clean_org_code(x) IS NOT NULL AND org_code_reason(x) IS NULL;

-- 工商注册号 GS 15-2006: 14 位 + ISO 7064 MOD 11,10 校验。p ← 2·((p + d − 1) mod 10 + 1) mod 11 is the standard's step without its exception for 0.
CREATE OR REPLACE MACRO _mod_11_10_step(p, code, k) AS
  (((p + try_cast(code AS bigint) // (10 ** k)::bigint % 10 - 1) % 10 + 1) * 2) % 11;
CREATE OR REPLACE MACRO _mod_11_10(code) AS
  (_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(_mod_11_10_step(10, code, 14), code, 13), code, 12), code, 11), code, 10), code, 9), code, 8), code, 7), code, 6), code, 5), code, 4), code, 3), code, 2), code, 1) + try_cast(code AS bigint) % 10) % 10;
-- 注册号清洗。A licence number as it should have been typed; placeholders become NULL.
CREATE OR REPLACE MACRO clean_reg_no(x) AS clean_identifier(x);
CREATE OR REPLACE MACRO _reg_no_check(c) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN _is_scientific(c) THEN 'format'
       WHEN NOT regexp_full_match(c, '[0-9]+') THEN 'format'
       WHEN length(c) <> 15 THEN 'length'
       WHEN _mod_11_10(c) <> 1 THEN 'checksum' END;
-- 注册号不合格的原因; 是否有效。Why a business licence number is not valid; is it?
CREATE OR REPLACE MACRO reg_no_reason(x) AS _reg_no_check(clean_reg_no(x));
CREATE OR REPLACE MACRO is_reg_no(x) AS clean_reg_no(x) IS NOT NULL AND reg_no_reason(x) IS NULL;

-- 任意证件号码: 像身份号码的按身份号码判断，像信用代码的按信用代码判断。Number of any identity document: what looks like a resident number or a credit code is judged as one.
CREATE OR REPLACE MACRO _looks_like_resident_id(c) AS regexp_full_match(c, '[0-9]{17}[0-9X]');
CREATE OR REPLACE MACRO _looks_like_uscc(c) AS strlen(c) = 18 AND _is_plain_uscc(c) AND NOT _looks_like_resident_id(c);
-- 证件号码清洗。A document number as it should have been typed; placeholders become NULL.
CREATE OR REPLACE MACRO clean_document_number(x) AS clean_resident_id(x);
CREATE OR REPLACE MACRO _document_number_check(c, as_of) AS
  CASE WHEN suffix(c, ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'][1 + _mod_11_2(c)])
            AND _is_plain_resident_id(c) AND substr(c, 7, 8) <= strftime(as_of, '%Y%m%d') THEN NULL
       WHEN c IS NULL THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN _is_scientific(c) THEN 'format'
       WHEN _looks_like_resident_id(c) THEN CASE WHEN _resident_id_problem(c, as_of, true) IS NULL THEN NULL ELSE 'checksum' END
       WHEN _looks_like_uscc(c) THEN CASE WHEN _uscc_problem(c, false) IS NULL THEN NULL ELSE 'checksum' END
       WHEN regexp_full_match(c, '[0-9]{1,6}|[0-9]{11,14}|[0-9]{16,17}|[0-9]{19,}|[0-9A-Z]{17}') THEN 'length'
       WHEN regexp_full_match(c, '[0-9]{15}') THEN CASE WHEN _old_resident_check(c) IS NULL OR _mod_11_10(c) = 1 THEN NULL ELSE 'format' END
       WHEN regexp_full_match(c, '[0-9OILSZB]{17}[0-9XOILSZB]') THEN 'format'
       WHEN NOT regexp_full_match(c, '[0-9A-Z()（）\x{4E00}-\x{9FFF}]{4,30}') THEN 'format' END;
CREATE OR REPLACE MACRO _document_number_value(c) AS
  CASE WHEN strlen(c) = 15 AND regexp_full_match(c, '[0-9]{15}') AND _old_resident_check(c) IS NULL THEN _resident_id_value(c) ELSE c END;
CREATE OR REPLACE MACRO _document_number_repair(c, reason, as_of) AS _resident_id_repair(c, reason, as_of);

-- 电子证照标识: 校验 ISO 7064 MOD 37,36，覆盖类型、颁发机构、流水、版本四段。Identifier of an electronic certificate: OID root, type, issuer, serial, version, check character.
CREATE OR REPLACE MACRO _mod_37_36(body) AS
  list_reduce(list_prepend(36::bigint, list_transform(string_split(body, ''), lambda ch: strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', ch) - 1)),
              lambda p, a: (((p + a - 1) % 36 + 1) * 2) % 37);
CREATE OR REPLACE MACRO _ecert_text(x) AS upper(replace(_visible(half_width(x)), ' ', ''));
-- 电子证照标识不合格的原因。Why an electronic certificate identifier is not valid; NULL when it is.
CREATE OR REPLACE MACRO ecert_id_reason(x) AS
  CASE WHEN x IS NULL THEN NULL
       WHEN NOT regexp_full_match(_ecert_text(x), '1\.2\.156\.3005\.2\.[0-9A-Z]{21}\.[0-9A-Z]{18}\.[0-9A-Z]+\.[0-9A-Z]{3}\.[0-9A-Z]') THEN 'format'
       WHEN (_mod_37_36(replace(substr(_ecert_text(x), 16, length(_ecert_text(x)) - 17), '.', ''))
             + strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', right(_ecert_text(x), 1)) - 1) % 36 <> 1 THEN 'checksum' END;
-- 是否有效电子证照标识。Is it a valid electronic certificate identifier?
CREATE OR REPLACE MACRO is_ecert_id(x) AS x IS NOT NULL AND ecert_id_reason(x) IS NULL;
