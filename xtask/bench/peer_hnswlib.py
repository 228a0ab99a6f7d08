"""hnswlib: a graph. A build is `M=16`; efConstruction 200 for all."""

from importlib import metadata

import hnswlib
import numpy as np

from harness import K, Contender, main

EF_CONSTRUCTION = 200
EF = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 450, 640, 800, 1600]


class Hnswlib(Contender):
    def versions(self):
        return {"hnswlib": metadata.version("hnswlib")}

    def fresh(self):
        # Vectors of cosine sets have unit length already, so the inner product is the cosine.
        space = "l2" if self.data.euclidean else "ip"
        return hnswlib.Index(space=space, dim=self.data.dim)

    def create(self, rows):
        self.index = self.fresh()
        self.index.init_index(
            max_elements=self.data.n,
            M=int(self.build.removeprefix("M=")),
            ef_construction=EF_CONSTRUCTION,
            random_seed=self.options.seed,
        )
        self.index.set_num_threads(1)
        return 0

    def save(self, folder):
        self.index.save_index(str(folder / "index"))

    def load(self, folder):
        self.index = self.fresh()
        self.index.load_index(str(folder / "index"), max_elements=self.data.n)
        self.index.set_num_threads(1)

    def add(self, first, last):
        self.index.add_items(self.data.base[first:last], np.arange(first, last), num_threads=1)

    def adder(self, first, last):
        rows = [self.data.base[row : row + 1] for row in range(first, last)]
        ids = [np.array([row]) for row in range(first, last)]
        add = self.index.add_items
        return lambda i: add(rows[i], ids[i], 1)

    def own_bytes(self):
        return self.index.index_file_size()

    def ladders(self):
        return [[{"ef": ef} for ef in EF]]

    def searcher(self, vectors, setting):
        self.index.set_ef(setting["ef"])
        rows = [vectors[i : i + 1] for i in range(len(vectors))]
        answers, query = [None] * len(rows), self.index.knn_query

        def search(i):
            answers[i] = query(rows[i], K, 1)[0]

        # A run that was ended early leaves the last queries without answers.
        return search, lambda: np.vstack([answer for answer in answers if answer is not None])

    def empty_call(self):
        one = self.fresh()
        one.init_index(max_elements=1, M=16, ef_construction=EF_CONSTRUCTION)
        one.add_items(self.data.base[:1], num_threads=1)
        row, query = self.data.queries[:1], one.knn_query
        return lambda i: query(row, 1, 1)


if __name__ == "__main__":
    main({"hnswlib": Hnswlib})
