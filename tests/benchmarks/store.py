"""What writing activations costs beside ``np.save`` of the same bytes.

One layer, 64 MB between two commits. Both wait for the disk after every 64 MB, or neither does.
The store also counts what is not finite and takes a checksum of every byte; ``np.save`` with that
added shows what is left.

The cost of crash safety is measured by the wall clock beside a plain h5py file that grows batch by
batch and is synced once, at its end; ours is synced at every commit and at its end. The aim is 5 %.
"""

import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest import mock

import h5py
import numpy as np

from entangle_cli.activations import writer
from entangle_cli.activations.schema import FileSpec, StoredLayer
from tests.benchmarks.harness import Bench

COMMITS = 4
ROWS = 256
DIMENSION = 62_500
# rows handed in together: as a network of 64 samples a batch, and all of a commit at once
BATCHES = (64, 256)


def specification(batch: int) -> FileSpec:
    """A store of ``COMMITS`` times 64 MB."""
    layer = StoredLayer("layer", (DIMENSION,), (DIMENSION,), "float32", "flatten")
    rows = COMMITS * ROWS
    return FileSpec(
        rows=rows,
        batch_size=batch,
        layers=(layer,),
        classes=None,
        labels=None,
        class_names=None,
        ids=[str(row) for row in range(rows)],
        identity={"batch_size": batch},
        provenance={},
    )


def stored(folder: Path, batch: int, block: np.ndarray) -> None:
    """Through our writer."""
    spec = specification(batch)
    with writer.ActivationWriter.open(folder / "a.h5", spec) as output:
        for start in range(0, spec.rows, batch):
            first = start % ROWS
            output.put("layer", block[first : first + batch])
            output.end_batch()
        output.finish()


def saved(folder: Path, block: np.ndarray, *, sync: bool, checked: bool) -> None:
    """With ``np.save``; ``checked`` adds the checksum and the count."""
    with open(folder / "a.npy", "wb") as file:
        for _ in range(COMMITS):
            np.save(file, block)
            if checked:
                zlib.crc32(block.reshape(-1).view(np.uint8).data)
                np.count_nonzero(np.isfinite(block))
            if sync:
                file.flush()
                os.fdatasync(file.fileno())


def appended(folder: Path, batch: int, block: np.ndarray) -> None:
    """As programs append to HDF5: one data set in chunks of a batch, ``fsync`` at the end."""
    with h5py.File(folder / "a.h5", "w") as file:
        shape = (0, DIMENSION)
        layer = file.create_dataset(
            "layer", shape, "f4", maxshape=(None, DIMENSION), chunks=(batch, DIMENSION)
        )
        for start in range(0, COMMITS * ROWS, batch):
            first = start % ROWS
            layer.resize(start + batch, axis=0)
            layer[start : start + batch] = block[first : first + batch]
        file.flush()
    fd = os.open(folder / "a.h5", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def _commit_cost(bench: Bench, block: np.ndarray) -> None:
    batch = BATCHES[0]
    ways = {"h5py, one sync": appended, "store, synced commits": stored}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(bench.rounds + 1):
        for name, write in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                write(Path(folder), batch, block)
                taken = time.perf_counter() - start
            if turn:
                times[name].append(taken)
    size = COMMITS * ROWS * DIMENSION * 4
    print(f"\n{COMMITS} x 64 MB, crash-safe commits beside a plain h5py append, wall clock")
    for name, values in times.items():
        print(f"  {name:<38} {size / median(values) / 1e6:8.0f} MB/s")
    plain, safe = times.values()
    cost = median(np.divide(safe, plain)) - 1
    print(f"  cost {100 * cost:+.1f} % (median of {bench.rounds} pairs); the aim is 5 % at most")
    bench.found.append({"title": "commit cost", "cost": cost, "all": times})


@contextmanager
def _unsynced() -> Iterator[None]:
    with (
        mock.patch("entangle_cli.activations.writer.sync_data"),
        mock.patch("entangle_cli.activations.journal.sync_data"),
        mock.patch("os.fsync"),
    ):
        yield


def run(bench: Bench) -> None:
    """With and without waiting for the disk."""
    generator = np.random.default_rng(0)
    block = np.maximum(generator.standard_normal((ROWS, DIMENSION), dtype=np.float32), 0)

    _commit_cost(bench, block)

    def without_waiting(folder: Path, batch: int) -> None:
        with _unsynced():
            stored(folder, batch, block)

    for sync in (True, False):
        ours = (lambda f, b: stored(f, b, block)) if sync else without_waiting
        rivals = {f"store, batch {b}": lambda f, b=b, ours=ours: ours(f, b) for b in BATCHES}
        rivals["np.save"] = lambda f, sync=sync: saved(f, block, sync=sync, checked=False)
        rivals["np.save, crc32, isfinite"] = lambda f, s=sync: saved(f, block, sync=s, checked=True)
        _compare(bench, "on the disk" if sync else "in the page cache", rivals)


def _compare(bench: Bench, title: str, rivals: dict[str, Callable[[Path], None]]) -> None:
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(bench.rounds):
        for name, write in rivals.items():
            # twice: whoever comes first gets pages that the kernel, or a virtual machine's host,
            # has to find, and that cost more than everything measured here
            for _ in range(2):
                # the folder goes outside the timing: freeing pages takes as long as filling them
                with tempfile.TemporaryDirectory() as folder:
                    taken = bench.seconds(lambda write=write, folder=folder: write(Path(folder)))
            times[name].append(taken)
    size = COMMITS * ROWS * DIMENSION * 4
    print(f"\n{COMMITS} x 64 MB, {title}  ({bench.threads} thread{'s' * (bench.threads > 1)})")
    for name, values in times.items():
        ratio = median(np.divide(times["np.save"], values))
        rate = size / median(values) / 1e9
        print(f"  {name:<38} {rate:8.2f} GB/s   {ratio:6.2f} x the speed of np.save")
    bench.found.append({"title": f"store, {title}", "threads": bench.threads, "all": times})
