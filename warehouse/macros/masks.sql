-- 授权文件中的脱敏 (GB/T 35273-2020)。Masks of what a grant may show; the default file shows none of these columns.

-- 姓名只留姓: 欧阳**、张**；星号数与字数无关。A person's name down to the surname, compound ones whole; the stars do not count characters.
CREATE OR REPLACE MACRO masked_name(x) AS
  CASE WHEN length(x) < 2 THEN '**'
       WHEN length(x) >= 3 AND left(x, 2) IN ('欧阳', '太史', '上官', '端木', '司马', '东方', '独孤', '南宫', '万俟', '闻人', '夏侯', '诸葛', '尉迟', '公羊', '赫连', '澹台', '皇甫', '宗政',
            '濮阳', '公冶', '太叔', '申屠', '公孙', '慕容', '仲孙', '钟离', '长孙', '宇文', '司徒', '鲜于', '司空', '令狐', '东郭', '南门', '呼延', '西门', '轩辕', '百里', '拓跋', '夹谷', '完颜', '纳兰',
            '段干', '左丘', '梁丘', '谷梁', '羊舌', '巫马', '公西', '漆雕', '壤驷', '乐正', '颛孙', '第五') THEN left(x, 2) || '**'
       ELSE left(x, 1) || '**' END;

-- 电话只留前三后四: 139****5678。A telephone number with its first three and last four digits.
CREATE OR REPLACE MACRO masked_phone(x) AS
  CASE WHEN regexp_full_match(x, '[0-9]{11}') THEN left(x, 3) || '****' || right(x, 4) END;

-- 只留后四位；不足八位者不留。The last four characters; none of what is shorter than eight.
CREATE OR REPLACE MACRO last_four(x) AS
  CASE WHEN length(x) >= 8 THEN right(x, 4) END;

-- 地址截至乡镇街道；看不出乡镇街道者截至县。An address down to its township, otherwise its county; NULL when neither is seen.
CREATE OR REPLACE MACRO masked_address(x) AS
  coalesce(nullif(regexp_extract(x, '^([^0-9]{2,20}?(?:街道办事处|街道|镇|乡|苏木))', 1), ''),
           nullif(regexp_extract(x, '^([^0-9]{2,16}[县区旗])', 1), ''));
