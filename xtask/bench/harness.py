"""What is measured of an index, the same way for all of them.

A driver subclasses `Contender` and calls `main`. One process measures one build of one contender on
one set, on one CPU, with one thread:

1. rows are inserted in batches up to the last tenth (at most 10,000), then the index may do what it
   does when there is time (part of the build), then the rest one by one; what was inserted in batches is kept on disk where the package can, so a second run is quick;
2. every setting of the search is run once over all queries after 200 queries of warm-up; those that
   are best, or nearly, for their recall are run three times anew, and the median run counts;
3. the index without the last rows is taken again, and each of those rows is searched for and then
   inserted, at the fastest setting of step 2 whose recall was at least 0.99.

Times are of calls from Python, one vector each; `empty_call_us` says how much of a call is the way
there and back. Writes one JSON object to `--out`; progress goes to standard error.
"""

import argparse
import ctypes
import gc
import json
import os
import pathlib
import shutil
import sys
import time

import numpy as np

K = 10
BATCH = 1_000
WARM_UP = 200
RUNS = 3
#: Rows that mixed load inserts, and the share of a small set that they may be.
MIXED_ROWS = 10_000
MIXED_SHARE = 10
MIXED_LIMIT_S = 60.0
MIXED_RECALL = 0.99
#: A ladder of settings ends when recall gets here, or grows no more, or a query takes this long.
TOP_RECALL = 0.9995
LEAST_GAIN = 0.0002
SLOWEST_QUERY_S = 0.02
#: A quick run ends after so long, but not before so many queries; recall is over those that were answered.
QUICK_LIMIT_S = 3.0
QUICK_QUERIES = 200
#: Settings are timed again unless one of better recall is faster by more than this.
NEAR_BEST = 1.2
#: Below this share of a CPU a run was disturbed by others: it is repeated, then marked.
FULL_SHARE = 0.97
REPEATS = 3
#: Similarities this close count as equal: the truth is one of several when vectors are alike.
TIE = 1e-5


def note(text):
    print(text, file=sys.stderr, flush=True)


class Set:
    """The folder that `sets.py` makes."""

    def __init__(self, folder):
        self.folder = folder
        facts = json.loads((folder / "set.json").read_text())
        self.name, self.n, self.dim = facts["name"], facts["n"], facts["dim"]
        self.euclidean = facts["metric"] == "euclidean"
        # A plain view: subclasses of ndarray cost time in every call.
        self.base = np.asarray(np.load(folder / "base.npy", mmap_mode="r"))
        self.queries = np.load(folder / "queries.npy")
        self.truth = np.load(folder / "truth.npy")
        last = self.scores(self.truth)[:, K - 1 : K]
        self.floor = last - TIE * np.maximum(np.abs(last), 1)

    def scores(self, rows):
        """The exact similarity of each query to each of its rows, larger is nearer."""
        vectors, queries = self.base[np.clip(rows, 0, None)], self.queries[: len(rows)]
        if self.euclidean:
            return -np.square(vectors - queries[:, None, :]).sum(axis=2)
        return np.einsum("qkd,qd->qk", vectors, queries)

    def recall(self, answers, count):
        """The share of the ten nearest of the first `count` queries that was found, as near as the tenth
        counting as one."""
        answers = np.array(answers, dtype=np.int64)[:count]
        ordered = np.sort(answers, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise SystemExit("an answer names a row twice")
        found = (answers >= 0) & (self.scores(answers) >= self.floor[:count])
        return float(found.sum() / answers.size)


class Contender:
    """An index under test; drivers say what their package can do."""

    #: Raised whenever the driver builds another index from the same rows.
    recipe = 1
    #: Whether `save` and `load` work.
    can_save = True

    def __init__(self, data, build, options):
        self.data, self.build, self.options = data, build, options

    def versions(self):
        """Versions of the package and of what it computes with."""
        raise NotImplementedError

    def create(self, rows):
        """Makes an index to take `rows` rows, trained if need be. Returns how many it holds already."""
        raise NotImplementedError

    def add(self, first, last):
        """Inserts rows of the base as one batch."""
        raise NotImplementedError

    def settle(self):
        """Does what an index does when there is time, before it is searched."""

    def adder(self, first, last):
        """Returns a function that inserts row `first + i` alone."""
        raise NotImplementedError

    def ladders(self):
        """Lists of settings (dicts), each list from cheap to dear."""
        raise NotImplementedError

    def searcher(self, vectors, setting):
        """Returns a function that searches for vector `i`, and one that returns all answers."""
        raise NotImplementedError

    def empty_call(self):
        """Returns a function that makes the call of a search with nothing to find."""
        raise NotImplementedError

    def mixer(self, first, last, setting):
        """Returns a function that searches for row `first + i` and then inserts it."""
        search, _ = self.searcher(self.data.base[first:last], setting)
        insert = self.adder(first, last)

        def pair(i):
            search(i)
            insert(i)

        return pair

    def own_bytes(self):
        """Bytes that the package says the index takes, or None."""
        return None

    def extra(self, rows):
        """Further figures, measured when everything else is done and the index is gone."""
        return {}

    def drop(self):
        """Frees the index."""
        self.index = None

    def padded(self, answers, count):
        """Turns a list of ids per query into `count x K`, -1 where there are fewer."""
        table = np.full((count, K), -1, dtype=np.int64)
        for row, ids in enumerate(answers):
            table[row, : min(len(ids), K)] = ids[:K]
        return table


def disturbed(share):
    return "" if share >= FULL_SHARE else f", disturbed: {share:.0%} of a CPU"


class Stopwatch:
    """Seconds since it was made, and which share of them this process had a CPU."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self):
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return wall, min(cpu / wall, 1.0)


def timed_calls(call, count, limit_s=float("inf"), least=0):
    """Returns seconds in all and nanoseconds of each call; stops after the limit, once `least` are done."""
    laps, clock = [], time.perf_counter_ns
    gc.collect()
    gc.disable()
    begin = before = clock()
    end = begin + limit_s * 1e9
    for i in range(count):
        call(i)
        now = clock()
        laps.append(now - before)
        before = now
        if now > end and i + 1 >= least:
            break
    gc.enable()
    return (before - begin) / 1e9, laps


def anonymous_bytes():
    """Resident memory that no file backs, after returning what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not tell the resident memory")


class Bench:
    def __init__(self, contender, data, options):
        self.contender, self.data, self.name = contender, data, options.contender
        self.quick, self.fresh = options.quick, options.fresh
        self.rows = data.n - min(MIXED_ROWS, data.n // MIXED_SHARE)
        self.kept = data.folder / "built" / f"{self.name}-{contender.build}".replace("/", "_")

    def say(self, text):
        note(f"  {self.data.name} {self.name} {self.contender.build}: {text}")

    def part(self):
        """Provides the index of all but the last rows. Returns what making it took."""
        contender, marker = self.contender, self.kept / "part.json"
        wanted = {
            "versions": contender.versions(),
            "recipe": contender.recipe,
            "seed": contender.options.seed,
            "rows": self.rows,
        }
        if marker.exists():
            facts = json.loads(marker.read_text())
            if facts["made"] == wanted and not self.fresh:
                contender.load(self.kept)
                return facts["took"]
        watch = Stopwatch()
        held = contender.create(self.rows)
        create_s, _ = watch.read()
        last_note = create_s
        for first in range(held, self.rows, BATCH):
            contender.add(first, min(first + BATCH, self.rows))
            if watch.read()[0] - last_note > 30:
                last_note, _ = watch.read()
                self.say(f"{first + BATCH} of {self.rows} rows, {last_note:.0f} s")
        added_s, _ = watch.read()
        contender.settle()
        build_s, share = watch.read()
        took = {
            "create_s": create_s,
            "add_s": added_s - create_s,
            "settle_s": build_s - added_s,
            "added": self.rows - held,
            "cpu_share": share,
        }
        self.say(f"built in {build_s:.1f} s{disturbed(share)}")
        if contender.can_save:
            shutil.rmtree(self.kept, ignore_errors=True)
            self.kept.mkdir(parents=True)
            contender.save(self.kept)
            self.fresh = False
            marker.write_text(json.dumps({"made": wanted, "took": took}))
        return took

    def run(self):
        contender, data = self.contender, self.data
        before = anonymous_bytes()
        took = self.part()
        figures = {"versions": contender.versions(), "build_cpu_share": took["cpu_share"]}
        figures["inserts_per_s_batch"] = took["added"] / took["add_s"] if took["added"] else None
        single_s = self.finish(figures)
        figures["create_s"] = took["create_s"]
        figures["build_s"] = took["create_s"] + took["add_s"] + took["settle_s"] + single_s
        figures["bytes_per_vector"] = (anonymous_bytes() - before) / data.n
        own = contender.own_bytes()
        figures["own_bytes_per_vector"] = own / data.n if own else None
        empty = contender.empty_call()
        timed_calls(empty, WARM_UP)
        figures["empty_call_us"] = float(np.median(timed_calls(empty, 2_000)[1])) / 1e3

        points = self.sweep()
        figures["points"] = points
        self.mixed(figures, points)
        contender.drop()
        figures.update(contender.extra(self.rows))
        return figures

    def finish(self, figures):
        """Inserts the last rows: half in batches where none were before, the others one by one."""
        contender, first, last = self.contender, self.rows, self.data.n
        batch_s = 0.0
        if figures["inserts_per_s_batch"] is None:
            half = first + (last - first) // 2
            started = time.perf_counter()
            for start in range(first, half, BATCH):
                contender.add(start, min(start + BATCH, half))
            batch_s = time.perf_counter() - started
            figures["inserts_per_s_batch"] = (half - first) / batch_s
            first = half
        insert = contender.adder(first, last)
        watch = Stopwatch()
        seconds, _ = timed_calls(insert, last - first)
        _, figures["single_cpu_share"] = watch.read()
        figures["inserts_per_s_single"] = (last - first) / seconds
        return batch_s + seconds

    def run_queries(self, setting):
        search, answers = self.contender.searcher(self.data.queries, setting)
        count = len(self.data.queries)
        limit_s = QUICK_LIMIT_S if self.quick else float("inf")
        timed_calls(search, min(WARM_UP, count), limit_s)
        for _ in range(REPEATS):
            watch = Stopwatch()
            seconds, laps = timed_calls(search, count, limit_s, QUICK_QUERIES)
            _, share = watch.read()
            if share >= FULL_SHARE:
                break
        done = len(laps)
        return {
            "seconds": seconds / done * count,
            "laps": laps,
            "recall": self.data.recall(answers(), done),
            "cpu_share": share,
        }

    def sweep(self):
        """Returns the points of the settings that are best, or nearly, for their recall."""
        started, tried = time.perf_counter(), []
        count = len(self.data.queries)
        for ladder in self.contender.ladders():
            reached = -1.0
            for setting in ladder[:: 2 if self.quick else 1]:
                run = self.run_queries(setting)
                tried.append((setting, run))
                stuck = run["recall"] < reached + LEAST_GAIN and run["recall"] > 0.5
                reached = max(reached, run["recall"])
                if stuck or reached >= TOP_RECALL or run["seconds"] > SLOWEST_QUERY_S * count:
                    break
        points = []
        for setting in self.promising(tried):
            # The run that chose the setting does not count: the luckiest would always be kept.
            runs = [self.run_queries(setting) for _ in range(RUNS)]
            median = sorted(runs, key=lambda run: run["seconds"])[RUNS // 2]
            points.append(
                {
                    "setting": setting,
                    "recall": median["recall"],
                    "cpu_share": median["cpu_share"],
                    "queries_per_s": count / median["seconds"],
                    "p50_us": float(np.percentile(median["laps"], 50)) / 1e3,
                    "p99_us": float(np.percentile(median["laps"], 99)) / 1e3,
                }
            )
        points.sort(key=lambda point: point["recall"])
        self.say(
            f"{len(tried)} settings in {time.perf_counter() - started:.0f} s, recall up to "
            f"{points[-1]['recall']:.4f} at {points[-1]['queries_per_s']:.0f}/s"
        )
        return points

    def promising(self, tried):
        """Returns the settings that none beats by far, one for each recall."""

        def cost(run):
            # What others took of the CPU does not count here.
            return run["seconds"] * run["cpu_share"]

        fastest = {}
        for setting, run in tried:
            recall = round(run["recall"], 3)
            if recall not in fastest or cost(run) < cost(fastest[recall][1]):
                fastest[recall] = (setting, run)
        candidates = list(fastest.values())
        return [
            setting
            for setting, run in candidates
            if not any(
                other["recall"] > run["recall"] and cost(other) * NEAR_BEST < cost(run)
                for _, other in candidates
            )
        ]

    def mixed(self, figures, points):
        figures["mixed"] = None
        good = [point for point in points if point["recall"] >= MIXED_RECALL]
        if not good:
            self.say(f"no setting reached recall {MIXED_RECALL}, so no mixed load")
            return
        chosen = max(good, key=lambda point: point["queries_per_s"] / point["cpu_share"])
        tries = []
        while len(tries) < REPEATS and not any(run["cpu_share"] >= FULL_SHARE for run in tries):
            tries.append(self.pairs(chosen))
        figures["mixed"] = max(tries, key=lambda run: run["cpu_share"])

    def pairs(self, chosen):
        """Searches for and then inserts each of the last rows, at the setting of a point."""
        contender, data, setting = self.contender, self.data, chosen["setting"]
        contender.drop()
        self.part()
        warm, _ = contender.searcher(data.queries, setting)
        timed_calls(warm, min(WARM_UP, len(data.queries)))
        pair = contender.mixer(self.rows, data.n, setting)
        watch = Stopwatch()
        seconds, laps = timed_calls(pair, data.n - self.rows, MIXED_LIMIT_S)
        _, share = watch.read()
        self.say(f"mixed {len(laps) / seconds:.0f} pairs/s at {setting}{disturbed(share)}")
        return {
            "setting": setting,
            "recall": chosen["recall"],
            "cpu_share": share,
            "pairs": len(laps),
            "pairs_per_s": len(laps) / seconds,
            "p50_us": float(np.percentile(laps, 50)) / 1e3,
            "p99_us": float(np.percentile(laps, 99)) / 1e3,
        }


def main(kinds):
    """Runs the driver: `kinds` names its contenders and their classes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=sorted(kinds))
    parser.add_argument("--build", required=True)
    parser.add_argument("--set", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--cpu", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--library", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="every other setting, each for a few seconds")
    parser.add_argument("--fresh", action="store_true", help="use no index kept on disk")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.cpu})
    data = Set(options.set)
    contender = kinds[options.contender](data, options.build, options)
    figures = Bench(contender, data, options).run()
    options.out.write_text(json.dumps(figures))
