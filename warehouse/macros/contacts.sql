-- Telephone numbers and postal codes.

-- 手机号: 去 +86。Mobile number without the country code.
CREATE OR REPLACE MACRO clean_mobile(x) AS
  CASE WHEN regexp_full_match(x, '1[3-9][0-9]{9}') THEN x
       ELSE regexp_replace(clean_identifier(x), '^(?:\+|00)?86([0-9]{11})$', '\1') END;
CREATE OR REPLACE MACRO _mobile_check(c) AS
  CASE WHEN c IS NULL OR regexp_full_match(c, '1[3-9][0-9]{9}') THEN NULL
       WHEN _is_masked(c) THEN 'masked' ELSE 'format' END;
-- 手机号不合格的原因; 是否有效。Why a mobile number is not valid; is it?
CREATE OR REPLACE MACRO mobile_reason(x) AS _mobile_check(clean_mobile(x));
CREATE OR REPLACE MACRO is_mobile(x) AS clean_mobile(x) IS NOT NULL AND mobile_reason(x) IS NULL;

-- 电话: 手机、固话 (区号-号码、可带分机)、400/800、95/96 短号。Any telephone; a land line is written area-number, extension after 转.
CREATE OR REPLACE MACRO _unless_phone_placeholder(t) AS
  list_transform([upper(t)], lambda __t: CASE WHEN is_placeholder(__t) OR regexp_full_match(__t, '0+|1+|9{7,}') THEN NULL ELSE __t END)[1];
-- 电话清洗。A telephone number with its separators as hyphens; placeholders become NULL.
CREATE OR REPLACE MACRO clean_phone(x) AS
  CASE WHEN regexp_full_match(x, '1[3-9][0-9]{9}|0[0-9]{2,3}-[2-9][0-9]{6,7}') THEN x
       ELSE _unless_phone_placeholder(regexp_replace(regexp_replace(regexp_replace(_wide_to_half(_visible(x)), '[\s()\[\]''‐‑–—−－.]+', '-', 'g'),
         '^-+|-+$', '', 'g'), '^(?:\+|00)86-?', '')) END;
CREATE OR REPLACE MACRO _phone_value(c) AS
  CASE WHEN regexp_full_match(c, '1[3-9][0-9]{9}|0(10|2[0-57-9]|[3-9][0-9]{2})-[2-9][0-9]{6,7}|[2-9][0-9]{6,7}|[48]00[0-9]{7}|9[56][0-9]{3,4}') THEN c
       WHEN regexp_full_match(replace(c, '-', ''), '1[3-9][0-9]{9}|[48]00[0-9]{7}') THEN replace(c, '-', '')
       WHEN regexp_full_match(c, '0(10|2[0-57-9]|[3-9][0-9]{2})-?[2-9][0-9]{6,7}((-|转|EXT|X)[0-9]{1,6})?')
       THEN regexp_replace(regexp_replace(c, '^(010|02[0-57-9]|0[3-9][0-9]{2})-?([0-9]{7,8})', '\1=\2'), '-|EXT|X', '转').replace('=', '-')
       WHEN regexp_full_match(c, '[2-9][0-9]{6,7}(-|转|EXT|X)[0-9]{1,6}') THEN regexp_replace(c, '-|EXT|X', '转') END;
CREATE OR REPLACE MACRO _phone_check(c, value) AS
  CASE WHEN c IS NULL OR value IS NOT NULL THEN NULL WHEN _is_masked(c) THEN 'masked' ELSE 'format' END;

-- 邮政编码: 前两位须为已启用的省邮区。Six digits with an assigned province prefix; a lost zero cannot be restored (010000 or 100000?).
-- 邮编清洗。A postal code; placeholders become NULL.
CREATE OR REPLACE MACRO clean_postal_code(x) AS
  CASE WHEN regexp_full_match(x, '[0-9]{6}') AND x <> '000000' THEN x ELSE clean_identifier(x) END;
CREATE OR REPLACE MACRO _postal_code_check(c) AS
  CASE WHEN c IS NULL OR regexp_full_match(c, '(0[1-7]|1[0-356]|2[0-7]|3[0-6]|4[0-7]|5[1-7]|6[1-5]|7[1-5]|81|8[3-6])[0-9]{4}') THEN NULL
       ELSE 'format' END;
-- 邮编不合格的原因; 是否有效。Why a postal code is not valid; is it?
CREATE OR REPLACE MACRO postal_code_reason(x) AS _postal_code_check(clean_postal_code(x));
CREATE OR REPLACE MACRO is_postal_code(x) AS clean_postal_code(x) IS NOT NULL AND postal_code_reason(x) IS NULL;
