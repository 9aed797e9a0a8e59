import numpy as np
import pytest

from entangle_cli.neighbors.mapped import mapped_arrays, write_arrays

ARRAYS = {
    "long": np.arange(700_001, dtype=np.int64).reshape(-1, 1),
    "wide": np.random.default_rng(0).normal(size=(3, 300_000)),
    "by_column": np.asfortranarray(np.arange(400_000, dtype=np.float32).reshape(1000, 400)),
    "text": np.array(["a", "\u00e9", ""]),
    "none": np.empty((0, 5), np.float32),
    "no_text": np.array([], dtype=np.str_),
}


@pytest.fixture
def path(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        write_arrays(file, {**ARRAYS, "single": np.array(7.5)})
    return tmp_path / "a.npz"


def test_numpy_reads_what_is_written_in_pieces(path):
    with np.load(path, allow_pickle=False) as found:
        assert sorted(found.files) == sorted([*ARRAYS, "single"])
        assert found["single"] == 7.5
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_arrays_are_found_where_they_lie(path):
    for found, array in zip(mapped_arrays(path, list(ARRAYS)), ARRAYS.values(), strict=True):
        np.testing.assert_array_equal(found, array, strict=True)
