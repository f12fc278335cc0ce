"""Search over clustered unit vectors, 512 numbers each, by crosslens and by others, in one run.

Half of the queries are like what is stored, half lie off to one side of it, as texts do of pictures;
recall@10 is given for both. Everything has the same cores. What is not installed
(usearch, lancedb) is left out.

    python benchmarks/search.py [--rows 200000 1000000] [--large] [--queries 200]

--large adds 3,000,000 rows, and needs 16 GB of memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from crosslens.library.vector_search import Searching
from crosslens.search.exact import Exact
from crosslens.store import vector_matrix
from crosslens.store.records import ModelRecord
from crosslens.store.vector_matrix import Matrix

WIDTH, CLUSTERS, K, BLOCK = 512, 2_000, 10, 65_536
MODEL, STAMP = ModelRecord("benchmark", "b" * 32, WIDTH), ("benchmark", 1)
CORES = len(os.sched_getaffinity(0))


def unit(rows: np.ndarray) -> np.ndarray:
    return np.divide(rows, np.linalg.norm(rows, axis=1, keepdims=True), out=rows)


def stored(count: int, seed: int) -> np.ndarray:
    """Clusters in a space whose directions matter unequally, all leaning to one side."""
    random = np.random.default_rng(0)
    scale = np.linspace(2, 0.3, WIDTH, dtype=np.float32)
    centres = unit(random.standard_normal((CLUSTERS, WIDTH), np.float32) * scale)
    random = np.random.default_rng(seed)
    clusters, rows = random.integers(0, CLUSTERS, count), np.empty((count, WIDTH), np.float32)
    for start in range(0, count, BLOCK):  # in blocks: no copy of all is made on the way
        block = centres[clusters[start : start + BLOCK]]
        block += random.standard_normal(block.shape, np.float32) * (0.7 / np.sqrt(WIDTH)) * (scale / 1.2)
        block += 0.5 * centres[0]
        rows[start : start + BLOCK] = unit(block)
    return rows


def clusters_of(count: int, seed: int) -> np.ndarray:
    """The clusters of the rows that `stored` makes."""
    return np.random.default_rng(seed).integers(0, CLUSTERS, count)


def aside(count: int, seed: int) -> np.ndarray:
    """As texts lie to pictures: pushed to a side where nothing is stored, and more scattered."""
    away = unit(np.random.default_rng(1).standard_normal((1, WIDTH), np.float32))
    rows = stored(count, seed) + 0.8 * away
    rows += np.random.default_rng(seed + 1).standard_normal((count, WIDTH), np.float32) * (0.7 / WIDTH**0.5)
    return unit(rows)


def milliseconds(call: Callable[[np.ndarray], Any], queries: np.ndarray) -> tuple[float, float]:
    """Median and 99th percentile of one query at a time."""
    for query in queries[:3]:
        call(query[None])
    seconds = []
    for query in queries:
        started = time.perf_counter()
        call(query[None])
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds)), 1000 * float(np.percentile(seconds, 99))


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)]))


def line(name: str, call: Callable[[np.ndarray], Any], asked: Asked, build: float, size: float) -> None:
    """One row of the table. call: queries → row numbers (q, 10). size: bytes beyond the float16 matrix."""
    p50, p99 = milliseconds(call, asked.queries[: asked.timed])
    found = np.concatenate([call(query[None]) for query in asked.queries])
    half = len(found) // 2
    like, off = recall(found[:half], asked.truth[:half]), recall(found[half:], asked.truth[half:])
    print(
        f"| {name} | {p50:.2f} | {p99:.2f} | {like:.4f} | {off:.4f} | {build:.1f} | {size / 1e6:,.0f} |",
        flush=True,
    )


class Asked:
    """Queries, half like what is stored and half aside, and the truth."""

    def __init__(self, rows: np.ndarray, count: int) -> None:
        self.queries = np.concatenate([stored(count // 2, 11), aside(count // 2, 12)])
        self.timed = count
        self.truth = faiss.knn(self.queries, rows, K, faiss.METRIC_INNER_PRODUCT)[1]


def write_matrix(folder: Path, rows: np.ndarray) -> Matrix:
    index = faiss.IndexScalarQuantizer(WIDTH, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    for start in range(0, len(rows), BLOCK):
        index.add(rows[start : start + BLOCK])
    ids = np.arange(len(rows), dtype=np.int64)
    target = vector_matrix.folder_of(folder, STAMP, MODEL, "image")
    vector_matrix._save(
        target, Matrix(index, ids, np.zeros(WIDTH, np.float32), np.eye(WIDTH, dtype=np.float32), STAMP), MODEL
    )
    return open_matrix(folder)


def open_matrix(folder: Path) -> Matrix:
    matrix = vector_matrix._load(vector_matrix.folder_of(folder, STAMP, MODEL, "image"), STAMP, MODEL)
    assert matrix is not None
    return matrix


def one_read(matrix: Matrix) -> float:
    """Milliseconds that all cores take to read the matrix once, block by block; the median of nine."""
    index = matrix.index
    words = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size).view("<u8")
    block = 1 << 20

    def work(numbers: Any) -> None:
        for number in numbers:
            part = words[number * block : (number + 1) * block]
            if not len(part):
                return
            np.bitwise_or.reduce(part)

    def once(pool: ThreadPoolExecutor) -> float:
        numbers, started = itertools.count(), time.perf_counter()
        list(pool.map(work, [numbers] * CORES))
        return time.perf_counter() - started

    with ThreadPoolExecutor(CORES) as pool:
        return 1000 * float(np.median([once(pool) for _ in range(9)]))


def others(rows: np.ndarray, asked: Asked, largest: int) -> None:
    def by_numpy(queries: np.ndarray) -> np.ndarray:
        scores = queries @ rows.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), 1), 1)

    line("numpy float32, exact", by_numpy, asked, 0, rows.nbytes)
    started = time.perf_counter()
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(rows)
    build = time.perf_counter() - started
    line("FAISS flat float32, exact", lambda q: flat.search(q, K)[1], asked, build, rows.nbytes)
    if len(rows) <= largest:
        by_usearch(rows, asked)
        by_lance(rows, asked)


def by_usearch(rows: np.ndarray, asked: Asked) -> None:
    try:
        from usearch.index import Index
    except ImportError:
        return
    started = time.perf_counter()
    index = Index(ndim=WIDTH, metric="ip", dtype="i8")
    index.add(np.arange(len(rows)), rows, threads=CORES)
    build = time.perf_counter() - started
    line("usearch HNSW i8", lambda q: index.search(q[0], K).keys[None], asked, build, index.memory_usage)


def by_lance(rows: np.ndarray, asked: Asked) -> None:
    try:
        import lancedb
        import pyarrow as pa
    except ImportError:
        return
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        vector = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), WIDTH)
        data = pa.table({"id": np.arange(len(rows)), "vector": vector})
        table = lancedb.connect(folder).create_table("rows", data)
        table.create_index(metric="dot", index_type="IVF_RQ", vector_column_name="vector")
        build = time.perf_counter() - started

        def search(queries: np.ndarray) -> np.ndarray:
            query = table.search(queries[0]).distance_type("dot").limit(K).refine_factor(10).nprobes(32)
            return query.select(["id"]).to_arrow()["id"].to_numpy()[None]

        line("LanceDB IVF_RQ, refine 10, nprobes 32", search, asked, build, 0)


def ours(folder: Path, matrix: Matrix, asked: Asked) -> None:
    exact, searching = Exact(matrix.index, matrix.ids), Searching(folder)
    sq = matrix.index
    line("FAISS float16 flat, exact", lambda q: sq.search(q, K)[1], asked, 0, 0)
    line("**crosslens exact**", lambda q: exact.search(q, K)[0], asked, 0, 0)
    started = time.perf_counter()
    facts = searching.build(matrix, MODEL, "image", lambda: aside(1_000, 21))
    build = time.perf_counter() - started
    if facts is not None:
        place = vector_matrix.folder_of(folder, STAMP, MODEL, "image")
        size = (place.with_name(place.name + vector_matrix.CODES) / "codes.faiss").stat().st_size
        approximate = searching.backend(matrix, MODEL, "image")
        line("**crosslens approximate**", lambda q: approximate.search(q, K)[0], asked, build, size)
    print(f"\n{facts}\n")
    read, (p50, _) = one_read(matrix), milliseconds(lambda q: exact.search(q, K), asked.queries[:60])
    print(
        f"- exact against one read of the matrix by {CORES} threads: {p50:.1f} / {read:.1f} ms"
        f" = {p50 / read:.2f}"
    )
    many(exact, asked)
    filters(exact, searching.backend(matrix, MODEL, "image"), asked)
    first_result(folder)


def many(exact: Exact, asked: Asked) -> None:
    """Exact: what a query costs among others."""
    for count in (1, 8, 64):
        started = time.perf_counter()
        exact.search(asked.queries[:count], K)
        spent = 1000 * (time.perf_counter() - started) / count
        print(f"- exact, {count} at once: {spent:.2f} ms a query")


def filters(exact: Exact, backend: Any, asked: Asked) -> None:
    print(
        "\n| filter keeps | as | p50 ms | p99 ms | times the unfiltered | recall@10 |"
        "\n|---|---|---|---|---|---|"
    )
    unfiltered, _ = milliseconds(lambda q: backend.search(q, K), asked.queries)
    random = np.random.default_rng(31)
    for share in (0.5, 0.1, 0.01, 0.0001):
        mask = random.random(len(exact.ids)) < share
        # Half of the queries have lost what is nearest to them, and what is left is nearly equally far.
        whole = (random.random(CLUSTERS) < share)[clusters_of(len(exact.ids), 10)]
        for name, allowed in (("mask", mask), ("ids", exact.ids[mask]), ("mask, whole clusters", whole)):
            if not allowed.any():
                continue
            p50, p99 = milliseconds(lambda q, a=allowed: backend.search(q, K, a), asked.queries)
            some = asked.queries[:: max(1, len(asked.queries) // 60)]
            found, truth = backend.search(some, K, allowed)[0], exact.search(some, K, allowed)[0]
            print(
                f"| {share:.2%} | {name} | {p50:.2f} | {p99:.2f} | {p50 / unfiltered:.1f} "
                f"| {recall(found, truth):.4f} |",
                flush=True,
            )


def first_result(folder: Path) -> None:
    """In a process of its own, after the imports: open, check, search; and what memory is not page cache."""
    done = subprocess.run(
        [sys.executable, __file__, "--first-result", str(folder)], check=True, capture_output=True, text=True
    )
    figures = json.loads(done.stdout)
    print(
        f"\n- open to first result: {figures['seconds']:.2f} s; then {figures['anonymous_mb']:.0f} MB beyond "
        f"the page cache, {figures['imports_mb']:.0f} of them before it was opened"
    )


def print_first_result(folder: Path) -> None:
    query, before = stored(1, 41), anonymous()
    started = time.perf_counter()
    backend = Searching(folder).backend(open_matrix(folder), MODEL, "image")
    backend.search(query, K)
    seconds, held = time.perf_counter() - started, anonymous()
    del backend
    print(json.dumps({"seconds": seconds, "anonymous_mb": held, "imports_mb": before}))


def anonymous() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument(
        "--others-up-to", type=int, default=1_000_000, help="rows; usearch and lancedb build for minutes"
    )
    parser.add_argument("--first-result", type=Path)
    arguments = parser.parse_args()
    if arguments.first_result:
        print_first_result(arguments.first_result)
        return
    for count in [*arguments.rows, *([3_000_000] if arguments.large else [])]:
        rows = stored(count, 10)
        asked = Asked(rows, arguments.queries)
        print(f"\n## {count:,} rows, {CORES} cores\n")
        print("| what | p50 ms | p99 ms | recall@10 like stored | aside | build s | MB beyond the matrix |")
        print("|---|---|---|---|---|---|---|", flush=True)
        others(rows, asked, arguments.others_up_to)
        with tempfile.TemporaryDirectory() as name:
            matrix = write_matrix(Path(name), rows)
            del rows
            ours(Path(name), matrix, asked)


if __name__ == "__main__":
    main()
