WITH counts AS (
    SELECT CAST(date_part('year', g."timestamp") AS BIGINT) AS year, p.category, count(*) AS pins
    FROM pins p JOIN geolocations g ON g.ind = p.ind
    WHERE p.category IS NOT NULL
    GROUP BY 1, 2
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY year ORDER BY pins DESC, category) AS place FROM counts
)
SELECT year, category, pins FROM ranked WHERE place = 1 ORDER BY year
