-- zh: 重复采集：同一数据项由两个以上部门采集
-- en: What is collected twice: the same element from two departments or more
-- grain: 一数据项一行 — one row per element
-- rule: Q18：数据项以中文名、语义类型和代码表相同为同一；统计采集它的数据资源、渠道和部门；主键不计为重复，但列出 — an element is the same where Chinese name, semantic type and
--   code list are; counted are datasets, sources and departments that send it; identifiers that join datasets are marked as key
-- columns:
--   element: 数据项（中文名） — Element, Chinese name
--   semantic_type: 语义类型 — Semantic type
--   code_list: 代码表 — Code list
--   is_key: 在某数据资源中是主键 — Part of a key in one of the datasets
--   datasets: 数据资源数 — Datasets
--   departments: 部门数 — Departments
--   columns: 字段（数据资源.字段） — Columns, as dataset.column
--   collected_by: 部门 — Departments
--   agreement: 来源间一致率（同一数据资源内多渠道，最近检查） — Share of equal values between the sources of one dataset, latest check
WITH latest AS (
    SELECT dataset, "column", arg_max(applicable, as_of) AS applicable, arg_max(failed, as_of) AS failed
    FROM governance.checks WHERE kind = 'agreement' GROUP BY dataset, "column"
),
element AS (
    SELECT c.zh AS element, c.semantic_type, c.code_list, c.primary_key, c.dataset, c."column", s.department
    FROM governance.columns c JOIN governance.sources s ON s.dataset = c.dataset
),
agreed AS (
    SELECT c.zh AS element, c.semantic_type, c.code_list, sum(l.applicable) AS applicable, sum(l.failed) AS failed
    FROM governance.columns c JOIN latest l ON l.dataset = c.dataset AND l."column" = c."column"
    GROUP BY c.zh, c.semantic_type, c.code_list
)
SELECT
    e.element, e.semantic_type, e.code_list, bool_or(e.primary_key) AS is_key, count(DISTINCT e.dataset) AS datasets, count(DISTINCT e.department) AS departments,
    string_agg(DISTINCT e.dataset || '.' || e."column", ', ' ORDER BY e.dataset || '.' || e."column") AS "columns",
    string_agg(DISTINCT e.department, '、' ORDER BY e.department) AS collected_by, round(1 - any_value(a.failed) / nullif(any_value(a.applicable), 0), 4) AS agreement
FROM element e
LEFT JOIN agreed a ON a.element = e.element AND a.semantic_type = e.semantic_type AND a.code_list IS NOT DISTINCT FROM e.code_list
GROUP BY e.element, e.semantic_type, e.code_list
HAVING count(DISTINCT e.department) > 1
