"""Images as files: in a folder, in a .zip, listed by a table, or one alone.

What is looked for, in this order, at the root or in the single folder that wraps everything:

1. ``labels.csv`` or ``metadata.csv`` with ``file_name,label`` (and ``split``); a ``labels.csv``
   without these columns is an error, a ``metadata.csv`` without them is about something else;
2. folders or .zip files named after splits (``train``, ``test``, ``val``): ``@split`` goes there;
3. class folders: every folder with images below it is one class, numbered in natural order;
4. images alone: unlabelled.

Files that are no images are skipped and counted. Images are decoded when asked for; opening reads
every file once for the fingerprint, to count what will be converted, and to find the file that is
no image before a model runs.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from entangle_cli.datasets import tables
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import combined
from entangle_cli.datasets.formats.images import SUFFIXES, conversion_notes, decode, traits
from entangle_cli.datasets.labels import labels_from_names, read_labels, renumbering_note
from entangle_cli.datasets.reference import (
    Reference,
    choose_split,
    is_split_name,
    no_inside,
    no_split,
)
from entangle_cli.datasets.trees import Tree, file_bytes, open_tree
from entangle_cli.errors import DataError


@dataclass(frozen=True)
class Listing:
    """The images of a data set by name, with what is known about them."""

    tree: Tree
    files: tuple[str, ...]
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def read_image_folder(reference: Reference) -> Dataset:
    """The images below a folder or in a .zip.

    Raises:
        DataError: no images, a table that does not fit, a damaged file, or no such split.
    """
    tree = _unwrapped(open_tree(reference))
    listing = _from_table(tree, reference) or _from_splits(tree, reference)
    if listing is None:
        no_split(reference, "this folder")
        listing = _from_folders(tree)
    return _dataset(reference, listing)


def read_table_file(reference: Reference) -> Dataset:
    """The images listed by a .csv file that was named itself.

    Raises:
        DataError: the file lacks the columns, or names files that are not there.
    """
    no_inside(reference, "a table")
    tree = open_tree(replace(reference, path=reference.path.parent))
    listing = _from_table(tree, reference, names=(reference.path.name,))
    if listing is None:
        raise DataError(f"{reference.path}: {tables.LACKS}")
    return _dataset(reference, listing)


def read_image_file(reference: Reference) -> Dataset:
    """One image file as an unlabelled data set of one sample.

    Raises:
        DataError: the file cannot be decoded, or a split or inner path is asked for.
    """
    no_split(reference, "an image")
    no_inside(reference, "an image")
    path = reference.path
    tree = Tree(str(path.parent), (path.name,), lambda _: file_bytes(path))
    return _dataset(reference, Listing(tree, (path.name,), None, None))


def _dataset(reference: Reference, listing: Listing) -> Dataset:
    tree, files = listing.tree, listing.files
    digest, converted = _surveyed(tree, files)
    names = "\0".join(listing.class_names or ())
    labels = b"" if listing.labels is None else listing.labels.astype("<i8").tobytes()

    def read(rows: np.ndarray) -> list[np.ndarray]:
        return [decode(tree.read(files[row]), f"{tree.where}/{files[row]}") for row in rows]

    return Dataset(
        name=reference.name,
        reference=str(reference),
        kind="images",
        read=read,
        labels=listing.labels,
        class_names=listing.class_names,
        ids=files,
        fingerprint=combined("image files", digest, names, labels),
        notes=(*listing.notes, *conversion_notes(converted, len(files))),
    )


def _surveyed(tree: Tree, files: tuple[str, ...]) -> tuple[str, Counter[str]]:
    """The digest of all names and contents, and how often which conversion will happen."""
    total = hashlib.sha256()
    converted: Counter[str] = Counter()
    for name in files:
        data = tree.read(name)
        total.update(combined(name, data).encode())
        converted.update(traits(data, f"{tree.where}/{name}"))
    return total.hexdigest(), converted


def _unwrapped(tree: Tree) -> Tree:
    """The tree inside the one folder that holds everything, as most archives are packed."""
    while True:
        tops = {name.partition("/")[0] for name in tree.names}
        if len(tops) != 1 or not all(name.count("/") >= 2 for name in tree.names):
            return tree
        (only,) = tops
        if is_split_name(only):
            return tree
        tree = tree.below(only)


def _from_table(
    tree: Tree, reference: Reference, names: tuple[str, ...] = tables.NAMES
) -> Listing | None:
    name = next((n for n in names if n in tree.names), None)
    table = tables.read_table(tree, name) if name else None
    if table is None:
        if name == tables.LABELS:
            raise DataError(f"{tree.where}/{name}: {tables.LACKS}")
        return None
    rows, notes = list(range(len(table.files))), ()
    if table.splits is not None:
        split, notes = choose_split(reference.split, dict.fromkeys(table.splits), tree.where)
        rows = [row for row in rows if table.splits[row] == split]
    else:
        no_split(reference, name)
    files = tuple(table.files[row] for row in rows)
    texts = np.array([table.labels[row] for row in rows], dtype=object)
    labels, class_names = read_labels(texts, len(rows), f"{tree.where}/{name}")
    unlisted = len(_images(tree.names)) - len(_images(table.files))
    notes += (f"{unlisted} images are not listed in {name}: skipped",) if unlisted else ()
    return Listing(tree, files, labels, class_names, notes)


def _from_splits(tree: Tree, reference: Reference) -> Listing | None:
    folders = dict.fromkeys(name.partition("/")[0] for name in _images(tree.names) if "/" in name)
    archives = [n for n in tree.names if "/" not in n and n.lower().endswith(".zip")]
    splits = [f for f in folders if is_split_name(f)]
    on_disk = not folders and Path(tree.where).is_dir()
    zipped = {n[:-4]: n for n in archives if is_split_name(n[:-4])} if on_disk else {}
    # folders that merely happen to be called so stand beside class folders
    if not (splits or zipped) or (len(splits) < len(folders) and reference.split is None):
        return None
    split, notes = choose_split(reference.split, [*splits, *zipped], tree.where)
    if split in zipped:
        inner = Reference(Path(tree.where, zipped[split]))
        listing = _from_folders(_unwrapped(open_tree(inner)))
    else:
        below = tree.below(split)
        listing = _from_table(below, replace(reference, split=None)) or _from_folders(below)
    return replace(listing, notes=(*notes, *listing.notes))


def _from_folders(tree: Tree) -> Listing:
    images = _images(tree.names)
    if not images:
        raise DataError(f"{tree.where}: {_no_images(tree)}")
    classed = tuple(name for name in images if "/" in name)
    skipped = len(tree.names) - len(images)
    notes = (f"{skipped} files that are no images: skipped",) if skipped else ()
    if not classed:
        return Listing(tree, images, None, None, (*notes, "no labels"))
    loose = len(images) - len(classed)
    notes += (f"{loose} images outside the class folders: skipped",) if loose else ()
    labels, class_names = labels_from_names([name.partition("/")[0] for name in classed])
    notes += renumbering_note(class_names)
    return Listing(tree, classed, labels, class_names, notes)


def _images(names: tuple[str, ...]) -> tuple[str, ...]:
    endings = tuple(SUFFIXES)
    return tuple(name for name in names if name.lower().endswith(endings))


def _no_images(tree: Tree) -> str:
    looked = "class folders, labels.csv, images, *-ubyte files and CIFAR batches"
    arrays = [n for n in tree.names if n.lower().endswith((".npz", ".npy", ".h5", ".mat", ".zip"))]
    if arrays:
        return f"a folder without images; looked for {looked}; did you mean the file {arrays[0]!r}?"
    return f"no data set is recognised in it; looked for {looked}"
