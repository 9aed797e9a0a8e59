"""Files become labelled samples: images of any size, or arrays that pass untouched.

A reference is ``PATH[::inside][@split]`` or the word ``digits``; which reader answers is decided
by what lies at the path, never by its name alone. One reader per file, all returning a `Dataset`:

    digits                      scikit-learn's bundled handwritten digits
    folder, .zip                `image_folder`: class folders, labels.csv, flat folders, one image
    *-ubyte, *-ubyte.gz         `idx`: the MNIST family
    .npz, .npy, .h5             `npz`, `npy`, `hdf5`: arrays, and images stored as arrays
    data_batch_1, test.bin      `cifar`: CIFAR-10 and CIFAR-100, python and binary
    .mat                        `svhn`: the cropped digits of SVHN

`preprocessing` turns images into a model's input; `probing` finds out how.
"""

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.opening import open_dataset
from entangle_cli.datasets.sampling import limit

__all__ = ["Dataset", "limit", "open_dataset"]
