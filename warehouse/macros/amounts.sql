-- Numbers and amounts of money. Units of the text win over the unit of the column; a named currency with neither 元 nor 万 is refused: its unit is not certain.

CREATE OR REPLACE MACRO _unless_word_but_zero(t) AS
  list_transform([t], lambda __t: CASE WHEN __t <> '0' AND is_placeholder(__t) THEN NULL ELSE __t END)[1];
CREATE OR REPLACE MACRO clean_number(x) AS
  CASE WHEN regexp_full_match(x, '-?[0-9]+(\.[0-9]+)?') THEN x
       ELSE _unless_word_but_zero(upper(ltrim(replace(_visible(half_width(x)), ' ', ''), '''￥¥$'))) END;
CREATE OR REPLACE MACRO _number_text(c) AS
  CASE WHEN regexp_full_match(c, '[-+]?[0-9]+(\.[0-9]*)?|[-+]?\.[0-9]+|[-+]?[0-9](\.[0-9]+)?E-[0-9]{1,2}') THEN c
       WHEN regexp_full_match(c, '[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?') THEN replace(c, ',', '') END;
CREATE OR REPLACE MACRO _integer_value(c) AS
  CASE WHEN regexp_full_match(c, '[0-9]{1,18}') THEN c::bigint
       WHEN regexp_full_match(_number_text(c), '[-+]?[0-9]+(\.0*)?') THEN try_cast(regexp_replace(_number_text(c), '\..*$', '') AS bigint) END;

-- The number in front and the words behind it, brackets removed: 12.8000(万美元) → 12.8000 and 万美元.
CREATE OR REPLACE MACRO _amount_number(c) AS _number_text(regexp_extract(c, '^[-+]?[0-9,.]+(E-?[0-9]+)?'));
CREATE OR REPLACE MACRO _amount_words(c) AS
  regexp_replace(regexp_replace(c, '^[-+]?[0-9,.]+(E[-+]?[0-9]+)?', ''), '[()\[\]（）￥¥$整:：]', '', 'g');
CREATE OR REPLACE MACRO _unit_word(w) AS regexp_extract(w, '^(亿|千万|百万|万|千|百)?', 1);
CREATE OR REPLACE MACRO _currency_word(w) AS
  regexp_replace(regexp_replace(w, '^(亿|千万|百万|万|千|百)', ''), '^元(.)', '\1');
CREATE OR REPLACE MACRO _is_money_word(w) AS
  regexp_full_match(w, '|[\x{4E00}-\x{9FFF}]{0,6}(元|币|圆|镑|马克|法郎|克朗|卢布|卢比|林吉特|泰铢|里拉|比索|盾|美金)|[A-Z]{3}');
-- Yuan per unit; NULL when the text leaves it open.
CREATE OR REPLACE MACRO _amount_factor(w, yuan_of_column) AS
  CASE WHEN NOT _is_money_word(_currency_word(w)) THEN NULL
       WHEN _unit_word(w) <> '' THEN
         CASE _unit_word(w) WHEN '亿' THEN 100000000 WHEN '千万' THEN 10000000 WHEN '百万' THEN 1000000 WHEN '万' THEN 10000 WHEN '千' THEN 1000 ELSE 100 END
       WHEN w = '' THEN yuan_of_column
       WHEN regexp_matches(w, '[元圆]') THEN 1 END;
-- yuan_of_column = 10000 (万元列) or 1 (元列).
CREATE OR REPLACE MACRO _amount(c, yuan_of_column) AS
  try_cast(_amount_number(c) AS decimal(24,8)) * _amount_factor(_amount_words(c), yuan_of_column) / yuan_of_column;
CREATE OR REPLACE MACRO _money_wan_value(c) AS
  CASE WHEN regexp_full_match(c, '-?[0-9]{1,12}(\.[0-9]{1,6})?') THEN c::decimal(18,6) ELSE try_cast(_amount(c, 10000) AS decimal(18,6)) END;
CREATE OR REPLACE MACRO _money_yuan_value(c) AS
  CASE WHEN regexp_full_match(c, '-?[0-9]{1,16}(\.[0-9]{1,2})?') THEN c::decimal(18,2) ELSE try_cast(_amount(c, 1) AS decimal(18,2)) END;
CREATE OR REPLACE MACRO _amount_check(c, value) AS
  CASE WHEN c IS NULL OR value IS NOT NULL THEN NULL
       WHEN _amount_number(c) IS NOT NULL AND _amount_factor(_amount_words(c), 1) IS NULL THEN 'unit'
       ELSE 'number' END;
-- 金额文本转万元 / 元。The amount in a text such as 100(万元人民币), in 10,000 yuan or in yuan (of whatever currency it names).
CREATE OR REPLACE MACRO parse_money_wan(x) AS _money_wan_value(clean_number(x));
CREATE OR REPLACE MACRO parse_money_yuan(x) AS _money_yuan_value(clean_number(x));

-- 币种: 取出币种词, 数字和单位不要。The currency word of a cell; an amount that names none is missing.
CREATE OR REPLACE MACRO clean_currency(x) AS
  CASE WHEN regexp_full_match(x, '[A-Z]{3}') AND NOT is_placeholder(x) THEN x
       WHEN regexp_full_match(code_key(x), '[0-9]{3}') THEN code_key(x)
       ELSE _unless_placeholder(_currency_word(_amount_words(code_key(x)))) END;
CREATE OR REPLACE MACRO _number_check(c, value) AS CASE WHEN c IS NOT NULL AND value IS NULL THEN 'number' END;
