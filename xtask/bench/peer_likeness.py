"""likeness, through the C functions of the example `capi` of `likeness-index`.

A build is `default` or the options that `likeness_new` takes, handed on as they are.
"""

import ctypes

import numpy as np

from harness import K, Contender, main, timed_calls

PROBES = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096]
PROBES += [6144, 8192, 16384]
EPSILON = [1.0, 1.5, 1.9, 2.5, 3.0]
#: 0 is no limit: everything that the error bound does not exclude is compared exactly.
RERANK = [0, 100, 400]
#: Rounds of refinement over all cells before the index is searched.
ROUNDS = 2
#: Under mixed load as many vectors are looked up again, whether they are in the right cell, for each that comes in: what
#: the pipeline does.
REFINED = 3

POINTER, U32, U64, I32, I64, F32 = (
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_uint64,
    ctypes.c_int32,
    ctypes.c_int64,
    ctypes.c_float,
)
SIGNATURES = {
    "likeness_new": (POINTER, [U32, U32, U64, ctypes.c_char_p]),
    "likeness_free": (None, [POINTER]),
    "likeness_insert": (I32, [POINTER, U64, POINTER]),
    "likeness_insert_batch": (I32, [POINTER, POINTER, POINTER, U64]),
    "likeness_refine": (I64, [POINTER, U32]),
    "likeness_num_cells": (U32, [POINTER]),
    "likeness_search": (I32, [POINTER, POINTER, U32, U32, F32, U32, POINTER, POINTER]),
    "likeness_insert_search": (
        I32,
        [POINTER, U64, POINTER, U32, U32, F32, U32, POINTER, POINTER],
    ),
    "likeness_memory_bytes": (U64, [POINTER]),
    "likeness_len": (U64, [POINTER]),
}


def check(result, what):
    if result < 0:
        raise SystemExit(f"{what} failed with {result}")


def addresses(matrix):
    """The address of each row of a contiguous matrix."""
    assert matrix.flags.c_contiguous
    start, step = matrix.ctypes.data, matrix.strides[0]
    return range(start, start + step * len(matrix), step)


class Likeness(Contender):
    can_save = False
    index = None

    def __init__(self, data, build, options):
        super().__init__(data, build, options)
        if options.library is None:
            raise SystemExit("--library says where the example capi is")
        library = ctypes.CDLL(str(options.library))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self.library = library

    def versions(self):
        # Its version is the commit, which the report names once.
        return {}

    def fresh(self):
        options = None if self.build == "default" else self.build.encode()
        index = self.library.likeness_new(
            self.data.dim, int(self.data.euclidean), self.options.seed, options
        )
        if not index:
            raise SystemExit("likeness_new failed")
        return index

    def create(self, rows):
        self.index = self.fresh()
        return 0

    def drop(self):
        self.library.likeness_free(self.index)
        self.index = None

    def add(self, first, last):
        numbers = np.arange(first, last, dtype=np.uint64)
        rows = self.data.base[first:last]
        check(
            self.library.likeness_insert_batch(
                self.index, numbers.ctypes.data, rows.ctypes.data, last - first
            ),
            "likeness_insert_batch",
        )

    def settle(self):
        cells = self.library.likeness_num_cells(self.index)
        check(self.library.likeness_refine(self.index, ROUNDS * cells), "likeness_refine")

    def adder(self, first, last):
        rows = addresses(self.data.base[first:last])
        index, insert = self.index, self.library.likeness_insert

        def add(i):
            if insert(index, first + i, rows[i]) < 0:
                raise SystemExit("likeness_insert failed")

        return add

    def own_bytes(self):
        held = self.library.likeness_len(self.index)
        if held != self.data.n:
            raise SystemExit(f"the index holds {held} of {self.data.n} rows")
        return self.library.likeness_memory_bytes(self.index)

    def ladders(self):
        return [
            [{"probes": probes, "epsilon": epsilon, "rerank": rerank} for probes in PROBES]
            for epsilon in EPSILON
            for rerank in RERANK
        ]

    def answers(self, count):
        numbers = np.full((count, K), np.iinfo(np.uint64).max, dtype=np.uint64)
        similarities = np.empty((count, K), dtype=np.float32)
        return numbers, similarities

    def searcher(self, vectors, setting):
        queries = addresses(vectors)
        numbers, similarities = self.answers(len(vectors))
        to_numbers, to_similarities = addresses(numbers), addresses(similarities)
        index, query = self.index, self.library.likeness_search
        probes, epsilon, rerank = setting["probes"], setting["epsilon"], setting["rerank"]

        def search(i):
            found = query(
                index, queries[i], K, probes, epsilon, rerank, to_numbers[i], to_similarities[i]
            )
            if found < 0:
                raise SystemExit("likeness_search failed")

        search.arrays = (vectors, numbers, similarities)
        # The largest number is no row; as a signed one it is -1.
        return search, lambda: numbers.view(np.int64)

    def mixer(self, first, last, setting):
        rows = addresses(self.data.base[first:last])
        numbers, similarities = self.answers(last - first)
        to_numbers, to_similarities = addresses(numbers), addresses(similarities)
        index, both = self.index, self.library.likeness_insert_search
        refine, cells = self.library.likeness_refine, self.library.likeness_num_cells(index)
        each = max(first // (REFINED * cells), 1)
        probes, epsilon, rerank = setting["probes"], setting["epsilon"], setting["rerank"]

        def pair(i):
            found = both(
                index,
                first + i,
                rows[i],
                K,
                probes,
                epsilon,
                rerank,
                to_numbers[i],
                to_similarities[i],
            )
            if found < 0:
                raise SystemExit("likeness_insert_search failed")
            if i % each == 0:
                refine(index, 1)

        pair.arrays = (numbers, similarities)
        return pair

    def empty_call(self):
        # Leaks a handle of an empty index, once.
        empty, query = self.fresh(), self.library.likeness_search
        row = self.data.queries.ctypes.data
        numbers, similarities = self.answers(1)
        to_numbers, to_similarities = numbers.ctypes.data, similarities.ctypes.data

        def search(i):
            query(empty, row, K, 1, 1.0, 0, to_numbers, to_similarities)

        search.arrays = (numbers, similarities)
        return search

    def extra(self, rows):
        """Rows one by one into an index that starts empty."""
        self.create(rows)
        seconds, _ = timed_calls(self.adder(0, rows), rows)
        self.drop()
        return {"inserts_per_s_single_from_empty": rows / seconds}


if __name__ == "__main__":
    main({"likeness": Likeness})
