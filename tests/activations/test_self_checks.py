"""What two samples show before a dump: rows that are mixed, answers that vary, odd shapes."""

import numpy as np
import pytest
from fakes import FakeModel, make_dataset, make_feed

from entangle_cli.activations.dump import dump
from entangle_cli.activations.duplicates import Duplicates, duplicates_note
from entangle_cli.activations.feed import Feed
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.self_checks import Seen, shape_notes
from entangle_cli.activations.trial import try_out
from entangle_cli.errors import ModelError

LAYERS = ("map", "fc")


class Changed(FakeModel):
    """The values of layer ``fc`` are changed before they are given."""

    def __init__(self, change, dtype=np.float32):
        super().__init__()
        self.change, self.dtype = change, dtype

    def run(self, inputs, layers, sink):
        def given(name, values):
            sink(name, self.change(values) if name == "fc" else values)

        return super().run(inputs, layers, given)


def checks(model, feed=None) -> tuple[str, ...]:
    return try_out(model, feed or make_feed(), LAYERS, "flatten", "float32").checks


def test_a_plain_network_has_nothing_to_note():
    assert checks(FakeModel()) == ()
    assert checks(FakeModel(), make_feed(1)) == ()


def test_a_layer_that_subtracts_the_mean_of_the_batch_is_found():
    (note,) = checks(Changed(lambda x: x - x.mean(0)))
    assert note.startswith("mixes the rows of a batch")
    assert "in 1 of 3 layers and scores (fc by 100 % of its largest value)" in note


def test_rounding_between_batch_sizes_is_no_mixing():
    assert checks(Changed(lambda x: x * np.float32(1 + 1e-4 * len(x)))) == ()
    assert len(checks(Changed(lambda x: x * np.float32(1 + 1e-2 * len(x))))) == 1


def test_half_precision_may_round_more():
    def half(x):
        return (x * (1 + 3e-3 * len(x))).astype(np.float16).astype(np.float32)

    assert checks(Changed(half)) == ()
    assert len(checks(Changed(lambda x: x * np.float32(1 + 3e-3 * len(x))))) == 1


def test_mixing_shows_although_the_first_samples_are_equal():
    data = np.zeros((40, 4), np.float32)
    data[20:] = np.random.default_rng(1).normal(size=(20, 4))
    dataset = make_dataset(read=lambda rows: {"x": data[rows]})
    feed = Feed(FakeModel().inputs, dataset, None)
    assert len(checks(Changed(lambda x: x - x.mean(0)), feed)) == 1


def test_a_network_that_draws_at_random_is_found_once():
    random = np.random.default_rng(0)
    (note,) = checks(Changed(lambda x: x + random.normal(size=x.shape).astype(np.float32)))
    assert note.startswith("not repeatable")
    assert "in 1 of 3 layers and scores (fc by " in note


def test_the_last_digits_may_vary_on_cuda_only():
    calls = []

    def noisy(x):
        calls.append(1)
        return x * np.float32(1 + 1e-6 * len(calls))

    model = Changed(noisy)
    assert len(checks(model)) == 1
    model.device = "cuda:0"
    assert checks(model) == ()


def test_nan_at_the_same_places_is_the_same():
    assert checks(Changed(lambda x: np.where(x > 0, np.nan, x))) == ()


def test_a_network_that_takes_no_single_row_says_that_little_is_known():
    class Pairs(FakeModel):
        def run(self, inputs, layers, sink):
            if len(inputs[0]) == 1:
                raise ModelError("two at least")
            return super().run(inputs, layers, sink)

    (note,) = checks(Pairs())
    assert "one sample alone" in note


@pytest.mark.parametrize("said", [(None, 7), (None, 6, 1), (3, 5)])
def test_a_shape_that_is_not_the_declared_one_is_named(said):
    model = FakeModel()
    model.declared = {"fc": said, "map": (None, None, 3, 3)}
    (note,) = checks(model)
    assert note.startswith("layer fc: the file declares (n, ")
    assert "it gives (n, 6)" in note


def test_many_wrong_shapes_are_counted():
    values = {f"layer{i}": np.zeros((2, 3), np.float32) for i in range(9)}
    model = FakeModel()
    model.declared = dict.fromkeys(values, (None, 4))
    notes = shape_notes(model, Seen(values))
    assert len(notes) == 5
    assert notes[-1].startswith("5 more layers")


def test_a_declared_batch_size_is_not_held_against_the_layer():
    model = FakeModel()
    model.declared = {"fc": (1, 6), "map": (8, 2, 3, 3)}
    assert checks(model) == ()


def test_what_was_found_stays_with_the_store(tmp_path):
    model = Changed(lambda x: x - x.mean(0))
    dump(model, make_feed(), tmp_path / "a.h5", layers=LAYERS)
    again = ActivationFile.open(tmp_path / "a.h5")
    assert again.checks == again.notes == checks(model)


def test_a_note_in_a_foreign_store_is_text_at_most():
    for found in ("text", None, {"a": 1}):
        store = ActivationFile.__new__(ActivationFile)
        store.provenance = {"checks": found}
        assert store.checks == ()
    store.provenance = {"checks": ["\x1b[31mred", 3]}
    assert store.checks == ("\\x1b[31mred", "3")


def test_copies_are_counted_as_the_rows_are_read():
    data = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    data[5] = data[0]
    data[30:33] = data[1]
    feed = Feed(FakeModel().inputs, make_dataset(read=lambda rows: {"x": data[rows]}), None)
    feed.batch(0, 8)
    assert (feed.duplicates.read, feed.duplicates.count) == (8, 1)
    assert feed.duplicates.note("test").startswith("test: 1 of 8 samples read now are exact")
    for start in range(0, 40, 8):
        feed.batch(start, start + 8)
    assert feed.duplicates.count == 4
    assert feed.duplicates.note("test").startswith("test: 4 of 40 samples are exact duplicates")


def test_copies_are_found_over_several_arrays_and_constants_do_not_count():
    counted = Duplicates(3)
    first, second = np.array([1, 1, 1]), np.array([[2.0], [3.0], [2.0]])
    counted.see(np.arange(3), [first, second, np.array(7.0)])
    assert counted.count == 1
    objects = Duplicates(3)
    objects.see(np.arange(3), [np.array(["a", "a", "b"], dtype=object), np.zeros((3, 0))])
    assert (objects.read, objects.count) == (0, 0)
    assert duplicates_note("x", 0, 3) is None
