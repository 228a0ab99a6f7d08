WITH profiles AS (
    SELECT g.country, p.poster_name, max(p.follower_count) AS followers
    FROM pins p JOIN geolocations g ON g.ind = p.ind
    WHERE p.poster_name IS NOT NULL AND p.follower_count IS NOT NULL AND g.country IS NOT NULL
    GROUP BY 1, 2
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY country ORDER BY followers DESC, poster_name) AS place FROM profiles
)
SELECT country, poster_name, followers FROM ranked WHERE place = 1 ORDER BY country
