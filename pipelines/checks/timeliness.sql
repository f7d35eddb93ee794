-- What was due and when it came. Table given: delivery(source, part, batch_date, received_on); variables: today, months and days (the
-- rhythm, one of them 0), latency. A stream's rhythm starts at its first batch date; a batch counts for the due date nearest to its own.
WITH stream AS (SELECT source, part, min(batch_date::DATE) AS first FROM delivery GROUP BY ALL),
due AS (
    SELECT source, part, expected, expected + getvariable('latency')::INTEGER AS due_on
    FROM (SELECT source, part, (first + to_months((k * getvariable('months'))::INTEGER) + to_days((k * getvariable('days'))::INTEGER))::DATE AS expected
          FROM stream, range(0, 4000) s(k))
    WHERE expected <= getvariable('today')::DATE),
nearest AS (
    SELECT source, part, batch_date, received_on, arg_min(expected, (abs(expected - batch_date::DATE), expected)) AS expected
    FROM delivery JOIN due USING (source, part) GROUP BY ALL),
came AS (SELECT source, part, expected, min(received_on::DATE) AS received_on FROM nearest GROUP BY ALL)
SELECT source, expected::VARCHAR AS expected, part, received_on IS NULL AS missing,
    greatest(coalesce(received_on, getvariable('today')::DATE) - due_on, 0)::BIGINT AS days_late
FROM due LEFT JOIN came USING (source, part, expected)
WHERE (received_on IS NOT NULL OR due_on < getvariable('today')::DATE) AND expected >= getvariable('today')::DATE - 430
ORDER BY ALL
