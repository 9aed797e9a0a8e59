"""Color and size of image batches ``(b, h, w, c)``, with Pillow's arithmetic."""

import numpy as np
from PIL import Image

from entangle_cli.errors import DataError

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
COLORS = ("gray", "rgb", "bgr", "keep")

# ITU-R 601-2 luma in 16-bit fixed point, as Pillow's convert("L") computes it
_LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)


def recolored(batch: np.ndarray, color: str) -> np.ndarray:
    """The batch as ``gray`` (1 channel), ``rgb`` or ``bgr`` (3), or as it is (``keep``).

    A fourth channel (alpha) is dropped.

    Raises:
        DataError: a number of channels that is no image.
    """
    if color == "keep":
        return batch
    channels = batch.shape[3]
    if channels not in (1, 2, 3, 4):
        raise DataError(f"an image of {channels} channels cannot be made {color}; use 'keep'")
    batch = batch[..., : 1 if channels < 3 else 3]
    if color == "gray":
        return batch if batch.shape[3] == 1 else _luma(batch)
    if batch.shape[3] == 1:
        return np.broadcast_to(batch, (*batch.shape[:3], 3))
    return batch[..., ::-1] if color == "bgr" else batch


def resized(
    batch: np.ndarray, size: tuple[int, int], interpolation: str, crop_pct: float | None
) -> np.ndarray:
    """The batch at ``size`` (h, w), antialiased.

    Without ``crop_pct`` both sides are stretched to ``size``. With it the smaller scale that
    covers ``size / crop_pct`` is taken, aspect kept, and the center cut out.
    """
    if batch.shape[1:3] == size and crop_pct in (None, 1.0):
        return batch
    inner = size if crop_pct is None else _covering(batch.shape[1:3], size, crop_pct)
    if batch.shape[1:3] != inner:
        method = INTERPOLATIONS[interpolation]
        batch = np.stack([_resized(image, inner, method) for image in batch])
    top = round((inner[0] - size[0]) / 2)
    left = round((inner[1] - size[1]) / 2)
    return batch[:, top : top + size[0], left : left + size[1]]


def _luma(batch: np.ndarray) -> np.ndarray:
    if batch.dtype == np.uint8:
        return ((batch @ _LUMA + 0x8000) >> 16).astype(np.uint8)[..., None]
    return (batch @ (_LUMA / 65536).astype(batch.dtype))[..., None]


def _covering(have: tuple[int, ...], want: tuple[int, int], crop_pct: float) -> tuple[int, int]:
    target = (int(want[0] / crop_pct), int(want[1] / crop_pct))
    ratio = max(target[0] / have[0], target[1] / have[1])
    return max(want[0], int(have[0] * ratio)), max(want[1], int(have[1] * ratio))


def _resized(image: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    height, width = size
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).resize((width, height), method))
    # Pillow knows floats in one channel only
    planes = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])]
    return np.stack([np.asarray(p.resize((width, height), method)) for p in planes], axis=-1)
