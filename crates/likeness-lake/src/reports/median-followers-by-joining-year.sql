SELECT CAST(date_part('year', u.date_joined) AS BIGINT) AS year, median(CAST(p.follower_count AS DOUBLE)) AS followers
FROM pins p JOIN users u ON u.ind = p.ind
WHERE p.follower_count IS NOT NULL AND u.date_joined IS NOT NULL
GROUP BY 1
ORDER BY 1
