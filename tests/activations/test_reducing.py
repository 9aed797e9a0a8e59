import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from entangle_cli.activations.reducing import reduce_map
from entangle_cli.errors import UsageError

maps = arrays.arrays(
    np.float32,
    st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple),
    elements=st.floats(-1e3, 1e3, width=32),
)


def slow(array, how):
    """Element by element, in float64."""
    rows = []
    for sample in array.astype(np.float64):
        if sample.ndim < 2:
            rows.append(sample.reshape(-1))
        elif sample.ndim == 2:
            tokens = [list(token) for token in sample]
            columns = list(zip(*tokens, strict=True))
            rows.append([max(c) if how == "max" else sum(c) / len(c) for c in columns])
        else:
            channels = [list(channel.reshape(-1)) for channel in sample]
            rows.append([max(c) if how == "max" else sum(c) / len(c) for c in channels])
    return np.array(rows)


@given(maps, st.sampled_from(["mean", "max"]))
def test_reducing_over_positions_is_what_a_loop_gives(array, how):
    found = reduce_map(array, how)
    assert found.dtype == np.float32
    assert found.ndim == 2
    assert np.allclose(found, slow(array, how), rtol=1e-6, atol=1e-4)


@given(maps)
def test_flattening_keeps_every_number_in_order(array):
    found = reduce_map(array, "flatten")
    assert found.ndim == 2
    assert np.array_equal(found.reshape(-1), array.reshape(-1))


@given(maps)
def test_none_keeps_the_axes(array):
    found = reduce_map(array, "none")
    assert found.shape == (array.shape if array.ndim > 1 else (len(array), 1))


def test_the_mean_of_large_numbers_is_accurate():
    array = np.full((1, 1, 1000, 1000), 16777217.0, dtype=np.float64).astype(np.float32) + 2
    assert reduce_map(array, "mean")[0, 0] == array[0, 0, 0, 0]


def test_the_mean_of_token_ids_is_a_fraction():
    assert reduce_map(np.array([[[1], [2]]]), "mean")[0, 0] == 1.5


def test_an_unknown_reduction_is_refused():
    with pytest.raises(UsageError, match="--reduce gap: unknown; give one of flatten"):
        reduce_map(np.zeros((2, 2)), "gap")
