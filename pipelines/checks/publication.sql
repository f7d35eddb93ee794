-- How many working days after its decision a record was first sent. Given: version(_key, source, part, sent, day, region, folded), one row per record and
-- batch that base holds; exception(day, is_workday), days that are worked otherwise than their weekday says; variable days, the limit.
-- What its stream sent in its first batch is stock, and of a folded record nobody knows when it was first sent: neither is measured.
WITH stream AS (SELECT source, part, min(sent) AS since FROM version GROUP BY ALL),
first AS (
    SELECT source, _key, min(sent) AS sent, arg_min(part, sent) AS part, arg_min(day, sent) AS day, arg_min(region, sent) AS region, bool_or(folded) AS folded
    FROM version GROUP BY ALL),
measured AS (SELECT first.* FROM first JOIN stream USING (source, part) WHERE first.sent > since AND NOT first.folded AND day IS NOT NULL AND day <= first.sent),
calendar AS (
    SELECT d::DATE AS day, sum(coalesce(e.is_workday, isodow(d) < 6)::INTEGER) OVER (ORDER BY d) AS worked
    FROM (SELECT unnest(generate_series((SELECT min(day) FROM measured), (SELECT max(sent) FROM measured), INTERVAL 1 DAY)) AS d) s
    LEFT JOIN exception e ON e.day::DATE = d::DATE)
SELECT m.source, m.sent::VARCHAR AS sent, coalesce(m.region, '') AS region, count(*) AS applicable,
    count(*) FILTER (till.worked - since.worked > getvariable('days')) AS failed, max(till.worked - since.worked)::BIGINT AS longest
FROM measured m JOIN calendar since ON since.day = m.day JOIN calendar till ON till.day = m.sent
GROUP BY ALL ORDER BY ALL
