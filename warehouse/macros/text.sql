-- Text as people type it: width, spaces, placeholders, lost characters. Names with a leading underscore are parts, not for analysts.
-- RE2 notes: \s is ASCII white space only; the engine has no NFKC, so width is folded by translate().

-- Translating costs 3 µs a text, telling that there is nothing to translate a twentieth of it.
CREATE OR REPLACE MACRO _wide_to_half(x) AS
  translate(x, '！＂＃＄％＆＇（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［＼］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　 ￥', '!"#$%&''()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~  ¥');
-- 全角转半角 (全部 ASCII)。Full-width ASCII to half-width; ideographic and no-break spaces to plain ones.
CREATE OR REPLACE MACRO half_width(x) AS
  CASE WHEN regexp_matches(x, '[\x{A0}\x{3000}\x{FF01}-\x{FF5E}\x{FFE5}]') THEN _wide_to_half(x) ELSE x END;

-- 字母数字转半角，标点保留。Full-width letters, digits and # - . / to half-width; other punctuation stays.
CREATE OR REPLACE MACRO _half_width_letters(x) AS
  CASE WHEN regexp_matches(x, '[\x{FF03}\x{FF0D}-\x{FF19}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}]') THEN translate(x, '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ＃－．／', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#-./') ELSE x END;

-- Invisible characters removed; every white space made a plain space; trimmed.
CREATE OR REPLACE MACRO _visible(x) AS
  trim(regexp_replace(regexp_replace(x, '[\x{200B}-\x{200F}\x{2060}\x{FEFF}\x{AD}]', '', 'g'), '[\s\x0B\x{A0}\x{2028}\x{2029}\x{3000}]+', ' ', 'g'));

-- _visible, and a space survives only between two ASCII characters.
CREATE OR REPLACE MACRO _spaced(x) AS
  regexp_replace(regexp_replace(_visible(x), '([^\x00-\x7F]) ', '\1', 'g'), ' ([^\x00-\x7F])', '\1', 'g');

-- Words and signs that stand for nothing. No pattern here: these are asked inside lambdas, where a pattern is compiled anew for every 2,048 cells.
CREATE OR REPLACE MACRO _is_nothing(x) AS
  list_contains(string_split('|NULL|\N|NA|N/A|NONE|NIL|NAN|#N/A|*|无|暂无|没有|空|无数据|无信息|不详|未知|不明|未填|未填写|待补|待定|待查|待核实|其它|其他|测试|TEST|同上|见附件', '|'), x)
  OR trim(x, '-–—_') = '' OR trim(x, '/') = '' OR trim(x, '\') = '' OR trim(x, '.') = '' OR strlen(x) > 2 AND trim(x, 'X') = '';
-- 占位词 (无、不详、N/A …)，须已转半角、大写、去空格。A word that means "nothing here", as a whole cell.
CREATE OR REPLACE MACRO is_placeholder(x) AS _is_nothing(x) OR list_contains(['0', '00000000', '000000000000000000'], x);

-- The same where a number with structure belongs: 000…, 111…, 999999…, 123456… are nothing too.
CREATE OR REPLACE MACRO _is_no_identifier(x) AS
  _is_nothing(x) OR trim(x, '0') = '' OR x = '111111111111111111' OR strlen(x) > 5 AND trim(x, '9') = ''
  OR starts_with(x, '123456') AND list_contains(string_split('|7|8|9|78|79|89|789', '|'), split_part(substr(x, 7), '0', 1)) AND translate(x, '0123456789', '') = '';

-- 是否有丢失的字符 (�、□、锟斤拷、私用区)。Characters that show that a character was lost: U+FFFD, boxes, private use, control characters.
CREATE OR REPLACE MACRO has_lost_characters(x) AS
  regexp_matches(x, '[\x00-\x08\x0E-\x1F\x7F-\x{9F}\x{FFFD}\x{E000}-\x{F8FF}\x{F0000}-\x{10FFFF}□■]|锟斤拷|烫烫烫|屯屯屯|\?\?');

-- Somebody masked the value before it was submitted.
CREATE OR REPLACE MACRO _is_masked(x) AS regexp_matches(x, '[*＊×●]');

-- Excel wrote the number as 1.10105E+17: digits are lost.
CREATE OR REPLACE MACRO _is_scientific(x) AS regexp_full_match(x, '-?[0-9]+(\.[0-9]*)?E\+?[0-9]+');

CREATE OR REPLACE MACRO _identifier_text(x) AS
  CASE WHEN regexp_full_match(x, '[0-9A-Za-z]+') THEN upper(x) ELSE upper(regexp_replace(half_width(x), '[\s\x0B''‘’`\-‐‑‒–—−\x{200B}-\x{200F}\x{2060}\x{FEFF}\x{AD}\x{2028}\x{2029}]', '', 'g')) END;
-- A list of one: its argument, a long expression, is computed once and not once per use.
CREATE OR REPLACE MACRO _unless_placeholder(t) AS
  list_transform([t], lambda __t: CASE WHEN _is_no_identifier(__t) THEN NULL ELSE __t END)[1];
-- 标识符清洗: 半角、去空格与连字符和撇号、大写; 占位值为 NULL。An identifier as it should have been typed; placeholders become NULL.
CREATE OR REPLACE MACRO clean_identifier(x) AS _unless_placeholder(_identifier_text(x));

CREATE OR REPLACE MACRO _unless_word(t) AS
  list_transform([t], lambda __t: CASE WHEN strlen(__t) <= 12 AND is_placeholder(upper(half_width(__t))) THEN NULL ELSE __t END)[1];
-- 文本清洗: 去不可见字符与多余空格; 占位词为 NULL。Running text: spaces put in order; placeholders become NULL.
CREATE OR REPLACE MACRO clean_text(x) AS
  CASE WHEN strlen(x) > 12 AND regexp_full_match(x, '[^\s\x0B\x{A0}\x{AD}\x{200B}-\x{200F}\x{2028}\x{2029}\x{2060}\x{3000}\x{FEFF}]+') THEN x
       ELSE _unless_word(_spaced(x)) END;
CREATE OR REPLACE MACRO _text_reason(c) AS CASE WHEN has_lost_characters(c) THEN 'characters' END;

-- A placeholder word that is a real value in this column.
CREATE OR REPLACE MACRO _kept_word(x, words) AS
  CASE WHEN list_contains(words, _spaced(x)) THEN _spaced(x) END;

-- 内部编号: 区分大小写。Numbers that only their owner understands; case matters.
CREATE OR REPLACE MACRO clean_opaque_id(x) AS
  CASE WHEN strlen(x) > 5 AND regexp_full_match(x, '[0-9A-Za-z]+') THEN x
       ELSE _unless_word(regexp_replace(ltrim(_visible(half_width(x)), ''''), ' ', '', 'g')) END;
CREATE OR REPLACE MACRO _opaque_id_reason(c) AS
  CASE WHEN strlen(c) <= 64 AND regexp_full_match(c, '[0-9A-Za-z]+') AND NOT _is_scientific(upper(c)) THEN NULL
       WHEN c IS NULL THEN NULL
       WHEN _is_scientific(upper(c)) THEN 'format'
       WHEN _is_masked(upper(c)) THEN 'masked'
       WHEN has_lost_characters(c) OR length(c) > 128 THEN 'characters' END;

-- 地址: 数字和字母半角。Addresses: letters and digits half-width.
CREATE OR REPLACE MACRO clean_address(x) AS
  CASE WHEN strlen(x) > 12 AND regexp_full_match(x, '[\x{3400}-\x{9FFF}0-9A-Za-z（）#-]+') THEN x
       ELSE _unless_word(list_transform([_spaced(x)], lambda __s: _half_width_letters(__s))[1]) END;
CREATE OR REPLACE MACRO _address_reason(c) AS
  CASE WHEN has_lost_characters(c) THEN 'characters'
       WHEN _is_masked(c) THEN 'masked'
       WHEN length(c) NOT BETWEEN 2 AND 500 THEN 'length' END;

-- 地址聚类键: 去省市县前缀、标点、附近; 须与区划代码同用。For grouping within one division only: without division prefixes, punctuation and words of nearness.
CREATE OR REPLACE MACRO address_key(x) AS
  nullif(regexp_replace(
    regexp_replace(regexp_replace(regexp_replace(
      regexp_replace(upper(_wide_to_half(_spaced(x))), '[ ,.;:、。，；：()\[\]（）"“”''\-—_/\\]|附近|旁边?$', '', 'g'),
      '^(宁夏回族|内蒙古|新疆维吾尔|广西壮族|西藏)?([\x{4E00}-\x{9FFF}]{2,3}省|自治区)', ''),
      '^[\x{4E00}-\x{9FFF}]{2,6}?(市|自治州|地区|盟)', ''),
      '^[\x{4E00}-\x{9FFF}]{1,6}?(自治县|县|区|旗|市)', ''),
    '号楼|栋', '幢', 'g'), '');

-- 文书号: 年份括号统一为〔〕，法院案号为（）。Document numbers: the year in 〔〕, in （） for court cases.
CREATE OR REPLACE MACRO clean_document_no(x) AS
  CASE WHEN regexp_full_match(regexp_replace(_spaced(x), '[\s()（）〔〕\[\]【】［］第]', '', 'g'), '号|字号|') THEN NULL
       ELSE _unless_word(regexp_replace(regexp_replace(list_transform([replace(_spaced(x), ' ', '')], lambda __s: _half_width_letters(__s))[1],
              '[(（〔\[［【〈<﹝〖]((?:19|20)[0-9]{2})年?[)）〕\]］】〉>﹞〗]', '〔\1〕'),
              '^〔([0-9]{4})〕(.*[0-9A-Za-z].*号.*)$', '（\1）\2')) END;
CREATE OR REPLACE MACRO _document_year(c) AS try_cast(regexp_extract(c, '[〔（]([0-9]{4})[〕）]', 1) AS integer);
CREATE OR REPLACE MACRO _document_no_reason(c, as_of) AS
  CASE WHEN has_lost_characters(c) THEN 'characters'
       WHEN _is_scientific(upper(c)) THEN 'format'
       WHEN coalesce(_document_year(c), 2000) NOT BETWEEN 1949 AND year(as_of) THEN 'year' END;
