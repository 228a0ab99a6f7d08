"""ScaNN, from Google's wheel (`scann`) or the standalone build of its core (`scann-core`).

Both packages have the same interface; each has an environment of its own. A build is `leaves=2`: twice
the square root of the rows.
"""

import math
from importlib import metadata

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from harness import K, Contender, main

LEAVES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
REORDER = [20, 40, 80, 160, 320, 640]
#: Weight of the error along a vector against the error across it; the threshold follows from it.
ANISOTROPY = 3.0


class Scann(Contender):
    package = "scann"

    def versions(self):
        return {self.package: metadata.version(self.package)}

    def create(self, rows):
        data = self.data
        leaves = round(int(self.build.removeprefix("leaves=")) * math.sqrt(data.n))
        builder = scann_ops_pybind.builder(
            data.base[:rows], K, "squared_l2" if data.euclidean else "dot_product"
        )
        builder.set_n_training_threads(1)
        builder.tree(
            num_leaves=leaves,
            num_leaves_to_search=leaves,
            # Unit vectors are better divided by direction.
            spherical=not data.euclidean,
            training_sample_size=min(rows, 256 * leaves),
        )
        if data.euclidean:
            builder.score_ah(2)
        else:
            threshold = math.sqrt(ANISOTROPY / (data.dim - 1 + ANISOTROPY))
            builder.score_ah(2, anisotropic_quantization_threshold=threshold)
        builder.reorder(REORDER[0])
        self.index = builder.build().searcher
        self.index.set_num_threads(1)
        return rows

    def save(self, folder):
        self.index.serialize(str(folder), True)

    def load(self, folder):
        self.index = scann_ops_pybind.load_searcher(str(folder)).searcher
        self.index.set_num_threads(1)

    def add(self, first, last):
        # None: a new row, which gets the next number.
        self.index.upsert([None] * (last - first), self.data.base[first:last], last - first)

    def adder(self, first, last):
        rows = [self.data.base[row : row + 1] for row in range(first, last)]
        upsert, new = self.index.upsert, [None]
        return lambda i: upsert(new, rows[i], 1)

    def ladders(self):
        return [
            [{"reorder": reorder, "leaves": leaves} for leaves in LEAVES] for reorder in REORDER
        ]

    def searcher(self, vectors, setting):
        rows = [vectors[i] for i in range(len(vectors))]
        answers, query = [None] * len(rows), self.index.search
        reorder, leaves = setting["reorder"], setting["leaves"]

        def search(i):
            answers[i] = query(rows[i], K, reorder, leaves)[0]

        def table():
            # A run that was ended early leaves the last queries without answers.
            given = [answer for answer in answers if answer is not None]
            return self.padded(given, len(given))

        return search, table

    def empty_call(self):
        few = scann_ops_pybind.builder(self.data.base[:K], K, "dot_product")
        query = few.score_brute_force().build().searcher.search
        row = self.data.queries[0]
        return lambda i: query(row, K, K, 1)


class ScannCore(Scann):
    package = "scann-core"


if __name__ == "__main__":
    main({"scann": Scann, "scann-core": ScannCore})
