-- zh: 各县市场主体逐月新设、退出和期末存续数（统计）
-- en: Entities established, closed and active at the end of each month, by county and kind (statistics)
-- grain: 一县一类主体一月一行，没有变动的月份没有行 — one row per county, kind and month in which something happened
-- rule: V：新设按成立月份，退出按离开状态 1 的月份（revoked 为吊销，closed 为注销、撤销、迁出）；期末存续为累计新设减累计退出 — entries by
--   month of establishment, exits by month of leaving status 1; active is all entries less all exits up to then
-- match: exact，单一登记数据，不作匹配 — exact: one register, nothing is matched
-- needs: legal_entity.enterprise
-- left out: 没有成立日期或退出日期的主体（完全不计）；状态 9（其他）；按现住所计 — entities without the date of establishment or exit, not counted at
--   all; status 9; counted at today's domicile. Entities are no persons: nothing is suppressed
-- columns:
--   rule_id: 规则编号 — Rule
--   month: 月份 — Month
--   region_code: 住所区划 — Division of the domicile
--   region_name: 区划名称 — Name of the division
--   entity_kind: 主体类别 — Kind: enterprise, individual_business, cooperative or other
--   entries: 新设数 — Entities established
--   revoked: 吊销数 — Licences revoked
--   closed: 注销、撤销、迁出数 — Deregistered, annulled or moved out
--   active: 期末存续数 — Active at the end of the month
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('legal_entity.enterprise')
),
entity AS (
    SELECT region_code, CASE left(uscc, 2) WHEN '91' THEN 'enterprise' WHEN '92' THEN 'individual_business' WHEN '93' THEN 'cooperative' ELSE 'other' END AS entity_kind,
        establish_date, status_code, status_date
    FROM legal_entity.enterprise
    WHERE establish_date IS NOT NULL AND (status_code = '1' OR status_code IN ('2', '3', '4', '5', '6') AND status_date IS NOT NULL)
),
counted AS (
    SELECT strftime(establish_date, '%Y-%m') AS month, region_code, entity_kind, count(*) AS entries, 0 AS revoked, 0 AS closed
    FROM entity GROUP BY 1, 2, 3
    UNION ALL
    SELECT strftime(status_date, '%Y-%m'), region_code, entity_kind, 0, count(*) FILTER (WHERE status_code = '2'), count(*) FILTER (WHERE status_code <> '2')
    FROM entity WHERE status_code <> '1' GROUP BY 1, 2, 3
),
summed AS (
    SELECT month, region_code, entity_kind, sum(entries)::BIGINT AS entries, sum(revoked)::BIGINT AS revoked, sum(closed)::BIGINT AS closed
    FROM counted GROUP BY month, region_code, entity_kind
)
SELECT
    'V.enterprise_demography' AS rule_id, s.month, s.region_code, r.full_name AS region_name, s.entity_kind, s.entries, s.revoked, s.closed,
    (sum(s.entries - s.revoked - s.closed) OVER (PARTITION BY s.region_code, s.entity_kind ORDER BY s.month))::BIGINT AS active,
    'exact' AS match_level, today.as_of
FROM summed s
LEFT JOIN reference.admin_division r ON r.code = s.region_code
CROSS JOIN today
