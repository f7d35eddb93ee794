-- Code lists and divisions. Membership is a subquery (a list literal is some 200 times slower); what only rare rows need
-- is one constant list per query. Staging puts constants and enums in the place of the subqueries (semantics/constants.sql): a join would lose the order of rows. Subqueries that compare with an
-- argument rename their columns (__…): a caller's column called code or name must not be taken for theirs.

-- 代码比较键: 半角、去空格、大写。How a code, label or spelling is compared: half-width, no spaces, upper case.
CREATE OR REPLACE MACRO code_key(x) AS upper(replace(_visible(half_width(x)), ' ', ''));

-- Every spelling of one list.
CREATE OR REPLACE MACRO _aliases(list_name) AS
  (SELECT coalesce(list("alias" ORDER BY "alias"), []) FROM reference.code_alias WHERE "list" = list_name);
CREATE OR REPLACE MACRO _alias_codes(list_name) AS
  (SELECT coalesce(list("code" ORDER BY "alias"), []) FROM reference.code_alias WHERE "list" = list_name);
CREATE OR REPLACE MACRO _country_aliases() AS _aliases('country');

-- 代码清洗: 0 和"其他"在代码表内时是值。A code or label to look up; 0 and 其他 are values only where the list holds them.
CREATE OR REPLACE MACRO clean_code(list_name, x) AS
  CASE WHEN regexp_full_match(x, '[0-9A-Z\x{4E00}-\x{9FFF}]+') AND NOT _is_no_identifier(x) THEN x
       WHEN list_contains(_aliases(list_name), x) THEN x
       WHEN list_contains(_aliases(list_name), code_key(x)) THEN code_key(x)
       ELSE _unless_placeholder(code_key(x)) END;

-- Lost leading zeros: digits shorter than the one length all codes of the list have.
CREATE OR REPLACE MACRO _code_length(list_name) AS
  (SELECT CASE WHEN min(length("code")) = max(length("code")) THEN max(length("code")) END FROM reference.code WHERE "list" = list_name);
CREATE OR REPLACE MACRO _codes(list_name) AS
  (SELECT coalesce(list("code"), []) FROM reference.code WHERE "list" = list_name);
CREATE OR REPLACE MACRO _code_repair(list_name, c) AS
  CASE WHEN regexp_full_match(c, '[0-9]+') AND length(c) < _code_length(list_name)
            AND list_contains(_codes(list_name), lpad(c, _code_length(list_name)::integer, '0'))
       THEN lpad(c, _code_length(list_name)::integer, '0') END;
CREATE OR REPLACE MACRO _code_reason(c, value) AS CASE WHEN c IS NOT NULL AND value IS NULL THEN 'code' END;

-- What may be a code that no list holds yet: letters alone are a code up to three, and eight digits that are a day are a date.
CREATE OR REPLACE MACRO _looks_like_code(c) AS
  regexp_full_match(c, '[0-9A-Z]{1,8}') AND NOT regexp_full_match(c, '[A-Z]{4,}') AND NOT (length(c) = 8 AND try_strptime(c, '%Y%m%d') IS NOT NULL);

-- 代码的名称。The label of a code of a list: code_name('sex', '1') → 男.
CREATE OR REPLACE MACRO code_name(list_name, x) AS
  (SELECT any_value(__label) FROM (SELECT "list" AS __list, "code" AS __code, "label" AS __label FROM reference.code) WHERE __list = list_name AND __code = x);

-- 行政区划代码 GB/T 2260, 历史有效。Six digits; obsolete codes stay known.
CREATE OR REPLACE MACRO clean_region_code(x) AS
  CASE WHEN regexp_full_match(x, '[1-8][0-9]{5}|[1-8][0-9]{8}|[1-8][0-9]{11}') AND x NOT IN ('111111', '123456') THEN x ELSE clean_identifier(x) END;
CREATE OR REPLACE MACRO _region_problem(c) AS
  CASE WHEN _is_masked(c) THEN 'masked'
       WHEN _is_scientific(c) THEN 'format'
       WHEN NOT regexp_full_match(c, '[0-9]+') THEN 'format'
       WHEN length(c) <> 6 THEN 'length'
       ELSE 'code' END;
-- Was it ever in force; is it now; is it that or a unit of the statistical list?
CREATE OR REPLACE MACRO _is_known_region(c) AS c IN (SELECT "code" FROM reference.region);
CREATE OR REPLACE MACRO _is_region_in_force(c) AS c IN (SELECT "code" FROM reference.region WHERE is_current);
CREATE OR REPLACE MACRO _is_known_county(c) AS c IN (SELECT "code" FROM reference.region UNION ALL SELECT "code" FROM reference.stat_only_unit);
CREATE OR REPLACE MACRO _region_code_check(c) AS
  CASE WHEN c IS NULL OR _is_known_region(c) THEN NULL ELSE _region_problem(c) END;

-- Codes that ended, in one order: code, first and last day in force, the one successor in force today (NULL: several or none).
CREATE OR REPLACE MACRO _ended_regions(what) AS
  (SELECT list(CASE what WHEN 'code' THEN e."code" WHEN 'from' THEN e.f WHEN 'to' THEN e.t ELSE e.s END ORDER BY e."code")
   FROM (SELECT "code", strftime(min(valid_from), '%Y-%m-%d') AS f, strftime(max(valid_to), '%Y-%m-%d') AS t,
                CASE WHEN count(DISTINCT current_code) = 1 AND count(current_code) = count(*) THEN min(current_code) END AS s
         FROM reference.region GROUP BY "code" HAVING NOT bool_or(is_current)) e);
CREATE OR REPLACE MACRO _ended_region_check(c, as_of) AS
  CASE WHEN list_contains(_ended_regions('code'), c)
       THEN CASE WHEN strftime(as_of, '%Y-%m-%d') BETWEEN _ended_regions('from')[list_position(_ended_regions('code'), c)]
                                               AND _ended_regions('to')[list_position(_ended_regions('code'), c)] THEN NULL ELSE 'obsolete' END
       ELSE _region_problem(c) END;
CREATE OR REPLACE MACRO _current_region_check(c, as_of) AS
  CASE WHEN c IS NULL OR _is_region_in_force(c) THEN NULL ELSE _ended_region_check(c, as_of) END;

-- A full name that only one division in force has; the county part of a longer division code; the successor of a code that ended.
CREATE OR REPLACE MACRO _region_by_name(c) AS _alias_codes('region')[list_position(_aliases('region'), c)];
CREATE OR REPLACE MACRO _region_code_repair(c, reason) AS
  CASE WHEN reason = 'length' AND regexp_full_match(c, '[0-9]{9}|[0-9]{12}|[0-9]{15}') AND _is_known_region(substr(c, 1, 6))
            AND substr(c, 1, 1) <> '8' THEN substr(c, 1, 6)
       WHEN reason = 'format' THEN _region_by_name(c) END;
CREATE OR REPLACE MACRO _current_region_repair(c, reason) AS
  CASE WHEN reason = 'obsolete' THEN _ended_regions('successor')[list_position(_ended_regions('code'), c)]
       WHEN reason = 'length' AND regexp_full_match(c, '[0-9]{9}|[0-9]{12}|[0-9]{15}') AND _is_region_in_force(substr(c, 1, 6))
       THEN substr(c, 1, 6)
       WHEN reason = 'format' THEN _region_by_name(c) END;

-- 区划代码 6/9/12/15 位, 含统计用区划。County (6), township (9), village (12) or police committee (15); statistics-only units count.
CREATE OR REPLACE MACRO clean_division_code(x) AS clean_region_code(x);
CREATE OR REPLACE MACRO _division_code_check(c) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN _is_known_county(substr(c, 1, 6))
            AND regexp_full_match(c, '[0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{15}') THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN NOT regexp_full_match(c, '[0-9]+') THEN 'format'
       WHEN length(c) NOT IN (6, 9, 12, 15) THEN 'length'
       ELSE 'code' END;

-- 区划代码不合格的原因; 是否已知 (曾经或现在有效); 是否在该日有效。Why a division code is not known; was it ever in force; is it in force on a day?
CREATE OR REPLACE MACRO region_code_reason
  (x) AS _region_code_check(clean_region_code(x)),
  (x, as_of) AS _current_region_check(clean_region_code(x), as_of);
CREATE OR REPLACE MACRO is_region_code
  (x) AS clean_region_code(x) IS NOT NULL AND region_code_reason(x) IS NULL,
  (x, as_of) AS clean_region_code(x) IS NOT NULL AND region_code_reason(x, as_of) IS NULL;
-- 区划名称 (最近一次使用的名称，或该日的名称)。Name of a division: its last one, or the one on a day.
CREATE OR REPLACE MACRO region_name
  (x) AS (SELECT max_by(__name, __from) FROM (SELECT "code" AS __code, "name" AS __name, valid_from AS __from FROM reference.region) WHERE __code = x),
  (x, as_of) AS (SELECT max_by(__name, __from)
                 FROM (SELECT "code" AS __code, "name" AS __name, valid_from AS __from, valid_to AS __to FROM reference.region)
                 WHERE __code = x AND as_of >= __from AND (__to IS NULL OR as_of <= __to));
-- 现行区划代码 (撤并后唯一承继者)。The code in force today: itself, or its only successor.
CREATE OR REPLACE MACRO region_current_code(x) AS
  (SELECT CASE WHEN bool_or(__now) THEN min(__code) WHEN count(DISTINCT __next) = 1 AND count(__next) = count(*) THEN min(__next) END
   FROM (SELECT "code" AS __code, is_current AS __now, current_code AS __next FROM reference.region) WHERE __code = x);
