-- Names of persons and organisations (企业名称登记管理规定; DOMAIN facts: rare characters of all planes are legal in names).

-- 姓名: 汉字间空格去除，间隔号统一为 ·。Spaces between Han removed, the separator of ethnic and foreign names is ·.
CREATE OR REPLACE MACRO clean_person_name(x) AS
  CASE WHEN regexp_full_match(x, '[^暂没无不未待其测同见空\x00-\x{4DFF}\x{A000}-\x{10FFFF}](?:[\x{4E00}-\x{9FFF}]{1,3}|[\x{4E00}-\x{9FFF}·]{3,28}[\x{4E00}-\x{9FFF}])') THEN x
       ELSE _unless_word(regexp_replace(regexp_replace(_spaced(_half_width_letters(x)), '[•・．∙⋅‧･]', '·', 'g'),
              '([\x{3400}-\x{9FFF}\x{20000}-\x{3FFFF}])\.', '\1·', 'g')) END;
CREATE OR REPLACE MACRO _person_name_reason(c) AS
  CASE WHEN c IS NULL OR regexp_full_match(c, '[\x{4E00}-\x{67CF}\x{67D1}-\x{951E}\x{9520}-\x{9FFF}]{2,4}(·[\x{4E00}-\x{67CF}\x{67D1}-\x{951E}\x{9520}-\x{9FFF}]{1,12})?') THEN NULL
       WHEN _is_masked(c) OR regexp_matches(c, '某|[xX]{2}') THEN 'masked'
       WHEN NOT regexp_full_match(c, '[〇\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{3FFFF}A-Za-z\x{C0}-\x{24F}·.'' -]+')
            OR contains(c, '锟斤拷') OR regexp_matches(c, '[\x{C0}-\x{FF}]{2}|^[·.]|·$') THEN 'characters'
       WHEN length(c) NOT BETWEEN 2 AND 50 THEN 'length' END;
-- 姓名不合格的原因; 是否可用姓名。Why a person's name is not usable; is it?
CREATE OR REPLACE MACRO person_name_reason(x) AS _person_name_reason(clean_person_name(x));
CREATE OR REPLACE MACRO is_person_name(x) AS clean_person_name(x) IS NOT NULL AND person_name_reason(x) IS NULL;

-- 单位名称: 去空格，括号全角，字母数字半角。No stray spaces, brackets full-width, letters half-width; otherwise as registered.
CREATE OR REPLACE MACRO clean_org_name(x) AS
  CASE WHEN strlen(x) > 12 AND regexp_full_match(x, '[\x{3400}-\x{9FFF}（）·0-9A-Z]+') THEN x
       ELSE _unless_word(translate(_spaced(_half_width_letters(x)), '()[]［］', '（）（）（）')) END;
CREATE OR REPLACE MACRO _org_name_reason(c) AS
  CASE WHEN c IS NULL THEN NULL
       WHEN _is_masked(c) THEN 'masked'
       WHEN has_lost_characters(c) OR regexp_matches(c, '[?？]|[\x{C0}-\x{FF}]{2}') THEN 'characters'
       WHEN length(c) NOT BETWEEN 2 AND 200 THEN 'length' END;
-- 单位名称不合格的原因。Why an organisation's name is not usable.
CREATE OR REPLACE MACRO org_name_reason(x) AS _org_name_reason(clean_org_name(x));

-- 异体字归一 (峯=峰)，仅作匹配键。Variant characters that are the same word; for match keys only.
CREATE OR REPLACE MACRO _one_variant(x) AS translate(x, '峯羣啓晳喆囍昇陞菓蓆韮恆覈嶽濶兎箇鉅', '峰群启晰喆喜升升果席韭恒核岳阔兔个巨');
-- 单位名称匹配键: 有限责任公司 = 有限公司，括号、空格、大小写、异体字归一。绝不单凭名称合并单位。Match key of an organisation's name; never merge on it alone.
CREATE OR REPLACE MACRO org_name_key(x) AS
  regexp_replace(replace(replace(_one_variant(upper(translate(regexp_replace(_wide_to_half(_visible(x)), '[\s·•・．.,，、"“”''-]', '', 'g'),
    '()[]〔〕【】<>《》', '（）（）（）（）（）（）'))), '有限责任公司', '有限公司'), '股份公司', '股份有限公司'), '^（(.*)）$', '\1');
-- 姓名匹配键。Match key of a person's name.
CREATE OR REPLACE MACRO person_name_key(x) AS
  _one_variant(upper(regexp_replace(clean_person_name(x), '[ ·.''-]', '', 'g')));

-- 名称列表, 以；连接。Several names in one cell: any separator in, ；out, duplicates removed.
CREATE OR REPLACE MACRO clean_name_list(x) AS
  _unless_word(regexp_replace(regexp_replace(translate(_spaced(_half_width_letters(x)), '()', '（）'), '[;；,，、|/]+', '；', 'g'), '^；|；$', '', 'g'));
CREATE OR REPLACE MACRO _name_list_value(c) AS
  list_aggregate(list_filter(string_split(c, '；'), lambda __n, __i: list_position(string_split(c, '；'), __n) = __i), 'string_agg', '；');
