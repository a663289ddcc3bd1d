"""One file of an image as an array of bytes: upright, grey or in colour, of the size that is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from graphcnn.errors import OptionError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Those that are decoded: Pillow's others are rare, or run other programs."""
VERSION: Final = 2
"""Another number whenever the same file becomes other bytes, or is left out no more."""
_ORIENTATION: Final = 0x0112
_GREY: Final = ("1", "L", "LA", "La")
_SIXTEEN: Final = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_DEEPEST: Final = 65535
_BY_RUNS: Final = "bmp_rle"
_MOST_BY_RUNS: Final = 1 << 22
"""Pixels of a bitmap in runs at most: Pillow decodes them in Python, and few bytes may stand for many."""
DRAFT: Final = 2
"""JPEG files are decoded at a half, a quarter or an eighth where so many times the size wanted is left."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What images become. size: height and width, or None for each its own. channels: 1, or 3 for RGB.

    is_cropped: keep the shape of what is in the image, and cut off what is beyond the size at both ends; or
    else squeeze it.
    """

    size: tuple[int, int] | None
    channels: int
    is_cropped: bool = True


class NotDecoded(Exception):  # noqa: N818 - it says why a file is left out
    """A file that is no image, or none that can be loaded."""


def require_pillow() -> str:
    """Return the version of Pillow. Raises OptionError where it is not installed."""
    try:
        import PIL
    except ImportError:
        raise OptionError("images are decoded by Pillow", mend='pip install "graphcnn[images]"') from None
    return str(PIL.__version__)


def decoded(path: str | Path, wanted: Wanted) -> NDArray[np.uint8]:
    """Return the image of a file  # [H, W, channels]

    The first one, where a file has several. It is turned as its EXIF data say; 16 bits are scaled to 8,
    transparency is dropped. Raises NotDecoded for anything that cannot be loaded as a whole.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            _require_decoder(image)
            orientation = _orientation(image)
            size = wanted.size
            if size is not None and orientation >= 5:  # turned by a quarter
                size = size[1], size[0]
            if size is not None:
                image.draft(None, (DRAFT * size[1], DRAFT * size[0]))
            made = _resized(_in_channels(image, wanted.channels), size, is_cropped=wanted.is_cropped)
            upright = _turned(made, orientation)
            pixels = np.asarray(upright)
    except UnidentifiedImageError:
        raise NotDecoded(
            f"it is no image: {', '.join(FORMATS)} are read, and it begins with {_begin(path)}"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise NotDecoded(f"it is a decompression bomb: {error}"[:200]) from None
    except NotDecoded:
        raise
    except MemoryError:
        raise NotDecoded("there is no memory for it") from None
    except Exception as error:  # damaged files make decoders raise whatever they come upon
        raise NotDecoded(f"it is damaged: {str(error)[:160] or type(error).__name__}") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _require_decoder(image: Image) -> None:
    """Raise NotDecoded for what takes Pillow far longer than its size tells."""
    codecs = [tile[0] for tile in getattr(image, "tile", ())]
    if _BY_RUNS in codecs and image.width * image.height > _MOST_BY_RUNS:
        size = f"{image.width:,} x {image.height:,}"
        raise NotDecoded(f"it is a bitmap in runs of {size} pixels, of which {_MOST_BY_RUNS:,} are decoded")


def is_grey(path: str | Path) -> bool:
    """Whether a file's header says that its image is grey. Raises NotDecoded where there is none."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            return _is_grey(image)
    except Exception as error:
        raise NotDecoded(str(error)[:200]) from None


def _is_grey(image: Image) -> bool:
    return image.mode in (*_GREY, *_SIXTEEN)


def _orientation(image: Image) -> int:
    """Return how the image is turned, 1 to 8 as in EXIF; 1, upright, where that is damaged."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # the image may be whole nevertheless
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _in_channels(image: Image, channels: int) -> Image:
    """Return an image in 8 bits, grey or RGB."""
    if image.mode in _SIXTEEN:
        image = _in_bytes(image)
    elif image.mode == "F":
        raise NotDecoded("its pixels are floating-point numbers, of no known range")
    if channels == 1 and not _is_grey(image):
        image = image.convert("RGB")  # from which grey is weighed: 0.299 R + 0.587 G + 0.114 B
    return image.convert("L" if channels == 1 else "RGB")


def _in_bytes(image: Image) -> Image:
    """Return an image of 16 bits scaled to 8; Pillow's own conversion cuts off what is above 255."""
    from PIL import Image

    deep = np.asarray(image).astype(np.int64)
    if deep.min() < 0 or deep.max() > _DEEPEST:
        raise NotDecoded(f"its pixels are from {deep.min()} to {deep.max()}, more than 16 bits hold")
    return Image.fromarray(((deep * 255 + _DEEPEST // 2) // _DEEPEST).astype(np.uint8))


def _resized(image: Image, size: tuple[int, int] | None, *, is_cropped: bool) -> Image:
    """Return an image of a height and width."""
    from PIL import Image

    if size is None or (image.height, image.width) == size:
        return image
    height, width = size
    box: tuple[float, float, float, float] | None = None
    if is_cropped:
        scale = min(image.height / height, image.width / width)
        # one of both is 0, but for rounding; Pillow refuses a box that begins outside the image
        left = max((image.width - width * scale) / 2, 0.0)
        top = max((image.height - height * scale) / 2, 0.0)
        box = left, top, image.width - left, image.height - top
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _turned(image: Image, orientation: int) -> Image:
    """Return an image turned and mirrored to what EXIF calls upright."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _begin(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return file.read(8).hex(" ")
