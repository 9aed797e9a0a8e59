"""Samples reach a model in its order, types and shapes, or not at all."""

import numpy as np
import pytest
from fakes import make_dataset

from entangle_cli.activations.feed import Feed, row_bytes
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.errors import DataError
from entangle_cli.models import TensorSpec

X = np.arange(40, dtype=np.float32).reshape(10, 4)


def feed(specs, **arrays) -> Feed:
    def read(rows):
        return {name: a[rows] if a.ndim else a for name, a in arrays.items()}

    return Feed([TensorSpec(*spec) for spec in specs], make_dataset(10, read=read), None)


def test_the_only_array_goes_to_the_only_input():
    (batch,) = feed([("input.1", "float32", (None, 4))], x=X).batch(2, 5)
    assert np.array_equal(batch, X[2:5])


def test_the_last_batch_is_short():
    assert len(feed([("x", "float32", (None, 4))], x=X).batch(8, 16)[0]) == 2


def test_arrays_go_to_the_inputs_of_their_names_in_the_models_order():
    specs = [("mask", "bool", (None, 4)), ("ids", "int32", (None, 4))]
    ids = X.astype(np.int64)
    mask, found = feed(specs, ids=ids, mask=ids % 2).batch(0, 10)
    assert mask.dtype == bool
    assert found.dtype == np.int32
    assert np.array_equal(mask, ids % 2)
    assert np.array_equal(found, ids)


def test_all_arrays_go_into_the_dictionary_that_a_model_takes():
    (batch,) = feed([("input", "Dict[str, Tensor]", None)], ids=X, mask=X > 3).batch(2, 5)
    assert batch.keys() == {"ids", "mask"}
    assert np.array_equal(batch["ids"], X[2:5])
    assert row_bytes([batch], 3) == 4 * 4 + 4


def test_a_missing_array_is_named_with_those_that_exist():
    specs = [("ids", "int64", None), ("mask", "int64", None)]
    with pytest.raises(DataError, match=r"no array 'mask'; the model takes ids, mask.* holds ids"):
        feed(specs, ids=X, other=X)


def test_an_array_that_nobody_takes_is_noted():
    found = feed([("x", "float32", None)], x=X, y=X)
    assert found.notes == ["test: not used by the model: y"]


def test_optional_inputs_may_be_absent():
    specs = [("x", "tensor", None), ("scale", "float = 1.0", None)]
    assert len(feed(specs, data=X).batch(0, 2)) == 1
    assert len(feed(specs, x=X, scale=np.array(2.0)).batch(0, 2)) == 2


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (X.astype(np.float64), "float32"),
        (X.astype(np.uint8), "float32"),
        (X.astype(np.int64), "int32"),
        (X.astype(np.int64), "uint8"),
        (X > 3, "float32"),
        (X, "float16"),
    ],
)
def test_types_are_changed_where_no_value_changes(values, wanted):
    (batch,) = feed([("x", wanted, (None, 4))], x=values).batch(0, 10)
    assert batch.dtype == wanted
    assert np.array_equal(batch, X > 3 if values.dtype == bool else X)


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        (X, "int64", "is float32, the model takes int64"),
        (X.astype(np.int64) + 2**31, "int32", "2147483648 to 2147483687 do not fit.* int32"),
        (X.astype(np.int64), "bool", "do not fit the model's bool"),
        (X * 1e6, "float16", "do not fit the model's float16"),
        (X.astype(np.int64) + 2**53 + 1, "float32", "do not fit the model's float32"),
        (X.astype(str), "float32", "the model takes float32"),
    ],
)
def test_values_that_would_change_are_refused(values, wanted, message):
    with pytest.raises(DataError, match=message):
        feed([("x", wanted, (None, 4))], x=values).batch(0, 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_named(bad):
    x = X.copy()
    x[6, 1] = bad
    with pytest.raises(DataError, match="NaN or infinity in sample test/6"):
        feed([("x", "float32", (None, 4))], x=x).batch(4, 8)


@pytest.mark.parametrize("declared", [(None, 5), (1, 28, 28), (None,), (None, 2, 2)])
def test_another_shape_is_refused_with_both_shapes(declared):
    with pytest.raises(DataError, match=r"is \(n, 4\), the model takes \("):
        feed([("x", "float32", declared)], x=X).batch(0, 3)


def test_an_inferred_shape_is_not_held_against_the_data():
    specs = [("x", "float32", (None, 5), False)]
    assert feed(specs, x=X).batch(0, 3)[0].shape == (3, 4)


def test_a_fixed_batch_size_is_the_models_own_business():
    assert feed([("x", "float32", (1, 4))], x=X).batch(0, 3)[0].shape == (3, 4)


def test_rows_move_to_the_axis_where_the_model_has_its_batch():
    state = np.arange(10 * 2 * 3, dtype=np.float32).reshape(10, 2, 3)
    specs = [("x", "float32", (None, 4)), ("state", "float32", (2, None, 3))]
    _, found = feed(specs, x=X, state=state).batch(4, 7)
    assert found.shape == (2, 3, 3)
    assert np.array_equal(found, np.moveaxis(state[4:7], 0, 1))


def test_a_constant_goes_to_a_scalar_input():
    specs = [("x", "float32", (None, 4)), ("rate", "int64", ())]
    assert feed(specs, x=X, rate=np.array(16000)).batch(0, 3)[1].shape == ()
    assert feed(specs, x=X, rate=np.full(10, 16000)).batch(0, 3)[1] == 16000
    with pytest.raises(DataError, match="3 different values, the model takes one number"):
        feed(specs, x=X, rate=np.arange(10)).batch(0, 3)


def images(model_inputs, preprocessing):
    pixels = [np.full((2, 2, 1), i, np.uint8) for i in range(10)]
    dataset = make_dataset(10, kind="images", read=lambda rows: [pixels[i] for i in rows])
    return Feed(model_inputs, dataset, preprocessing)


def test_images_go_through_the_preprocessing():
    spec = TensorSpec("x", "float32", (None, 1, 2, 2))
    (batch,) = images([spec], Preprocessing(scale=1.0)).batch(3, 5)
    assert np.array_equal(batch, np.float32([3, 4])[:, None, None, None] * np.ones((1, 1, 2, 2)))


def test_images_need_a_preprocessing_and_a_single_input():
    spec = TensorSpec("x", "float32", None)
    with pytest.raises(DataError, match="need a preprocessing"):
        images([spec], None)
    with pytest.raises(DataError, match="takes 2 inputs"):
        images([spec, spec], Preprocessing())
