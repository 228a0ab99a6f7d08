"""The reports computed again, from the raw events of a lake, with nothing of likeness.

usage: independent.py OBJECTS_FOLDER

Reads the list of files and the raw lines that it names, cleans what the reports read, keeps the latest event of each key,
and prints {"report": [[...], ...], ...}. Only what an emulated service posts is read; anything else is an error.
"""

import gzip
import json
import os
import re
import statistics
import sys
from collections import defaultdict
from datetime import datetime, timezone

NOTHING = {"", "n/a"}
WORDS = {"null", "none", "nan", "undefined"}
OF_FIELD = {
    "poster_name": {"user info error"},
    "follower_count": {"user info error"},
    "title": {"no title data available", "untitled"},
}


class Unclean(Exception):
    pass


def is_nothing(field, text, words=True):
    low = text.strip().lower()
    return low in NOTHING or low in OF_FIELD.get(field, ()) or (words and low in WORDS)


def text(event, field):
    value = event.get(field)
    if value is None:
        return None
    if isinstance(value, (list, dict)):
        raise Unclean(field)
    if isinstance(value, bool):
        return "true" if value else "false"
    value = str(value).replace("\0", "").strip()
    return None if is_nothing(field, value, words=False) else value


def whole(event, field, least=0, most=2**63 - 1):
    value = event.get(field)
    if value is None or isinstance(value, str) and is_nothing(field, value):
        return None
    if isinstance(value, bool):
        raise Unclean(field)
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]+", value.strip()):
            raise Unclean(field)
        value = int(value)
    if isinstance(value, float):
        if value != int(value):
            raise Unclean(field)
        value = int(value)
    if not isinstance(value, int) or not least <= value <= most:
        raise Unclean(field)
    return value


def followers(event):
    value = event.get("follower_count")
    if not isinstance(value, str):
        return whole(event, "follower_count")
    if is_nothing("follower_count", value):
        return None
    found = re.fullmatch(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]+))?\s*([kKmMbB]?)", value.strip())
    if not found:
        raise Unclean("follower_count")
    power = {"": 0, "k": 3, "m": 6, "b": 9}[found[3].lower()]
    fraction = (found[2] or "").rstrip("0")
    if len(fraction) > power:
        raise Unclean("follower_count")
    return int(found[1].replace(",", "") + fraction.ljust(power, "0"))


def moment(event, field):
    value = event.get(field)
    if value is None or isinstance(value, str) and is_nothing(field, value):
        return None
    if not isinstance(value, str):
        raise Unclean(field)
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        raise Unclean(field) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def truth(event, field):
    value = event.get(field)
    if value is None or isinstance(value, bool):
        return
    low = str(value).strip().lower()
    if isinstance(value, str) and is_nothing(field, value):
        return
    if low not in {"1", "1.0", "true", "yes", "0", "0.0", "false", "no"}:
        raise Unclean(field)


def degrees(event, field, limit):
    value = event.get(field)
    if value is None or isinstance(value, str) and is_nothing(field, value):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise Unclean(field) from None
    if not -limit <= found <= limit:
        raise Unclean(field)
    return found


def pin(event):
    truth(event, "downloaded")
    if isinstance(event.get("tag_list"), dict):
        raise Unclean("tag_list")
    for field in ("title", "description", "is_image_or_video", "image_src", "save_location"):
        text(event, field)
    ind = whole(event, "index")
    return {
        "ind": whole(event, "ind") if ind is None else ind,
        "category": text(event, "category"),
        "poster": text(event, "poster_name"),
        "followers": followers(event),
    }


def geolocation(event):
    when = moment(event, "timestamp")
    latitude, longitude = degrees(event, "latitude", 90), degrees(event, "longitude", 180)
    if when is None or (latitude is None) != (longitude is None):
        raise Unclean("timestamp or coordinates")
    return {"year": when.astimezone(timezone.utc).year, "country": text(event, "country")}


def user(event):
    text(event, "first_name"), text(event, "last_name")
    joined = moment(event, "date_joined")
    age = whole(event, "age", 0, 130)
    group = None
    if age is not None and age >= 18:
        group = "18-24" if age <= 24 else "25-35" if age <= 35 else "36-50" if age <= 50 else "50+"
    return {"group": group, "joined": joined and joined.astimezone(timezone.utc).year}


def raw_files(objects):
    """Folds the lists of the lake as its documentation says."""
    folder = os.path.join(objects, "lake", "lists")
    files = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            commit = json.load(file)
        if commit.get("is_checkpoint"):
            files = {}
        for path in commit.get("remove", ()):
            files.pop(path, None)
        for entry in commit["add"]:
            files[entry["path"]] = entry
    return [entry for entry in files.values() if entry["kind"] == "raw"]


def latest(objects, topic, clean):
    rows, events, rejected = {}, 0, 0
    for entry in raw_files(objects):
        if entry["name"] != topic:
            continue
        with gzip.open(os.path.join(objects, entry["path"]), "rt", encoding="utf-8") as lines:
            for line in lines:
                line = json.loads(line)
                events += 1
                try:
                    row = clean(line["event"])
                except Unclean:
                    rejected += 1
                    continue
                known = rows.get(line["key"])
                if known is None or known[0] < line["log_offset"]:
                    rows[line["key"]] = (line["log_offset"], row)
    return {key: row for key, (_, row) in rows.items()}, events, rejected


def top(counts):
    """The name with most of each group, the first by name of those that have as many."""
    return [
        [group, *min(names.items(), key=lambda item: (-item[1], item[0].encode()))]
        for group, names in sorted(counts.items())
    ]


def medians(values):
    return [[group, float(statistics.median(found))] for group, found in sorted(values.items())]


def main():
    objects = sys.argv[1]
    pins, *pin_counts = latest(objects, "pins", pin)
    places, *place_counts = latest(objects, "geolocations", geolocation)
    users, *user_counts = latest(objects, "users", user)
    by_year, by_country, by_group = (defaultdict(lambda: defaultdict(int)) for _ in range(3))
    profiles = defaultdict(dict)
    of_group, of_joined = defaultdict(list), defaultdict(list)
    for row in pins.values():
        ind, category = str(row["ind"]), row["category"]
        place, who = places.get(ind), users.get(ind)
        if place and category is not None:
            by_year[place["year"]][category] += 1
            if place["country"] is not None:
                by_country[place["country"]][category] += 1
        if place and None not in (place["country"], row["poster"], row["followers"]):
            known = profiles[place["country"]].get(row["poster"], -1)
            profiles[place["country"]][row["poster"]] = max(known, row["followers"])
        if who and who["group"]:
            if category is not None:
                by_group[who["group"]][category] += 1
            if row["followers"] is not None:
                of_group[who["group"]].append(row["followers"])
        if who and who["joined"] and row["followers"] is not None:
            of_joined[who["joined"]].append(row["followers"])
    joined = defaultdict(int)
    for row in users.values():
        if row["joined"]:
            joined[row["joined"]] += 1
    counts = [sum(pair) for pair in zip(pin_counts, place_counts, user_counts)]
    reports = {
        "top-category-by-year": top(by_year),
        "top-category-by-country": top(by_country),
        "top-user-by-country": top(profiles),
        "top-category-by-age-group": top(by_group),
        "median-followers-by-age-group": medians(of_group),
        "median-followers-by-joining-year": medians(of_joined),
        "users-joined-by-year": [list(pair) for pair in sorted(joined.items())],
    }
    print(json.dumps({"events": counts[0], "rejected": counts[1], "reports": reports}))


main()
