"""usearch: a graph, over vectors of 32, 16 or 8 bits a number. A build is `M=16`."""

from importlib import metadata

import numpy as np
from usearch.index import Index

from harness import K, Contender, main

EXPANSION_ADD = 128
EXPANSION_SEARCH = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 450, 640, 800, 1600]


class Usearch(Contender):
    kind = "f32"

    def versions(self):
        return {name: metadata.version(name) for name in ("usearch", "numkong")}

    def fresh(self):
        return Index(
            ndim=self.data.dim,
            # Lengths are one already, but only `cos` is sure to be what 8 bits are scaled for.
            metric="l2sq" if self.data.euclidean else ("cos" if self.kind == "i8" else "ip"),
            dtype=self.kind,
            connectivity=int(self.build.removeprefix("M=")),
            expansion_add=EXPANSION_ADD,
        )

    def create(self, rows):
        self.index = self.fresh()
        return 0

    def save(self, folder):
        self.index.save(str(folder / "index"))

    def load(self, folder):
        self.index = self.fresh()
        self.index.load(str(folder / "index"))
        # A file does not keep it.
        self.index.expansion_add = EXPANSION_ADD

    def add(self, first, last):
        keys = np.arange(first, last, dtype=np.uint64)
        self.index._compiled.add_many(keys, self.data.base[first:last], threads=1)

    def adder(self, first, last):
        rows = [self.data.base[row : row + 1] for row in range(first, last)]
        keys = [np.array([row], dtype=np.uint64) for row in range(first, last)]
        add = self.index._compiled.add_many
        return lambda i: add(keys[i], rows[i], threads=1)

    def own_bytes(self):
        return self.index.memory_usage

    def ladders(self):
        return [[{"expansion": expansion} for expansion in EXPANSION_SEARCH]]

    def searcher(self, vectors, setting):
        self.index.expansion_search = setting["expansion"]
        # The method that `Index.search` wraps; the wrapper alone takes several microseconds.
        query = self.index._compiled.search_many
        rows = [vectors[i : i + 1] for i in range(len(vectors))]
        answers = [None] * len(rows)

        def search(i):
            answers[i] = query(rows[i], K, False, 1)

        def table():
            # A run that was ended early leaves the last queries without answers.
            given = [answer for answer in answers if answer is not None]
            return self.padded([keys[0][: int(counts[0])] for keys, _, counts, *_ in given], len(given))

        return search, table

    def empty_call(self):
        one = self.fresh()
        one.add(np.arange(1), self.data.base[:1], threads=1)
        row, query = self.data.queries[:1], one._compiled.search_many
        return lambda i: query(row, K, False, 1)


class UsearchBf16(Usearch):
    kind = "bf16"


class UsearchI8(Usearch):
    kind = "i8"


if __name__ == "__main__":
    main({"usearch-f32": Usearch, "usearch-bf16": UsearchBf16, "usearch-i8": UsearchI8})
