"""Images small enough for a page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 64


def thumbnails(images: Sequence[np.ndarray], side: int = SIDE) -> list[str]:
    """Images ``(h, w, c)``, uint8 or floats in [0, 1], as ``data:`` addresses of PNG files.

    At most ``side`` pixels wide and high; of more than three channels the first three are shown,
    of two the first.
    """
    return [_address(image, side) for image in images]


def _address(image: np.ndarray, side: int) -> str:
    if image.dtype != np.uint8:
        image = (np.nan_to_num(np.clip(image, 0, 1)) * 255).round().astype(np.uint8)
    shown = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    picture = Image.fromarray(np.ascontiguousarray(shown))
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
