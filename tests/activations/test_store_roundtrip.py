"""What goes into a store comes out of it, through our reader and through plain h5py."""

import json
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from fakes import block, contents, fill, make_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entangle_cli.activations.file import ActivationFile, StoredLayer, is_activation_file
from entangle_cli.activations.verify import verify
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import ModelError, StoreError

# HDF5 text ends at NUL, and lone surrogates are not Unicode
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
dtypes = st.sampled_from(["float32", "float16", "float64"])


@st.composite
def specs(draw):
    rows = draw(st.integers(1, 30))
    layers = [
        StoredLayer(name, shape, shape, dtype, "none", "conv")
        for name, shape, dtype in zip(
            draw(st.lists(names, min_size=1, max_size=4, unique=True)),
            draw(st.lists(shapes, min_size=4, max_size=4)),
            draw(st.lists(dtypes, min_size=4, max_size=4)),
            strict=False,
        )
    ]
    return make_spec(
        rows,
        draw(st.integers(1, 40)),
        layers,
        classes=draw(st.none() | st.integers(2, 5)),
        class_names=draw(st.none() | st.lists(st.text(max_size=20), max_size=4).map(tuple)),
        ids=draw(st.lists(names, min_size=rows, max_size=rows)),
        labels=np.array(draw(st.lists(st.integers(-1, 2**62), min_size=rows, max_size=rows))),
    )


def write(folder: Path, spec) -> ActivationFile:
    with ActivationWriter.open(folder / "a.h5", spec) as writer:
        fill(writer, spec)
        return writer.finish()


@given(specs())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_everything_written_is_read_back(spec):
    folder = Path(tempfile.mkdtemp())
    try:
        file = write(folder, spec)
        assert file.layers == spec.layers
        assert file.ids == list(spec.ids)
        assert file.class_names == spec.class_names
        assert file.identity == spec.identity
        assert file.provenance == spec.provenance
        known = (spec.labels >= 0).any()
        assert (file.labels is None) == (not known)
        assert not known or np.array_equal(file.labels, spec.labels)
        for index, layer in enumerate(spec.layers):
            wanted = block(spec, index, 0, spec.rows)
            assert np.array_equal(file.map(layer.name), wanted)
            assert np.array_equal(file.points(layer.name), wanted.reshape(spec.rows, -1))
        assert (file.logits is None) == (spec.classes is None)
        assert verify(file.path) == []
    finally:
        shutil.rmtree(folder)


def test_the_file_is_what_the_schema_says(tmp_path):
    spec = make_spec()
    write(tmp_path, spec)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file.attrs["format"] == "entangle-activations"
        assert file.attrs["format_version"] == "1.0"
        assert file.attrs["rows"] == 40
        assert json.loads(file.attrs["identity"]) == spec.identity
        assert list(file["layers"]) == ["0000_conv1_relu", "0001_fc"]
        group = file["layers/0000_conv1_relu"]
        assert group.attrs["name"] == "conv1>relu"
        assert list(group.attrs["raw_shape"]) == [2, 3]
        assert np.array_equal(group["activations"][:], block(spec, 0, 0, 40))
        assert file["logits"].shape == (40, 3)
        assert file["samples/label"].dtype == np.dtype("<i8")
        assert file["samples/id"].asstr()[39] == "test/39"
        assert json.loads(file["samples"].attrs["class_names"]) == ["ant", "bee", "cat"]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, make_spec())
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]
    assert sorted(found[0]) == ["a.h5", "a.journal", "a.manifest.json"]


def test_points_are_a_read_only_view(tmp_path):
    points = write(tmp_path, make_spec()).points("fc")
    assert isinstance(points, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        points[0, 0] = 1


def test_an_unknown_layer_is_named_with_those_that_exist(tmp_path):
    with pytest.raises(StoreError, match=r"no layer 'fc9'; it has conv1>relu, fc$"):
        write(tmp_path, make_spec()).points("fc9")


def test_long_metadata_is_kept(tmp_path):
    names = tuple(f"class number {i}" for i in range(21_000))
    assert write(tmp_path, make_spec(class_names=names)).class_names == names


def test_ids_that_are_not_unicode_stay_apart(tmp_path):
    ids = ["caf\udce9.png", "caf\udcea.png", *(f"{i}.png" for i in range(38))]
    assert len(set(write(tmp_path, make_spec(ids=ids)).ids)) == 40


def test_a_name_that_hdf5_cannot_hold_is_refused(tmp_path):
    layer = StoredLayer("a\0b", (2,), (2,), "float32", "none")
    with pytest.raises(StoreError, match="cannot hold this name"):
        write(tmp_path, make_spec(layers=[layer]))
    assert list(tmp_path.iterdir()) == []


def test_nonfinite_numbers_are_kept_and_counted(tmp_path):
    spec = make_spec()
    with ActivationWriter.open(tmp_path / "a.h5", spec) as writer:
        fill(writer, spec, until=32)
        bad = block(spec, 1, 32, 40)
        bad[0, :2] = np.nan, np.inf
        writer.put("conv1>relu", block(spec, 0, 32, 40))
        writer.put("fc", bad)
        writer.put_logits(block(spec, 2, 32, 40))
        writer.end_batch()
        file = writer.finish()
    assert file.nonfinite == {"fc": 2}
    assert file.notes == ("fc: 2 of the stored numbers are NaN or infinite",)
    assert np.array_equal(file.points("fc")[32:], bad, equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "value", "advice"),
    [
        ("float16", np.float32(70000), "70000.0 does not fit float16; give --dtype float32"),
        ("float32", np.float64(1e300), "1e.300 does not fit float32; give --dtype float64"),
        ("float32", np.int64(2**24 + 1), "16777217 does not fit float32; give --dtype float64"),
    ],
)
def test_numbers_that_the_stored_type_cannot_hold_are_refused(tmp_path, dtype, value, advice):
    spec = make_spec(layers=[StoredLayer("fc", (1,), (1,), dtype, "flatten")])
    with ActivationWriter.open(tmp_path / "a.h5", spec) as writer:
        with pytest.raises(StoreError, match=advice):
            writer.put("fc", np.array([[value]]))


def test_rows_of_another_shape_are_refused(tmp_path):
    with ActivationWriter.open(tmp_path / "a.h5", make_spec()) as writer:
        with pytest.raises(ModelError, match=r"gives \(6,\) .* gave \(5,\) before"):
            writer.put("fc", np.zeros((8, 6), np.float32))


def test_a_batch_without_one_of_the_layers_is_refused(tmp_path):
    with ActivationWriter.open(tmp_path / "a.h5", make_spec()) as writer:
        writer.put("fc", np.zeros((8, 5), np.float32))
        with pytest.raises(ModelError, match="conv1>relu: the model gave no values"):
            writer.end_batch()


def test_a_store_knows_itself_and_other_files_are_not_one(tmp_path):
    assert is_activation_file(write(tmp_path, make_spec()).path)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.zeros(3)
    assert not is_activation_file(other)
    (tmp_path / "text.h5").write_text("hello")
    assert not is_activation_file(tmp_path / "text.h5")
    assert not is_activation_file(tmp_path)
    with pytest.raises(StoreError, match="is not an activation file"):
        ActivationFile.open(other)
