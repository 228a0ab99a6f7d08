"""faiss: a graph and two kinds of lists of short codes with exact re-rank.

A build is `M=16` for the graph and `lists=2` for lists: twice the square root of the rows. Calls go to
the C++ methods through their pointers, past the checks that the package adds in Python. The metric is
always squared euclidean, which orders unit vectors as the cosine does: codes of residuals are better
for it.
"""

import math
from importlib import metadata

import faiss
import numpy as np

from harness import K, Contender, main

EF_CONSTRUCTION = 200
EF = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 450, 640, 800, 1600]
PROBES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
RERANK = [2, 4, 8, 16, 32, 64]
#: What faiss itself takes per list when it trains on more.
TRAINING_PER_LIST = 256


class Faiss(Contender):
    """What the three share."""

    def versions(self):
        return {"faiss-cpu": metadata.version("faiss-cpu")}

    def save(self, folder):
        faiss.write_index(self.index, str(folder / "index"))

    def load(self, folder):
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(str(folder / "index"))

    def add(self, first, last):
        self.index.add_c(last - first, faiss.swig_ptr(self.data.base[first:last]))

    def adder(self, first, last):
        pointers = [faiss.swig_ptr(self.data.base[row : row + 1]) for row in range(first, last)]
        add = self.index.add_c
        return lambda i: add(1, pointers[i])

    def apply(self, setting):
        raise NotImplementedError

    def searcher(self, vectors, setting):
        self.apply(setting)
        distances = np.empty((len(vectors), K), dtype=np.float32)
        labels = np.full((len(vectors), K), -1, dtype=np.int64)
        queries = [faiss.swig_ptr(vectors[i : i + 1]) for i in range(len(vectors))]
        to_distances = [faiss.swig_ptr(distances[i]) for i in range(len(vectors))]
        to_labels = [faiss.swig_ptr(labels[i]) for i in range(len(vectors))]
        query = self.index.search_c

        def search(i):
            query(1, queries[i], K, to_distances[i], to_labels[i])

        # The arrays live as long as the pointers into them.
        search.arrays = (vectors, distances, labels)
        return search, lambda: labels

    def empty_call(self):
        row = faiss.swig_ptr(self.data.queries)
        distances, labels = np.empty(K, dtype=np.float32), np.empty(K, dtype=np.int64)
        to_distances, to_labels = faiss.swig_ptr(distances), faiss.swig_ptr(labels)
        empty = faiss.IndexFlatL2(self.data.dim)
        query = empty.search_c
        return lambda i: query(0, row, K, to_distances, to_labels)


class Hnsw(Faiss):
    def create(self, rows):
        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(self.data.dim, int(self.build.removeprefix("M=")))
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        return 0

    def ladders(self):
        return [[{"ef": ef} for ef in EF]]

    def apply(self, setting):
        self.index.hnsw.efSearch = setting["ef"]


class Lists(Faiss):
    """Inverted lists, re-ranked exactly."""

    def codes(self):
        raise NotImplementedError

    def create(self, rows):
        faiss.omp_set_num_threads(1)
        lists = round(int(self.build.removeprefix("lists=")) * math.sqrt(self.data.n))
        self.index = faiss.index_factory(self.data.dim, f"IVF{lists},{self.codes()},RFlat")
        # Rows are in random order.
        sample = np.ascontiguousarray(self.data.base[: min(rows, lists * TRAINING_PER_LIST)])
        self.index.train_c(len(sample), faiss.swig_ptr(sample))
        return 0

    def ladders(self):
        return [
            [{"rerank": rerank, "probes": probes} for probes in PROBES] for rerank in RERANK
        ]

    def apply(self, setting):
        refined = faiss.downcast_index(self.index)
        refined.k_factor = setting["rerank"]
        faiss.extract_index_ivf(refined.base_index).nprobe = setting["probes"]


class PqFastScan(Lists):
    def codes(self):
        # Two dimensions a number of 4 bits, as faiss and ScaNN advise.
        return f"PQ{self.data.dim // 2}x4fs"


class RabitqFastScan(Lists):
    def codes(self):
        return "RaBitQfs"


if __name__ == "__main__":
    main(
        {
            "faiss-hnsw": Hnsw,
            "faiss-ivf-pqfs": PqFastScan,
            "faiss-ivf-rabitqfs": RabitqFastScan,
        }
    )
