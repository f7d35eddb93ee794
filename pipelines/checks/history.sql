-- A batch against those of its stream dated before it. Tables given: batch(batch_id, source, part, batch_date, sequence, records,
-- repaired), profile(batch_id, "column", records, filled), profile_value(batch_id, "column", value, "rows"); variables: limits.
-- Nothing here looks at when a batch arrived.
CREATE OR REPLACE TEMP TABLE pair AS
SELECT b.batch_id, p.batch_id AS earlier
FROM batch b JOIN batch p ON p.source = b.source AND p.part = b.part AND (p.batch_date, p.sequence) < (b.batch_date, b.sequence)
QUALIFY row_number() OVER (PARTITION BY b.batch_id ORDER BY p.batch_date DESC, p.sequence DESC) <= 12;
CREATE OR REPLACE TEMP TABLE ready AS
SELECT batch_id FROM pair GROUP BY batch_id HAVING count(*) >= getvariable('batches');
CREATE OR REPLACE TEMP TABLE finding (
    reason VARCHAR, "column" VARCHAR, batch_id VARCHAR, value DOUBLE, baseline DOUBLE, n BIGINT, p DOUBLE, applicable BIGINT, failed BIGINT, "values" VARCHAR[]);

-- Volume: a factor of the median.
INSERT INTO finding
SELECT 'volume', NULL, b.batch_id, b.records, median(e.records), b.records, NULL, 1,
    (b.records < getvariable('volume_low') * median(e.records) OR b.records > getvariable('volume_high') * median(e.records))::BIGINT, NULL
FROM batch b JOIN ready USING (batch_id) JOIN pair USING (batch_id) JOIN batch e ON e.batch_id = earlier
GROUP BY b.batch_id, b.records;

-- Repairs: a rise of the share that chance does not explain (one-sided, 4 standard deviations).
INSERT INTO finding
SELECT 'repaired', NULL, batch_id, share, usual, n, normal_tail((share - usual) / spread), 1,
    (share - usual > getvariable('repaired_rise') AND (share - usual) / spread > 4)::BIGINT, NULL
FROM (SELECT *, sqrt(greatest(usual * (1 - usual), 0.0001) / n) AS spread FROM (
    SELECT b.batch_id, b.records AS n, b.repaired / b.records AS share, median(e.repaired / e.records) AS usual
    FROM batch b JOIN ready USING (batch_id) JOIN pair USING (batch_id) JOIN batch e ON e.batch_id = earlier AND e.records > 0
    WHERE b.records >= 30 GROUP BY b.batch_id, b.records, b.repaired));

-- Filled cells: a fall of the share, judged likewise.
INSERT INTO finding
SELECT 'filled', "column", batch_id, share, usual, n, normal_tail((usual - share) / spread), 1,
    (usual - share > getvariable('filled_drop') AND (usual - share) / spread > 4)::BIGINT, NULL
FROM (SELECT *, sqrt(greatest(usual * (1 - usual), 0.0001) / n) AS spread FROM (
    SELECT b.batch_id, b."column", b.records AS n, b.filled / b.records AS share, median(e.filled / e.records) AS usual
    FROM profile b JOIN ready USING (batch_id) JOIN pair USING (batch_id)
    JOIN profile e ON e.batch_id = earlier AND e."column" = b."column" AND e.records > 0
    WHERE b.records >= 30 GROUP BY ALL));

-- Codes: the population stability index against the median shares, counted only where a chi-square test says it is no chance.
INSERT INTO finding
WITH total AS (SELECT batch_id, "column", sum("rows") AS n FROM profile_value GROUP BY ALL),
share AS (SELECT v.batch_id, v."column", v.value, v."rows" / n AS part FROM profile_value v JOIN total USING (batch_id, "column")),
judged AS (SELECT t.* FROM total t JOIN ready USING (batch_id) WHERE n >= 100),
known AS (      -- every value that the batch or one before it has
    SELECT DISTINCT j.batch_id, j."column", j.n, s.value FROM judged j JOIN share s USING (batch_id, "column")
    UNION
    SELECT j.batch_id, j."column", j.n, s.value FROM judged j JOIN pair USING (batch_id) JOIN share s ON s.batch_id = earlier AND s."column" = j."column"),
usual AS (      -- a value that an earlier batch lacks has share 0 there
    SELECT k.batch_id, k."column", k.value, k.n, median(coalesce(s.part, 0)) AS q
    FROM known k JOIN pair USING (batch_id) JOIN total e ON e.batch_id = earlier AND e."column" = k."column"
    LEFT JOIN share s ON s.batch_id = earlier AND s."column" = k."column" AND s.value = k.value GROUP BY ALL),
pairs AS (
    SELECT u.*, greatest(q / sum(q) OVER (PARTITION BY u.batch_id, u."column"), 0.5 / n) AS expected, greatest(coalesce(s.part, 0), 0.5 / n) AS seen
    FROM usual u LEFT JOIN share s USING (batch_id, "column", value)),
measured AS (
    SELECT batch_id, "column", any_value(n)::BIGINT AS n, sum((seen - expected) * ln(seen / expected)) AS shift,
        chi_square_tail(sum(n * (seen - expected) * (seen - expected) / expected), greatest(count(*) - 1, 1)) AS p
    FROM pairs GROUP BY ALL)
SELECT 'distribution', "column", batch_id, shift, 0, n, p, 1, (shift > getvariable('shift') AND p < 1e-6)::BIGINT, NULL FROM measured;

-- Codes that no batch of the stream dated before this one had.
INSERT INTO finding
WITH first AS (
    SELECT v."column", v.value, b.source, b.part, min((b.batch_date, b.sequence)) AS since
    FROM profile_value v JOIN batch b USING (batch_id) GROUP BY ALL)
SELECT 'seen_before', v."column", b.batch_id, sum(v."rows") FILTER (fresh), NULL, sum(v."rows"), NULL, sum(v."rows"),
    coalesce(sum(v."rows") FILTER (fresh), 0), list(v.value ORDER BY v.value) FILTER (fresh)
FROM (SELECT v.*, f.since = (b.batch_date, b.sequence) AS fresh, b.source FROM profile_value v JOIN batch b USING (batch_id)
      JOIN first f ON f."column" = v."column" AND f.value = v.value AND f.source = b.source AND f.part = b.part) v
JOIN batch b USING (batch_id) JOIN ready USING (batch_id) GROUP BY v."column", b.batch_id;
