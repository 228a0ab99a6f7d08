SELECT CAST(date_part('year', date_joined) AS BIGINT) AS year, count(*) AS users
FROM users
WHERE date_joined IS NOT NULL
GROUP BY 1
ORDER BY 1
