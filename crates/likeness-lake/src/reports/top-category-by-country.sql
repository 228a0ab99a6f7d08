WITH counts AS (
    SELECT g.country, p.category, count(*) AS pins
    FROM pins p JOIN geolocations g ON g.ind = p.ind
    WHERE p.category IS NOT NULL AND g.country IS NOT NULL
    GROUP BY 1, 2
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY country ORDER BY pins DESC, category) AS place FROM counts
)
SELECT country, category, pins FROM ranked WHERE place = 1 ORDER BY country
