"""Random histories of one activation store, against a model of what it must hold.

Invariants: rows of a commit that returned are read back exactly, whatever happened since; rows
beyond the journal are never seen; ``verify`` finds every changed byte that anybody could read.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.verify import verify
from entangle_cli.activations.writer import ActivationWriter
from tests.fuzz.fuzz_stores import specification

ROWS, BATCH = 730, 100
SPEC = specification(ROWS, BATCH)
PARTS = ("a.h5", "a.journal", "a.manifest.json")
KILLED, CLOSED, FINISHED = "killed", "closed", "finished"


def numbers(block: int, start: int, stop: int) -> np.ndarray:
    """What the rows of a block shall be: exact in half precision, different from row to row."""
    wanted = SPEC.blocks[block]
    columns = int(np.prod(wanted.shape))
    grid = (np.arange(start, stop)[:, None] * 7 + np.arange(columns) + 100 * block) % 2039
    return grid.reshape(-1, *wanted.shape).astype(wanted.dtype)


def hand_in(writer: ActivationWriter, blocks: int) -> None:
    """The next batch, or only the first of its blocks."""
    start, stop = writer.rows, min(writer.rows + BATCH, ROWS)
    for index, layer in enumerate(SPEC.layers[:blocks]):
        writer.put(layer.name, numbers(index, start, stop))
    if blocks > len(SPEC.layers):
        writer.put_logits(numbers(len(SPEC.layers), start, stop))
        writer.end_batch()


def session(path: Path, batches: int, commits: set[int], end: str) -> tuple[int, int, int]:
    """A writer in a child process; its rows at the start and at the end, and what it committed."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        told = (0, 0, 0)
        try:
            writer = ActivationWriter.open(path, SPEC)
            begun = writer.rows
            for count in range(batches):
                if writer.rows < ROWS:
                    hand_in(writer, 3)
                if count in commits:
                    writer.commit()
            if end == KILLED and writer.rows < ROWS:
                hand_in(writer, 1)
                # some of it may be on its way to the disk
                time.sleep(0.001 * (batches % 3))
            elif end == FINISHED and writer.rows == ROWS:
                writer.finish()
            if end != KILLED:
                writer.close()
            told = (begun, writer.rows, writer.committed)
        finally:
            os.write(sink, b"%d %d %d" % told)
            os.kill(os.getpid(), 9)
    os.close(sink)
    with os.fdopen(source, "rb") as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    begun, given, committed = map(int, said.split())
    return begun, given, committed


class Store(RuleBasedStateMachine):
    """``promised``: rows of commits that returned; ``given``: the most that were ever handed in."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="entangle-store-"))
        self.path = self.folder / "a.h5"
        self.promised = self.given = 0
        self.finished = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(
        batches=st.integers(0, 9),
        commits=st.sets(st.integers(0, 8)),
        end=st.sampled_from((KILLED, CLOSED, FINISHED)),
    )
    def write(self, batches: int, commits: set[int], end: str) -> None:
        begun, given, committed = session(self.path, batches, commits, end)
        assert self.promised <= begun <= self.given or begun == 0 == self.promised
        assert given == min(ROWS, begun + batches * BATCH)
        if end != KILLED:
            whole = given if given == ROWS else given - given % SPEC.line_rows
            assert committed == whole
        self.given = max(self.given, given)
        self.promised = max(self.promised, committed)
        self.finished |= end == FINISHED and given == ROWS

    @precondition(lambda self: self.path.exists() and not self.finished)
    @rule(count=st.integers(1, 200))
    def tear_the_journal(self, count: int) -> None:
        journal = self.path.with_suffix(".journal")
        data = journal.read_bytes()
        first = data.index(b"\n") + 1
        kept = max(first, len(data) - count)
        os.truncate(journal, kept)
        lines = data[:kept].count(b"\n") - 1
        self.promised = min(self.promised, lines * SPEC.line_rows, ROWS)

    @precondition(lambda self: self.path.exists())
    @rule(
        part=st.sampled_from(PARTS), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
    )
    def flip(self, part: str, place: float, bit: int) -> None:
        file = self.folder / part
        if not file.exists():
            return
        data = bytearray(file.read_bytes())
        at = int(place * len(data))
        data[at] ^= 1 << bit
        whole = file.read_bytes()
        unseen = part == "a.h5" and self._is_unseen(at)
        torn = part == "a.journal" and at >= whole.rindex(b"\n") + 1
        before = verify(self.path)
        file.write_bytes(data)
        found = verify(self.path)
        assert all("\n" not in line for line in found)
        # a journal that was torn before is told of in any case
        assert bool(found) != unseen or torn or (before and found)
        if unseen:
            self._compare(ActivationFile.open(self.path))
        file.write_bytes(whole)

    def _is_unseen(self, at: int) -> bool:
        """Whether a byte of the file is of a row that is not committed."""
        stored = ActivationFile.open(self.path)
        header = stored.journal.header
        return any(
            offset + stored.rows * size <= at < offset + header.rows * size
            for offset, size in header.blocks
        )

    @precondition(lambda self: self.path.exists())
    @invariant()
    def what_is_there_is_right(self) -> None:
        if not self.path.exists():
            return
        stored = ActivationFile.open(self.path)
        assert self.promised <= stored.rows <= self.given
        assert stored.complete == self.finished
        self._compare(stored)
        assert [line for line in verify(self.path) if "of its journal are cut" not in line] == []

    def _compare(self, stored: ActivationFile) -> None:
        rows = stored.rows
        for index, layer in enumerate(SPEC.layers):
            held = stored.map(layer.name)
            assert held.shape == (rows, *layer.shape)
            assert np.array_equal(held, numbers(index, 0, rows))
        assert np.array_equal(stored.logits, numbers(len(SPEC.layers), 0, rows))
        assert stored.ids == list(SPEC.ids)[:rows]
        if rows:
            assert np.array_equal(stored.labels, SPEC.labels[:rows])


TestStore = Store.TestCase
TestStore.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
