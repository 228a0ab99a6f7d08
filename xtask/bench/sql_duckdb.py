"""Asks DuckDB a query of a lake's files: `sql_duckdb.py LAKE MEMORY_BYTES THREADS SPILL QUERY`.

Prints one JSON object: rows, and the seconds of the query alone.
"""

import datetime
import decimal
import json
import sys
import time

import duckdb

# The latest row of each key, as the lake's own view has it.
KEYS = {"pins": "unique_id", "geolocations": "ind", "users": "ind"}


def plain(value):
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


def main():
    lake, memory, threads, spill, query = sys.argv[1:6]
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{memory}B'")
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"SET temp_directory = '{spill}'")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET TimeZone = 'UTC'")
    for table, key in KEYS.items():
        files = f"{lake}/rows/{table}/*/*.parquet"
        connection.execute(
            f"CREATE VIEW {table}_versions AS SELECT * FROM read_parquet('{files}', hive_partitioning = true)"
        )
        connection.execute(
            f"CREATE VIEW {table} AS SELECT * FROM {table}_versions "
            f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY log_offset DESC) = 1"
        )
    started = time.perf_counter()
    rows = connection.execute(query).fetchall()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "rows": [[plain(value) for value in row] for row in rows]}))


main()
