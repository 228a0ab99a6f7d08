"""Asks Polars' streaming engine a query of a lake's files: `sql_polars.py LAKE NAME ARGUMENT`.

Prints one JSON object: rows, and the seconds of the query alone. The number of threads is `POLARS_MAX_THREADS`.
"""

import datetime
import json
import sys
import time

import polars as pl

LAKE, NAME, ARGUMENT = sys.argv[1:4]
KEYS = {"pins": "unique_id", "geolocations": "ind", "users": "ind"}


def versions(table):
    return pl.scan_parquet(f"{LAKE}/rows/{table}/*/*.parquet", hive_partitioning=True)


def latest(table, columns):
    """The latest row of each key: sorting groups would be slower."""
    key = KEYS[table]
    last = pl.col("log_offset").arg_max()
    return versions(table).group_by(key).agg(pl.col(*columns).get(last))


def top_category_by_country():
    pins = latest("pins", ["ind", "category"]).filter(pl.col("category").is_not_null())
    places = latest("geolocations", ["country"]).filter(pl.col("country").is_not_null())
    counts = pins.join(places, on="ind").group_by("country", "category").agg(pl.len().alias("pins"))
    ordered = counts.sort("pins", "category", descending=[True, False])
    return ordered.group_by("country", maintain_order=True).first().sort("country")


def queries():
    pins = versions("pins")
    week = pl.col("date").is_between(datetime.date(2025, 6, 1), datetime.date(2025, 6, 7))
    return {
        "count": lambda: pins.select(pl.len()),
        "categories": lambda: pins.group_by("category")
        .agg(pl.len(), pl.col("follower_count").mean())
        .sort("category", nulls_last=True),
        "week": lambda: pins.filter(week).group_by("category").agg(pl.len()).sort("category", nulls_last=True),
        "text": lambda: pins.filter(pl.col("description").str.contains(ARGUMENT, literal=True)).select(pl.len()),
        "profiles": lambda: pins.group_by("poster_name")
        .agg(pl.col("follower_count").max(), pl.len())
        .sort("follower_count", "poster_name", descending=[True, False], nulls_last=True)
        .head(10),
        "one": lambda: pins.filter(pl.col("unique_id") == ARGUMENT)
        .select("title", "category", "log_offset")
        .sort("log_offset"),
        "join": lambda: pins.join(versions("geolocations"), on="log_offset")
        .group_by("country", "category")
        .agg(pl.len())
        .sort("country", "category", nulls_last=True),
        "latest": lambda: latest("pins", ["category"])
        .group_by("category")
        .agg(pl.len())
        .sort("category", nulls_last=True),
        "report": top_category_by_country,
    }


def main():
    query = queries()[NAME]()
    started = time.perf_counter()
    frame = query.collect(engine="streaming")
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "rows": [list(row) for row in frame.rows()]}))


main()
