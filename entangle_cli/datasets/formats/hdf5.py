"""``.h5``: data sets of one HDF5 file, read slice by slice.

Without ``::inside`` the data sets at the root (or in the group ``train``/``test`` for a split)
are taken by their names, see `columns`; ``::group`` looks there, ``::data/set`` takes that one
with the nearest labels at its side or above it. Class names may also stand in an attribute
``class_names``.

A file may point elsewhere: external links, external storage and virtual data sets are refused,
as they would read other files; so are soft links, and filters that HDF5 would load as plug-ins.
"""

from pathlib import Path

import h5py
import numpy as np

from entangle_cli.datasets.columns import LABELS, choose_roles
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import file_digest
from entangle_cli.datasets.formats.arrays import Columns, dataset_of, row_count
from entangle_cli.datasets.labels import class_names_from, read_labels
from entangle_cli.datasets.reference import Reference, choose_split, is_split_name
from entangle_cli.errors import DataError
from entangle_cli.rehearsal import rehearsed
from entangle_cli.text import suggestion

# deflate, shuffle, fletcher32, szip, nbit, scale-offset, lzf: all part of h5py itself
_FILTERS = (1, 2, 3, 4, 5, 6, 32000)
_KEY_LIMIT = 10_000
# what reading names and labels may take
SECONDS, BYTES_PER_SECOND = 30, 10 * 2**20
_ATTRIBUTE = "class_names"
_OWN_FORMAT = "entangle-activations"


class _Slices:
    """Rows of an HDF5 data set; damage met later is said as plainly as damage met at once."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.shape, self.dtype, self.ndim = dataset.shape, dataset.dtype, dataset.ndim

    def __getitem__(self, rows: slice | tuple[()]) -> np.ndarray:
        try:
            return self.dataset[rows]
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.dataset.file.filename}::{self.dataset.name}: cannot be read ({reason}); "
                "check the file"
            ) from None


def read_hdf5(reference: Reference) -> Dataset:
    """The samples and labels of an HDF5 file.

    Raises:
        DataError: damaged, pointing outside itself, or without samples at the place given.
    """
    path = reference.path
    seconds = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    # the HDF5 library may crash or go round in circles on a damaged file
    trouble = rehearsed(lambda: _read(reference, h5py.File(path, "r"), ""), seconds)
    if trouble is not None:
        raise DataError(f"{path}: cannot be read as HDF5 ({trouble}), it is damaged; get it again")
    try:
        chosen, columns = _read(reference, h5py.File(path, "r"), file_digest(path))
        return dataset_of(chosen, columns, "hdf5")
    # h5py raises these for damage it meets while walking and reading
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0].strip("'\"") if str(error) else "damaged"
        raise DataError(f"{path}: cannot be read as HDF5 ({reason}); check the file") from None


def _read(reference: Reference, file: h5py.File, digest: str) -> tuple[Reference, Columns]:
    """All but the samples themselves."""
    where = file[_checked(file, reference)]
    if isinstance(where, h5py.Dataset):
        if reference.split is not None:
            choose_split(reference.split, (), reference)
        return reference, _one(reference, where, digest)
    if file.attrs.get("format") == _OWN_FORMAT and reference.inside is None:
        raise DataError(
            f"{reference.path}: stored activations, not a data set; add ::layer/points to use one"
        )
    where, chosen, notes = _split_group(where, reference)
    keys = [k for k in _keys(where, chosen) if isinstance(_member(where, k, chosen), h5py.Dataset)]
    roles = choose_roles(keys, reference if chosen is reference else _without_split(chosen))
    inputs = {n: _Slices(_member(where, key, chosen)) for n, key in roles.inputs.items()}
    n = row_count(inputs, reference)
    labels, class_names = None, None
    if roles.labels:
        labels, class_names = _labels(_member(where, roles.labels, chosen), n)
    if roles.class_names:
        stored = _values(_member(where, roles.class_names, chosen)).ravel()
        class_names = class_names or class_names_from(stored, labels)
    class_names = class_names or _names_attribute(where, labels)
    notes += roles.notes if roles.labels else (*roles.notes, "no labels")
    columns = Columns(inputs, digest, labels, class_names, notes)
    return Reference(reference.path, reference.inside, chosen.split or roles.split), columns


def _one(reference: Reference, dataset: h5py.Dataset, digest: str) -> Columns:
    """One data set of the file, with the nearest labels: beside it or in a group above."""
    if dataset.ndim == 0:
        raise DataError(f"{reference}: a single value; give one row per sample")
    labels, class_names, notes = None, None, ("no labels",)
    group = dataset.parent
    while labels is None:
        name = next((k for k in LABELS if k in group and group[k].name != dataset.name), None)
        if name is not None:
            stored = _member(group, name, reference)
            labels, class_names = _labels(stored, dataset.shape[0])
            class_names = class_names or _names_attribute(group, labels)
            notes = (f"labels from {stored.name}",)
        if group.name == "/":
            break
        group = group.parent
    stem = dataset.name.rpartition("/")[2]
    key = "images" if stem.lower() == "images" else "x"
    return Columns({key: _Slices(dataset)}, digest, labels, class_names, notes)


def _checked(file: h5py.File, reference: Reference) -> str:
    """The absolute path of ``::inside``, every step of it a plain link within the file."""
    path = "/"
    for step in (reference.inside or "").strip("/").split("/"):
        if not step:
            continue
        group = file[path]
        if not isinstance(group, h5py.Group) or step not in group:
            known = _keys(group, reference) if isinstance(group, h5py.Group) else []
            hint = suggestion(step, known) or (
                f"; there is {', '.join(known[:8])}" if known else ""
            )
            raise DataError(f"{reference}: no {step!r} in {path}{hint}")
        path = _member(group, step, reference).name
    return path


def _member(group: h5py.Group, key: str, reference: Reference) -> h5py.Group | h5py.Dataset:
    """A member that lies in this file, with all its bytes."""
    where = f"{reference.path}::{group.name.rstrip('/')}/{key}"
    link = group.get(key, getlink=True)
    if not isinstance(link, h5py.HardLink):
        kind = "external" if isinstance(link, h5py.ExternalLink) else "soft"
        raise DataError(
            f"{where}: a{'n' if kind == 'external' else ''} {kind} link, "
            "which is not followed; give the file and path it points to"
        )
    member = group[key]
    if isinstance(member, h5py.Dataset):
        _refuse_foreign(member, where)
    return member


def _refuse_foreign(dataset: h5py.Dataset, where: str) -> None:
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{where}: its values lie in other files; copy them into this one")
    plan = dataset.id.get_create_plist()
    for index in range(plan.get_nfilters()):
        code = plan.get_filter(index)[0]
        if code not in _FILTERS:
            raise DataError(
                f"{where}: compressed with filter {code}, which needs a plug-in; "
                "repack it with gzip (h5repack -f GZIP=4)"
            )


def _keys(group: h5py.Group, reference: Reference) -> list[str]:
    if len(group) > _KEY_LIMIT:
        raise DataError(f"{reference}: {len(group)} entries in {group.name}; add ::inside")
    return list(group)


def _split_group(
    group: h5py.Group, reference: Reference
) -> tuple[h5py.Group, Reference, tuple[str, ...]]:
    """The group of the split where splits are groups, else the group itself."""
    keys = _keys(group, reference)
    groups = [k for k in keys if is_split_name(k) and isinstance(group.get(k), h5py.Group)]
    if not groups or any(isinstance(group.get(k, getlink=True), h5py.ExternalLink) for k in groups):
        return group, reference, ()
    split, notes = choose_split(reference.split, groups, reference)
    inner = _member(group, split, reference)
    return inner, Reference(reference.path, reference.inside, split), notes


def _without_split(reference: Reference) -> Reference:
    return Reference(reference.path, reference.inside)


def _labels(dataset: h5py.Dataset, n: int) -> tuple[np.ndarray, tuple[str, ...] | None]:
    where = f"{Path(dataset.file.filename)}::{dataset.name}"
    return read_labels(_values(dataset), n, where)


def _values(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr(errors="replace")[()], dtype=object)
    if dataset.dtype.hasobject:
        raise DataError(f"{dataset.file.filename}::{dataset.name}: {dataset.dtype} is not a label")
    return np.asarray(dataset[()])


def _names_attribute(group: h5py.Group, labels: np.ndarray | None) -> tuple[str, ...] | None:
    stored = group.attrs.get(_ATTRIBUTE)
    if not isinstance(stored, np.ndarray):
        return None
    return class_names_from(stored.ravel(), labels)
