-- Dates, months and times (GB/T 7408). Accepted: YYYY-MM-DD, YYYYMMDD, one-digit parts, / . 年月日, a time behind, YYYYMMDDHHMMSS,
-- Excel serials of five digits (base 1899-12-30). Day-month order and two-digit years are refused: they cannot be decided.

-- What is no placeholder, in figures: a day of a year that none stands in, or of 1900 and 1970 any but the first.
CREATE OR REPLACE MACRO _is_plain_day(x) AS
  regexp_full_match(x, '(18[5-8][0-9]|189[0-8]|190[1-9]|19[1-689][0-9]|197[1-9]|20[0-8][0-9])(-?[0-9]{2}-?[0-9]{2}|[-/.年][0-9]{1,2}[-/.月][0-9]{1,2}日?)'
    '|(1900|1970)(-?(0[2-9]|1[0-2])-?[0-9]{2}|-?01-?(0[2-9]|[1-9][0-9])|[-/.年](0?[2-9]|1[0-2])[-/.月][0-9]{1,2}日?|[-/.年]0?1[-/.月](0?[2-9]|[1-9][0-9])日?)');
CREATE OR REPLACE MACRO _date_text(x) AS
  CASE WHEN regexp_full_match(x, '[0-9][0-9:./-]*') THEN x
       ELSE upper(trim(ltrim(_spaced(half_width(x)), ''''))) END;
CREATE OR REPLACE MACRO _clock() AS
  '( ?T?[0-9]{1,2}[:;][0-9]{2}([:;][0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?';
-- Eight digits; a cast costs a quarter of strptime.
CREATE OR REPLACE MACRO _compact_day(t) AS try_cast(left(t, 4) || '-' || substr(t, 5, 2) || '-' || substr(t, 7, 2) AS date);
CREATE OR REPLACE MACRO _slow_date(t) AS
  CASE WHEN regexp_full_match(t, '[0-9]{4}年[0-9]{1,2}月[0-9]{1,2}日?') THEN try_cast(rtrim(replace(replace(t, '年', '-'), '月', '-'), '日') AS date)
       WHEN regexp_full_match(t, '[0-9]{4}[-/.年][0-9]{1,2}[-/.月][0-9]{1,2}日?' || _clock())
       THEN try_cast(regexp_replace(t, '^([0-9]{4})[^0-9]([0-9]{1,2})[^0-9]([0-9]{1,2}).*$', '\1-\2-\3') AS date)
       WHEN regexp_full_match(t, '[0-9]{8}([01][0-9]|2[0-3])[0-5][0-9]([0-5][0-9])?') THEN _compact_day(t)
       WHEN regexp_full_match(t, '[0-9]{8}' || _clock()) THEN _compact_day(t)
       WHEN regexp_full_match(t, '[2-5][0-9]{4}|60000') THEN DATE '1899-12-30' + t::integer END;
CREATE OR REPLACE MACRO _date_of(t) AS
  CASE WHEN regexp_full_match(t, '[0-9]{4}(-[0-9]{1,2}-|/[0-9]{1,2}/)[0-9]{1,2}') THEN try_cast(t AS date)
       WHEN regexp_full_match(t, '[0-9]{8}') THEN _compact_day(t)
       ELSE _slow_date(t) END;

-- 表示"无日期"的值: 1900-01-01 等。Dates that systems write for "none".
CREATE OR REPLACE MACRO _is_no_date(t) AS
  is_placeholder(t) OR regexp_full_match(t, '0+|0000[-/.]00?[-/.]00?.*') OR coalesce(_date_of(t) IN
    (DATE '1900-01-01', DATE '1899-12-31', DATE '1899-12-30', DATE '1970-01-01', DATE '0001-01-01'), false);
CREATE OR REPLACE MACRO _unless_no_date(t) AS list_transform([t], lambda __t: CASE WHEN _is_no_date(__t) THEN NULL ELSE __t END)[1];
-- 日期清洗; 占位日期为 NULL。A date as text; sentinels become NULL.
CREATE OR REPLACE MACRO clean_date(x) AS
  CASE WHEN _is_plain_day(x) THEN x
       ELSE _unless_no_date(_date_text(x)) END;
CREATE OR REPLACE MACRO _kept_date(x, words) AS
  CASE WHEN list_contains(words, strftime(_date_of(_date_text(x)), '%Y-%m-%d')) THEN _date_text(x)
       WHEN list_contains(words, _date_text(x)) THEN _date_text(x) END;
CREATE OR REPLACE MACRO _date_check(c, value, last) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN value IS NULL THEN 'date'
       WHEN value < DATE '1850-01-01' OR value > DATE '2200-12-31' THEN 'range'
       WHEN value > last THEN 'future' END;

-- 长期: 2099-12-31、9999-…、长期、永久、无固定期限。End dates that mean "without end".
CREATE OR REPLACE MACRO _is_long_term(t) AS
  regexp_full_match(t, '长期有?效?|永久有?效?|永久|无固定期限?|无期限?|无限期|不约定期限|不定期|(2099|2999)[-/.年]?12[-/.月]?31日?' || _clock() || '|(9999[-/.年]?[0-9]{1,2}[-/.月]?[0-9]{1,2}日?' || _clock() || '|99999999|9999)|(2099|2999)1231[0-9]{4,6}');
-- 截止日期清洗; 保留"长期"。An end date as text; words for long-term stay.
CREATE OR REPLACE MACRO clean_end_date(x) AS
  CASE WHEN _is_plain_day(x) THEN x
       WHEN _is_long_term(_date_text(x)) THEN _date_text(x)
       WHEN regexp_full_match(_date_text(x), '无?处罚期限|无') THEN NULL
       ELSE _unless_no_date(_date_text(x)) END;
CREATE OR REPLACE MACRO _end_date_value(c) AS CASE WHEN _is_long_term(c) THEN NULL ELSE _date_of(c) END;
CREATE OR REPLACE MACRO _end_date_check(c, value) AS
  CASE WHEN c IS NULL OR value BETWEEN DATE '1850-01-01' AND DATE '2098-12-31' THEN NULL
       WHEN _is_long_term(c) THEN NULL
       ELSE _date_check(c, value, DATE '2200-12-31') END;
CREATE OR REPLACE MACRO _long_term_value(c) AS
  CASE WHEN _is_long_term(c) THEN true WHEN _date_of(c) IS NOT NULL THEN false END;
-- 是否长期有效的写法。Does this text mean "without end"?
CREATE OR REPLACE MACRO is_long_term(x) AS coalesce(_is_long_term(_date_text(x)), false);
-- 文本转日期 (含各种写法和 Excel 序号)。The date in a text, NULL when there is none or it is a sentinel.
CREATE OR REPLACE MACRO parse_date(x) AS _end_date_value(clean_date(x));

-- 年月 YYYY-MM。
CREATE OR REPLACE MACRO _month_value(c) AS
  CASE WHEN regexp_full_match(c, '[0-9]{4}-(0[1-9]|1[0-2])') THEN c
       WHEN regexp_full_match(c, '[0-9]{4}(0[1-9]|1[0-2])') THEN substr(c, 1, 4) || '-' || substr(c, 5, 2)
       WHEN regexp_full_match(c, '[0-9]{4}[-/.年](0?[1-9]|1[0-2])月?') THEN substr(c, 1, 4) || '-' || lpad(regexp_replace(substr(c, 6), '[^0-9]', '', 'g'), 2, '0')
       WHEN NOT regexp_full_match(c, '[0-9]{5}') THEN strftime(_date_of(c), '%Y-%m') END;
-- 年月清洗。A month as text; sentinels become NULL.
CREATE OR REPLACE MACRO clean_month(x) AS
  CASE WHEN regexp_full_match(x, '(19[1-689]|20[0-8])[0-9]-?[0-9]{2}') THEN x
       WHEN regexp_full_match(_date_text(x), '(0000|1900|9999)[-/.年]?[0-9]{0,2}月?|2099[-/.年]?12月?') THEN NULL
       ELSE _unless_no_date(_date_text(x)) END;
CREATE OR REPLACE MACRO _month_check(c, value) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN value IS NULL THEN 'month'
       WHEN value NOT BETWEEN '1949-01' AND '2099-11' THEN 'range' END;

-- 时间戳。
CREATE OR REPLACE MACRO _clock_of(t) AS
  coalesce(nullif(replace(regexp_extract(t, '[日 T]([0-9]{1,2}[:;][0-9]{2}([:;][0-9]{2}(\.[0-9]{1,6})?)?)', 1), ';', ':'), ''), '00:00:00');
CREATE OR REPLACE MACRO _timestamp_value(c) AS
  CASE WHEN regexp_full_match(c, '[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}') THEN try_cast(c AS timestamp)
       WHEN regexp_full_match(c, '[0-9]{14}') THEN try_strptime(c, '%Y%m%d%H%M%S')
       WHEN regexp_full_match(c, '[0-9]{12}') THEN try_strptime(c, '%Y%m%d%H%M')
       ELSE try_cast(strftime(_date_of(c), '%Y-%m-%d') || ' ' || CASE WHEN length(_clock_of(c)) IN (4, 5) THEN lpad(_clock_of(c), 5, '0') || ':00' ELSE lpad(_clock_of(c), greatest(length(_clock_of(c)), 8)::integer, '0') END AS timestamp) END;
-- 时间戳清洗; 占位时间为 NULL。A time as text; sentinels become NULL.
CREATE OR REPLACE MACRO clean_timestamp(x) AS
  CASE WHEN regexp_full_match(x, '(19[1-689]|20[0-8])[0-9]-[0-9]{2}-[0-9]{2} [0-9:.]+|(19[1-689]|20[0-8])[0-9]{11}') THEN x
       ELSE _unless_no_date(_date_text(x)) END;
CREATE OR REPLACE MACRO _timestamp_check(c, value) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN value IS NULL THEN 'timestamp'
       WHEN value < TIMESTAMP '1850-01-01' OR value > TIMESTAMP '2098-12-31' THEN 'range' END;
CREATE OR REPLACE MACRO _long_term_check(c, value) AS CASE WHEN c IS NOT NULL AND value IS NULL THEN 'date' END;
