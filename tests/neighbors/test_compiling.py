"""PyNNDescent compiled ahead: one child for each cache, marked when it succeeded."""

import subprocess

import numpy as np
import pytest

from entangle_cli.neighbors import approximate, compiling


@pytest.fixture
def children(monkeypatch, tmp_path):
    """What was run instead of children; the first element is the exit status they get."""
    run = [0]

    def note(command, **options):
        run.append(command)
        return subprocess.CompletedProcess(command, run[0])

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling.subprocess, "run", note)
    return run


def test_one_child_fills_a_cache(children):
    for _ in range(3):
        compiling.compile_ahead(30)
    _, *commands = children
    assert len(commands) == 1
    assert commands[0][1:] == ["-m", "entangle_cli.neighbors.compiling", "30"]


def test_a_child_that_failed_is_tried_again(children):
    children[0] = 1
    compiling.compile_ahead(30)
    compiling.compile_ahead(30)
    assert len(children) == 3


def test_another_cache_is_filled_again(children, monkeypatch, tmp_path):
    compiling.compile_ahead(30)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "another"))
    compiling.compile_ahead(30)
    assert len(children) == 3


def test_a_cache_that_cannot_be_marked_is_no_error(children, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    compiling.compile_ahead(30)
    compiling.compile_ahead(30)
    assert len(children) == 3


@pytest.mark.parametrize(("size", "ahead"), [(1, True), (10**9, False)])
def test_only_large_searches_compile_ahead(monkeypatch, size, ahead):
    asked = []
    monkeypatch.setattr(approximate, "COMPILE_AHEAD_SIZE", size)
    monkeypatch.setattr(approximate, "compile_ahead", asked.append)
    points = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    approximate.ApproximateIndex(points, metric="euclidean")
    assert asked == ([approximate.GRAPH_NEIGHBORS] if ahead else [])
