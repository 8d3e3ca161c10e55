"""Pictures from files that nobody vouches for: decoded to RGB, or refused in one line."""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from vismem.errors import UserError

# A file of a few kilobytes can claim any size: what is larger is not decoded.
MAX_PIXELS = 64_000_000
# What a data set may hold. Pillow reads more, some of it (EPS) by starting other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")

Color = tuple[int, int, int]


def decode(
    data: bytes | BinaryIO | np.ndarray,
    name: str,
    background: Color = (255, 255, 255),
    exact: bool = False,
) -> np.ndarray:
    """A picture as RGB.

    Palettes, grey, CMYK and 16 bits are converted, transparency is composited on `background`, the
    camera's orientation is applied, and of an animation the first frame is taken.

    Args:
      data: an encoded picture, as bytes or as an open file; or pixels, uint8 or uint16 [H, W] or
        [H, W, 1 | 3 | 4].
      name: how error lines call the picture.
      background: RGB, 0..255.
      exact: whether a picture of which RGB does not hold everything is refused.

    Returns:
      uint8 [H, W, 3].

    Raises:
      UserError: not a picture, damaged, truncated, or of more than `MAX_PIXELS`; refused.
    """
    try:
        if isinstance(data, np.ndarray):
            image = _from_pixels(data)
        else:
            file = io.BytesIO(data) if isinstance(data, bytes) else data
            image = Image.open(file, formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UserError(
                f"{name}: {image.width} x {image.height} pixels are more than the"
                f" {MAX_PIXELS:,} allowed; scale it down"
            )
        if exact:
            _check_exact(image, name)
        return _rgb(ImageOps.exif_transpose(image), background)
    except UserError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise UserError(f"{name}: cannot be decoded ({error}); replace or remove it") from error


def _from_pixels(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(pixels)


def _check_exact(image: Image.Image, name: str) -> None:
    if image.has_transparency_data:
        if image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            raise UserError(f"{name}: transparent in parts, which would be lost; flatten it first")
    elif image.mode not in ("1", "L", "P", "RGB"):
        raise UserError(
            f"{name}: 8-bit RGB does not hold what its pixels do ({image.mode}); convert it"
        )


def _rgb(image: Image.Image, background: Color) -> np.ndarray:
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("32 bits a pixel")
        image = Image.fromarray((deep // 256).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("pixels are real numbers of unknown range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return np.asarray(image.convert("RGB"))


def read(
    root: str, file_name: str, background: Color = (255, 255, 255), exact: bool = False
) -> np.ndarray:
    """Decodes the file `file_name` of the folder `root`; it must lie inside, links followed."""
    try:
        path, root = os.path.realpath(os.path.join(root, file_name)), os.path.realpath(root)
        if os.path.commonpath([path, root]) != root:
            raise UserError(f"{file_name}: leads out of the folder {root}; move the file into it")
        with open(path, "rb") as file:
            return decode(file, path, background, exact)
    except (OSError, ValueError) as error:  # the latter for names that can be of no file
        raise UserError(f"{file_name!r} in {root}: cannot be read ({error})") from error


def read_file(
    file: str | os.PathLike, background: Color = (255, 255, 255), exact: bool = False
) -> np.ndarray:
    """Decodes a picture that somebody named: a link may lead where it will."""
    return read(*os.path.split(os.path.realpath(file)), background, exact)


def resize(image: np.ndarray, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """The part `box` (left, top, right, bottom in pixels) of an image as uint8 [size, size, 3]."""
    return np.asarray(
        Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS, box=box)
    )


def fit(image: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of uint8 [H, W, 3], scaled to [size, size, 3]."""
    height, width = image.shape[:2]
    if height == width == size:
        return image
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return resize(image, size, (left, top, left + side, top + side))
