-- zh: 一人两号、一号两人的迹象（线索，须凭原件复核）
-- en: Signs of one person with two numbers, or of one number with two persons (leads, to be verified on the documents)
-- grain: 一人一迹象一行 — one row per person and sign
-- rule: Q19：one_number_two_persons：同一身份号码在人口库和失信被执行人中性别或出生年份不同，或同时在两个未离户的家庭户，或有两个社保个人编号；one_person_two_numbers：同一社保个人编号、
--   或同一死亡证明编号对应两个身份号码 — one number: sex or year of birth differ between register and defaulters, two households at once, or two numbers of the
--   social insurance; one person: a number of the social insurance or of a death certificate stands with two identity numbers
-- match: exact，身份号码、个人编号、证明编号的假名相等 — exact, by pseudonyms of the numbers
-- needs: credit.judgment_defaulter, population.death, population.household_member, population.person, population.social_insurance
-- left out: 姓名、父母、照片的比较（不在分析库，须有授权的文件）；入库时已按身份号码合并的同号行见 0304 规则结果 — names, parents and photographs (not in the analysts' file,
--   a grant is needed); rows of one number that were merged on the way in are results of the rules under 0304
-- columns:
--   rule_id: 规则编号 — Rule
--   person_id: 人员假名 — Pseudonym of the number
--   conflict: 冲突类型 — Kind: one_number_two_persons or one_person_two_numbers
--   sign: 迹象 — Sign: sex, birth_year, two_households, two_insurance_numbers, shared_insurance_number or shared_death_certificate
--   evidence: 证据：各处取值，或个数 — The values, or how many there are
--   other_person_id: 另一号码的假名 — Pseudonym of the other number (the first, where there are several)
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.judgment_defaulter', 'population.death', 'population.household_member', 'population.person', 'population.social_insurance')
),
defaulter AS (
    SELECT person_id, min(sex_code) AS sex_code, max(sex_code) AS other_sex_code, min(birth_year) AS birth_year, max(birth_year) AS other_birth_year
    FROM credit.judgment_defaulter WHERE person_id IS NOT NULL GROUP BY person_id
),
compared AS (
    SELECT d.person_id, p.sex_code AS registered_sex, CASE WHEN d.sex_code <> p.sex_code THEN d.sex_code ELSE d.other_sex_code END AS told_sex,
        p.birth_year AS registered_year, CASE WHEN d.birth_year <> p.birth_year THEN d.birth_year ELSE d.other_birth_year END AS told_year
    FROM defaulter d JOIN population.person p ON p.person_id = d.person_id
),
shared_number AS (
    SELECT person_no_pseudonym AS number, min(person_id) AS first_id, max(person_id) AS last_id
    FROM population.social_insurance WHERE person_no_pseudonym IS NOT NULL AND person_id IS NOT NULL
    GROUP BY person_no_pseudonym HAVING min(person_id) <> max(person_id)
),
shared_certificate AS (
    SELECT certificate_no_pseudonym AS number, min(person_id) AS first_id, max(person_id) AS last_id
    FROM population.death WHERE certificate_no_pseudonym IS NOT NULL AND person_id IS NOT NULL
    GROUP BY certificate_no_pseudonym HAVING min(person_id) <> max(person_id)
),
found AS (
    SELECT person_id, 'one_number_two_persons' AS conflict, 'sex' AS sign, registered_sex || ' / ' || told_sex AS evidence, NULL::VARCHAR AS other_person_id
    FROM compared WHERE registered_sex <> told_sex
    UNION ALL
    SELECT person_id, 'one_number_two_persons', 'birth_year', registered_year || ' / ' || told_year, NULL FROM compared WHERE registered_year <> told_year
    UNION ALL
    SELECT person_id, 'one_number_two_persons', 'two_households', count(DISTINCT household_no_pseudonym)::VARCHAR, NULL
    FROM population.household_member WHERE leave_year IS NULL AND person_id IS NOT NULL
    GROUP BY person_id HAVING min(household_no_pseudonym) <> max(household_no_pseudonym)
    UNION ALL
    SELECT person_id, 'one_number_two_persons', 'two_insurance_numbers', count(DISTINCT person_no_pseudonym)::VARCHAR, NULL
    FROM population.social_insurance WHERE person_id IS NOT NULL
    GROUP BY person_id HAVING min(person_no_pseudonym) <> max(person_no_pseudonym)
    UNION ALL
    SELECT DISTINCT i.person_id, 'one_person_two_numbers', 'shared_insurance_number', NULL, CASE WHEN i.person_id = s.first_id THEN s.last_id ELSE s.first_id END
    FROM shared_number s JOIN population.social_insurance i ON i.person_no_pseudonym = s.number WHERE i.person_id IS NOT NULL
    UNION ALL
    SELECT DISTINCT d.person_id, 'one_person_two_numbers', 'shared_death_certificate', NULL, CASE WHEN d.person_id = s.first_id THEN s.last_id ELSE s.first_id END
    FROM shared_certificate s JOIN population.death d ON d.certificate_no_pseudonym = s.number WHERE d.person_id IS NOT NULL
)
SELECT 'Q19.identity_conflict' AS rule_id, f.person_id, f.conflict, f.sign, f.evidence, f.other_person_id, 'exact' AS match_level, today.as_of
FROM found f
CROSS JOIN today
