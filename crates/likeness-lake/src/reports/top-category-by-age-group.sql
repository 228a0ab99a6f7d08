WITH ages AS (
    SELECT ind, CASE
        WHEN age BETWEEN 18 AND 24 THEN '18-24'
        WHEN age BETWEEN 25 AND 35 THEN '25-35'
        WHEN age BETWEEN 36 AND 50 THEN '36-50'
        WHEN age > 50 THEN '50+'
    END AS age_group
    FROM users
), counts AS (
    SELECT u.age_group, p.category, count(*) AS pins
    FROM pins p JOIN ages u ON u.ind = p.ind
    WHERE p.category IS NOT NULL AND u.age_group IS NOT NULL
    GROUP BY 1, 2
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY age_group ORDER BY pins DESC, category) AS place FROM counts
)
SELECT age_group, category, pins FROM ranked WHERE place = 1 ORDER BY age_group
