WITH ages AS (
    SELECT ind, CASE
        WHEN age BETWEEN 18 AND 24 THEN '18-24'
        WHEN age BETWEEN 25 AND 35 THEN '25-35'
        WHEN age BETWEEN 36 AND 50 THEN '36-50'
        WHEN age > 50 THEN '50+'
    END AS age_group
    FROM users
)
SELECT u.age_group, median(CAST(p.follower_count AS DOUBLE)) AS followers
FROM pins p JOIN ages u ON u.ind = p.ind
WHERE p.follower_count IS NOT NULL AND u.age_group IS NOT NULL
GROUP BY 1
ORDER BY 1
