"""Makes a set of vectors, queries and their exact nearest neighbours; all from a seed.

A set is a folder:

    base.npy      n x dim float32, unit length unless the metric is euclidean, in random order
    queries.npy   at most 1,000 x dim float32
    truth.npy     queries x 10 int64, rows of base, nearest first
    set.json      name, n, dim, metric ("cosine" or "euclidean"), seed, recipe in words

`set.json` is written last, so a folder without it is unfinished and is made anew.
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

import numpy as np

K = 10
NUM_QUERIES = 1_000
CHUNK = 50_000

# Clustered sets: bases of low rank that clusters share, and what of the noise has full rank.
NUM_BASES = 64
FULL_RANK_SHARE = 0.1
MEAN_COSINE = 0.7
COSINE_DEVIATION = 0.07


def note(text):
    print(text, file=sys.stderr, flush=True)


def normalise(rows):
    """Scales rows to unit length in place; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return rows


def create(folder, name, rows, dim):
    return np.lib.format.open_memmap(
        folder / name, mode="w+", dtype=np.float32, shape=(rows, dim)
    )


def uniform(folder, rng, size, dim):
    """Directions drawn uniformly: no structure to exploit, the worst case."""
    for name, rows in (("base.npy", size), ("queries.npy", NUM_QUERIES)):
        out = create(folder, name, rows, dim)
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            out[start : start + count] = normalise(
                rng.standard_normal((count, dim), dtype=np.float32)
            )
    return "normalised gaussians; queries drawn alike"


def clustered(folder, rng, size, dim):
    """A mixture whose parts have unequal sizes and noise of low rank, as embeddings have."""
    num_centres = min(max(size // 100, 8), 10_000)
    rank = max(dim // 8, 4)
    centres = normalise(rng.standard_normal((num_centres, dim), dtype=np.float32))
    bases = rng.standard_normal((NUM_BASES, rank, dim), dtype=np.float32)
    basis_of = rng.integers(NUM_BASES, size=num_centres)
    weights = 1.0 / (np.arange(num_centres) + 10.0) ** 0.8
    weights /= weights.sum()

    def members(count):
        labels = rng.choice(num_centres, size=count, p=weights)
        noise = np.empty((count, dim), dtype=np.float32)
        for basis in range(NUM_BASES):
            rows = np.flatnonzero(basis_of[labels] == basis)
            factors = rng.standard_normal((len(rows), rank), dtype=np.float32)
            noise[rows] = factors @ bases[basis]
        normalise(noise)
        full = normalise(rng.standard_normal((count, dim), dtype=np.float32))
        noise *= np.float32((1 - FULL_RANK_SHARE) ** 0.5)
        noise += np.float32(FULL_RANK_SHARE**0.5) * full
        centre = centres[labels]
        # Only what is orthogonal to the centre, so that the cosine is the one drawn.
        noise -= np.sum(noise * centre, axis=1, keepdims=True) * centre
        normalise(noise)
        cosine = rng.normal(MEAN_COSINE, COSINE_DEVIATION, size=(count, 1))
        cosine = np.clip(cosine, 0.4, 0.95).astype(np.float32)
        return normalise(cosine * centre + np.sqrt(1 - cosine**2) * noise)

    for name, rows in (("base.npy", size), ("queries.npy", NUM_QUERIES)):
        out = create(folder, name, rows, dim)
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            out[start : start + count] = members(count)
    return (
        f"mixture of {num_centres} centres, sizes proportional to (rank + 10)^-0.8; cosine to the "
        f"centre {MEAN_COSINE} +- {COSINE_DEVIATION}; noise: {1 - FULL_RANK_SHARE:.0%} of its "
        f"variance in one of {NUM_BASES} random subspaces of {rank} dimensions, the rest in all; "
        "queries drawn alike"
    )


def enlarged(folder, rng, size, path):
    """Real vectors, and distractors with the mean and the covariance of the real ones.

    A distractor is m + sqrt(a) (u - m) + sqrt(b) (v - m) + sqrt(1 - a - b) g, normalised: u and v
    are random real vectors, m the mean, g a gaussian with the covariance of the real vectors;
    a is uniform in 0.1 to 0.5, b half of the rest.
    """
    real = np.array(np.load(path, mmap_mode="r"), dtype=np.float32)
    if real.ndim != 2 or len(real) < 2:
        sys.exit(f"{path}: expected a matrix of vectors, found the shape {real.shape}")
    normalise(real)
    num_queries = min(NUM_QUERIES, len(real) // 10 + 1)
    order = rng.permutation(len(real))
    queries = create(folder, "queries.npy", num_queries, real.shape[1])
    queries[:] = real[order[:num_queries]]
    kept = order[num_queries:][:size]

    mean = real.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(real, rowvar=False))
    root = (vectors * np.sqrt(np.clip(values, 0, None))).T.astype(np.float32)
    out = create(folder, "base.npy", size, real.shape[1])
    places = rng.permutation(size)
    out[np.sort(places[: len(kept)])] = real[kept]
    is_real = np.zeros(size, dtype=bool)
    is_real[places[: len(kept)]] = True
    for start in range(0, size, CHUNK):
        rows = start + np.flatnonzero(~is_real[start : start + CHUNK])
        first = rng.uniform(0.1, 0.5, size=(len(rows), 1)).astype(np.float32)
        second = (1 - first) / 2
        made = rng.standard_normal((len(rows), real.shape[1]), dtype=np.float32) @ root
        made *= np.sqrt(1 - first - second)
        made += np.sqrt(first) * (real[rng.integers(len(real), size=len(rows))] - mean)
        made += np.sqrt(second) * (real[rng.integers(len(real), size=len(rows))] - mean)
        made += mean
        out[rows] = normalise(made)
    return (
        f"{len(kept)} real vectors and {size - len(kept)} distractors in random order; a distractor "
        "mixes two random real vectors (the first with 10 to 50 % of the variance) with gaussian "
        "noise so that distractors have the mean and the covariance of the real ones; queries: "
        f"{num_queries} further real vectors"
    )


def from_hdf5(folder, path):
    """A set of ann-benchmarks. Returns the metric and the recipe."""
    import h5py

    with h5py.File(path, "r") as file:
        distance = file.attrs["distance"]
        distance = distance.decode() if isinstance(distance, bytes) else str(distance)
        if distance not in ("angular", "euclidean"):
            sys.exit(f"{path}: the distance {distance} is none of angular, euclidean")
        train, test = file["train"], file["test"]
        num_queries = min(NUM_QUERIES, len(test))
        for name, source, rows in (("base.npy", train, len(train)), ("queries.npy", test, num_queries)):
            out = create(folder, name, rows, source.shape[1])
            for start in range(0, rows, CHUNK):
                end = min(start + CHUNK, rows)
                block = np.asarray(source[start:end], dtype=np.float32)
                out[start:end] = normalise(block) if distance == "angular" else block
        if file["neighbors"].shape[0] >= num_queries and file["neighbors"].shape[1] >= K:
            truth = np.asarray(file["neighbors"][:num_queries, :K], dtype=np.int64)
            np.save(folder / "truth.npy", truth)
    metric = "cosine" if distance == "angular" else "euclidean"
    return metric, f"ann-benchmarks file {path.name}, its first {num_queries} test vectors as queries"


def exact(folder, metric):
    """Writes the truth by products in float32, a chunk of rows at a time."""
    base = np.load(folder / "base.npy", mmap_mode="r")
    queries = np.load(folder / "queries.npy")
    best = np.full((len(queries), K), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), K), -1, dtype=np.int64)
    for start in range(0, len(base), CHUNK):
        block = np.asarray(base[start : start + CHUNK])
        scores = queries @ block.T
        if metric == "euclidean":
            scores *= 2
            scores -= np.sum(block * block, axis=1)
        top = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        best = np.concatenate([best, np.take_along_axis(scores, top, axis=1)], axis=1)
        rows = np.concatenate([rows, top + start], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :K]
        best = np.take_along_axis(best, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    np.save(folder / "truth.npy", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["clustered", "uniform", "copies", "hdf5"])
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--file", type=pathlib.Path)
    arguments = parser.parse_args()

    folder, started = arguments.folder, time.perf_counter()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(arguments.seed)
    metric = "cosine"
    if arguments.kind == "clustered":
        recipe = clustered(folder, rng, arguments.size, arguments.dim)
    elif arguments.kind == "uniform":
        recipe = uniform(folder, rng, arguments.size, arguments.dim)
    elif arguments.kind == "copies":
        recipe = enlarged(folder, rng, arguments.size, arguments.file)
    else:
        metric, recipe = from_hdf5(folder, arguments.file)
    if not (folder / "truth.npy").exists():
        exact(folder, metric)
    base = np.load(folder / "base.npy", mmap_mode="r")
    facts = {
        "name": arguments.name,
        "n": int(base.shape[0]),
        "dim": int(base.shape[1]),
        "metric": metric,
        "seed": arguments.seed,
        "recipe": recipe,
    }
    (folder / "set.json").write_text(json.dumps(facts))
    note(f"  made {arguments.name}: {facts['n']} x {facts['dim']}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
