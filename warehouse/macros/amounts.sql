-- Numbers and amounts of money. Units of the text win over the unit of the column; a named currency with neither 元 nor 万 is refused: its unit is not certain.

CREATE OR REPLACE MACRO _unless_word_but_zero(t) AS
  list_transform([t], lambda __t: CASE WHEN __t <> '0' AND is_placeholder(__t) THEN NULL ELSE __t END)[1];
-- 数字清洗: 半角、去空格和货币符号; 0 是值。A number as it should have been typed; 0 is a value.
CREATE OR REPLACE MACRO clean_number(x) AS
  CASE WHEN regexp_full_match(x, '-?([0-9]+|[0-9][0-9,]+[0-9])(\.[0-9]+)?([(（][万元人民币美港]*[)）]|[万元人民币美港]*)') THEN x
       ELSE _unless_word_but_zero(upper(ltrim(replace(_visible(half_width(x)), ' ', ''), '''￥¥$'))) END;
CREATE OR REPLACE MACRO _number_text(c) AS
  CASE WHEN regexp_full_match(c, '[-+]?[0-9]+(\.[0-9]*)?|[-+]?\.[0-9]+|[-+]?[0-9](\.[0-9]+)?E-[0-9]{1,2}') THEN c
       WHEN regexp_full_match(c, '[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?') THEN replace(c, ',', '') END;
CREATE OR REPLACE MACRO _integer_value(c) AS
  CASE WHEN regexp_full_match(c, '[0-9]{1,18}') THEN c::bigint
       WHEN regexp_full_match(_number_text(c), '[-+]?[0-9]+(\.0*)?') THEN try_cast(regexp_replace(_number_text(c), '\..*$', '') AS bigint) END;

-- The number in front and the words behind it, brackets removed: 12.8000(万美元) → 12.8000 and 万美元.
CREATE OR REPLACE MACRO _amount_number(c) AS regexp_extract(c, '^[-+]?[0-9,.]+(E[-+]?[0-9]+)?');
CREATE OR REPLACE MACRO _amount_words(c) AS
  regexp_replace(c, '^[-+]?[0-9,.]+(E[-+]?[0-9]+)?|[()\[\]（）￥¥$整:：]', '', 'g');
-- Yuan per unit; NULL when the text leaves it open. yuan_of_column = 10000 (万元列) or 1 (元列).
CREATE OR REPLACE MACRO _amount_factor(w, yuan_of_column) AS
  CASE WHEN w = '' THEN yuan_of_column
       WHEN NOT regexp_full_match(w, '(亿|千万|百万|万|千|百)?元?([\x{4E00}-\x{9FFF}]{0,6}(元|币|圆|镑|马克|法郎|克朗|卢布|卢比|林吉特|泰铢|里拉|比索|盾|美金)|[A-Z]{3})?') THEN NULL
       WHEN starts_with(w, '万') THEN 10000
       WHEN starts_with(w, '亿') THEN 100000000
       WHEN starts_with(w, '千万') THEN 10000000
       WHEN starts_with(w, '百万') THEN 1000000
       WHEN starts_with(w, '千') THEN 1000
       WHEN starts_with(w, '百') THEN 100
       WHEN regexp_matches(w, '[元圆]') THEN 1 END;
CREATE OR REPLACE MACRO _amount(c, yuan_of_column) AS
  list_transform([{'n': _amount_number(c), 'w': _amount_words(c)}], lambda __a:
    try_cast(_number_text(__a.n) AS decimal(22,8)) * (_amount_factor(__a.w, yuan_of_column) / yuan_of_column)::decimal(14,4))[1];
CREATE OR REPLACE MACRO _money_wan_value(c) AS
  CASE WHEN regexp_full_match(c, '-?[0-9]{1,12}(\.[0-9]{1,6})?') THEN c::decimal(18,6)
       WHEN regexp_full_match(c, '([0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3})(\.[0-9]{1,6})?[(（]?万元?(人民币|美元|港元)?元?[)）]?')
       THEN replace(rtrim(c, '()（）万元人民币美港'), ',', '')::decimal(18,6)
       ELSE try_cast(_amount(c, 10000) AS decimal(18,6)) END;
CREATE OR REPLACE MACRO _money_yuan_value(c) AS
  CASE WHEN regexp_full_match(c, '-?[0-9]{1,16}(\.[0-9]{1,2})?') THEN c::decimal(18,2) ELSE try_cast(_amount(c, 1) AS decimal(18,2)) END;
CREATE OR REPLACE MACRO _amount_check(c, value) AS
  CASE WHEN c IS NULL OR value IS NOT NULL THEN NULL
       WHEN _number_text(_amount_number(c)) IS NOT NULL AND _amount_factor(_amount_words(c), 1) IS NULL THEN 'unit'
       ELSE 'number' END;
-- 金额文本转万元 / 元。The amount in a text such as 100(万元人民币), in 10,000 yuan or in yuan (of whatever currency it names).
CREATE OR REPLACE MACRO parse_money_wan(x) AS _money_wan_value(clean_number(x));
CREATE OR REPLACE MACRO parse_money_yuan(x) AS _money_yuan_value(clean_number(x));

CREATE OR REPLACE MACRO _currency_word(w) AS
  regexp_replace(regexp_replace(w, '^(亿|千万|百万|万|千|百)', ''), '^元(.)', '\1');
-- 币种: 取出币种词, 数字和单位不要。The currency word of a cell; an amount that names none is missing.
CREATE OR REPLACE MACRO clean_currency(x) AS
  CASE WHEN regexp_full_match(x, '[A-Z]{3}|[0-9]{3}') AND NOT _is_no_identifier(x) THEN x
       WHEN regexp_full_match(x, '[0-9][0-9,]*(\.[0-9]+)?[(（]?万?元?(人民币|美元|港元)[)）]?') THEN regexp_replace(rtrim(ltrim(x, '0123456789.,(（万'), ')）'), '^元', '')
       ELSE list_transform([code_key(x)], lambda __k: CASE WHEN _is_no_identifier(__k) THEN NULL
              WHEN regexp_full_match(__k, '[0-9]{3}') THEN __k ELSE nullif(_currency_word(_amount_words(__k)), '') END)[1] END;
CREATE OR REPLACE MACRO _number_check(c, value) AS CASE WHEN c IS NOT NULL AND value IS NULL THEN 'number' END;
