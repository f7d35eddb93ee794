-- zh: 一人名下或同一地址登记的多家在营企业（线索，非结论）
-- en: Many active enterprises of one person or at one address (leads, not findings)
-- grain: 一人或一地址一行 — one row per person or address
-- rule: Q8：同一法定代表人名下在营企业不少于 5 家，或同一住所文本不少于 10 家 — at least 5 active enterprises of one legal
--   representative, or at least 10 at one address text
-- match: exact 为证件号码的假名相等；candidate 为去空白和标点后的地址文本相同 — exact by pseudonym of the document number;
--   candidate by address text without spaces and punctuation
-- needs: legal_entity.enterprise, legal_entity.key_person
-- left out: 联系电话（个人信息，不发布）；个体工商户地址；没有门牌数字的地址；孵化器、集群登记地未剔除 — telephones (personal,
--   not published); addresses of individual businesses; addresses without a number; incubators are not taken out
-- columns:
--   rule_id: 规则编号 — Rule
--   cluster_kind: 聚集方式 — What they share: person or address
--   person_id: 法定代表人假名 — Pseudonym of the legal representative
--   address: 住所文本（归一后） — Address text, normalised
--   enterprise_count: 企业数 — Number of enterprises
--   usccs: 企业统一社会信用代码 — Unified social credit codes of the enterprises
--   region_codes: 住所区划 — Divisions of their domiciles
--   first_establish_date: 最早成立日期 — Earliest date of establishment
--   last_establish_date: 最近成立日期 — Latest date of establishment
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('legal_entity.enterprise', 'legal_entity.key_person')
),
active AS (
    SELECT uscc, region_code, establish_date, legal_rep_person_id,
        upper(regexp_replace(address, '[\s　,，。.、;；:：()（）\-]', '', 'g')) AS address
    FROM legal_entity.enterprise WHERE status_code = '1'
),
member AS (
    SELECT 'person' AS cluster_kind, legal_rep_person_id AS person_id, NULL AS address, uscc, region_code, establish_date
    FROM active WHERE legal_rep_person_id IS NOT NULL
    UNION
    SELECT 'person', k.person_id, NULL, a.uscc, a.region_code, a.establish_date
    FROM legal_entity.key_person k JOIN active a ON a.uscc = k.uscc CROSS JOIN today
    WHERE k.is_legal_rep = '1' AND k.person_id IS NOT NULL AND (k.end_date IS NULL OR k.end_date >= today.as_of)
    UNION ALL
    SELECT 'address', NULL, address, uscc, region_code, establish_date
    FROM active WHERE length(address) >= 8 AND regexp_matches(address, '[0-9一二三四五六七八九十]')
),
cluster AS (
    SELECT cluster_kind, person_id, address, count(*) AS enterprise_count, list(uscc ORDER BY uscc) AS usccs,
        list_sort(list_distinct(list(region_code))) AS region_codes, min(establish_date) AS first_establish_date,
        max(establish_date) AS last_establish_date
    FROM member GROUP BY cluster_kind, person_id, address
)
SELECT
    'Q8.shell_cluster' AS rule_id, cluster.*, CASE cluster_kind WHEN 'person' THEN 'exact' ELSE 'candidate' END AS match_level,
    today.as_of
FROM cluster CROSS JOIN today
WHERE enterprise_count >= CASE cluster_kind WHEN 'person' THEN 5 ELSE 10 END
