-- zh: 双公示及时性：各机关自决定到报送用了多少工作日
-- en: Timeliness of publication: working days from decision to delivery, by agency
-- grain: 一类记录一机关一决定月份一行 — one row per kind of record, agency and month of decision
-- rule: Q14：工作日自决定次日起，到记录所在批次的报送日期止，只除周末；超过 7 个（发改办财金〔2018〕424号）、20 个（企业信息公示暂行条例第六条）工作日为迟 — working days
--   after the decision up to the date of the batch, weekends only; late after 7, and after 20, working days
-- match: exact，单条记录自身日期，不作匹配 — exact: by the record's own dates, nothing is matched
-- needs: credit.administrative_licence, credit.administrative_penalty
-- left out: 法定节假日和调休（未排除，长假前后的记录会多算）；渠道首个批次的存量记录只计数；重报过的记录按最近一次报送计，首次报送见 governance.checks（publication）；自然人的
--   记录 — public holidays (not taken out: more days are counted around long ones); records of a stream's first batch are stock and only counted; a
--   record sent again goes by its latest delivery, first deliveries are in governance.checks (kind publication); natural persons
-- columns:
--   rule_id: 规则编号 — Rule
--   record_kind: 记录类别 — Kind of record: licence or penalty
--   agency_uscc: 决定机关统一社会信用代码 — Unified social credit code of the agency
--   agency_name: 决定机关 — Agency
--   decision_month: 决定月份 — Month of decision
--   records: 记录数 — Records
--   stock: 其中存量（未测量） — Of these stock, not measured
--   measured: 已测量 — Measured
--   late_7: 超过 7 个工作日 — More than 7 working days
--   late_20: 超过 20 个工作日 — More than 20 working days
--   median_days: 工作日中位数 — Median of working days
--   most_days: 最长工作日数 — Most working days
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('credit.administrative_licence', 'credit.administrative_penalty')
),
batch AS (
    SELECT b.batch_id, b.batch_date::DATE AS sent_on, b.batch_date > f.first_date AS is_measured
    FROM (SELECT DISTINCT batch_id, dataset, source, part, batch_date FROM governance.batches WHERE state = 'accepted') b
    JOIN (SELECT dataset, source, part, min(batch_date) AS first_date FROM governance.batches WHERE state = 'accepted' GROUP BY dataset, source, part) f
        ON f.dataset = b.dataset AND f.source = b.source AND f.part = b.part
    WHERE b.dataset IN ('credit.administrative_licence', 'credit.administrative_penalty')
),
record AS (
    SELECT 'licence' AS record_kind, agency_uscc, agency_name, decision_date, _batch AS batch_id FROM credit.administrative_licence
    UNION ALL
    SELECT 'penalty', agency_uscc, agency_name, decision_date, _batch FROM credit.administrative_penalty
),
timed AS (
    SELECT r.record_kind, r.agency_uscc, r.agency_name, strftime(r.decision_date, '%Y-%m') AS decision_month,
        CASE WHEN b.is_measured AND b.sent_on >= r.decision_date THEN working_days(r.decision_date, b.sent_on) END AS days
    FROM record r LEFT JOIN batch b ON b.batch_id = r.batch_id
    WHERE r.decision_date IS NOT NULL
)
SELECT
    'Q14.publicity_timeliness' AS rule_id, t.record_kind, t.agency_uscc, max(t.agency_name) AS agency_name, t.decision_month, count(*) AS records,
    count(*) FILTER (WHERE t.days IS NULL) AS stock, count(t.days) AS measured, count(*) FILTER (WHERE t.days > 7) AS late_7,
    count(*) FILTER (WHERE t.days > 20) AS late_20, median(t.days) AS median_days, max(t.days) AS most_days, 'exact' AS match_level, any_value(today.as_of) AS as_of
FROM timed t
CROSS JOIN today
GROUP BY t.record_kind, t.agency_uscc, t.decision_month
