-- 个人信息遮盖：发布时使用，分析人员也可直接调用。Cutting personal data out of text, for the release and for analysts.

-- 把文本中的当事人姓名（允许字间空格）换成〔姓名〕；一个字的名字不处理，否则会误伤普通用字。
-- Replaces the names in `parties`, spaces between characters allowed; names of one character are left alone.
CREATE OR REPLACE MACRO without_names(value, parties) AS list_reduce(
    list_prepend(value::VARCHAR, list_distinct(list_filter(parties::VARCHAR[], lambda party: length(party) >= 2))),
    lambda kept, party: CASE
        WHEN contains(replace(kept, party, '〔姓名〕'), left(party, 1)) AND contains(replace(kept, party, '〔姓名〕'), right(party, 1))
        THEN regexp_replace(kept, array_to_string(list_transform(string_split(party, ''), lambda letter: regexp_escape(letter)), '\s*'), '〔姓名〕', 'g')
        ELSE replace(kept, party, '〔姓名〕') END);

-- 叙述性文本脱敏：十一位以上的数字串（身份号码、手机、带区号电话、银行卡，允许空格和连接号）、通行证、护照、电子邮箱和当事人姓名。
-- Narrative text without runs of eleven digits or more, permits, passports, e-mail addresses and the row's parties.
CREATE OR REPLACE MACRO redact(value, parties) AS without_names(
    CASE WHEN regexp_matches(value, '[0-9０-９@＠]') THEN regexp_replace(regexp_replace(regexp_replace(value,
            '[A-Za-zＡ-Ｚａ-ｚ]{0,3}[0-9０-９](?:[ 　\-–—－·.]?[0-9０-９]){10,}(?: ?[XxＸｘ])?', '〔号码〕', 'g'),
            '[A-Za-zＡ-Ｚａ-ｚ]{1,2}[0-9０-９]{7,9}', '〔号码〕', 'g'),
            '[A-Za-z0-9._%+\-]+[@＠][A-Za-z0-9.\-]+', '〔邮箱〕', 'g')
        ELSE value END, parties);

-- 公开文本的最后一道防线：只去掉形如公民身份号码和手机号的数字串，其余数字（注册号、文号）保留。
-- Public text without what looks like a citizen identity number or a mobile number; other numbers stay.
CREATE OR REPLACE MACRO without_identifiers(value) AS
    CASE WHEN regexp_matches(value, '[0-9]{11}') THEN regexp_replace(regexp_replace(regexp_replace(value,
        '[1-9][0-9]{5}(18|19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]', '〔号码〕', 'g'),
        '(^|[^0-9])1[3-9][0-9]{9}([^0-9]|$)', '\1〔号码〕\2', 'g'),
        '(^|[^0-9])1[3-9][0-9]{9}([^0-9]|$)', '\1〔号码〕\2', 'g')
    ELSE value END;
