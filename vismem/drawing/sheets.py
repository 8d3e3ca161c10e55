"""Sheets: pictures with the texts they were drawn from under them, as one picture."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vismem.drawing.artist import Drawing
from vismem.errors import UserError

MARGIN = 8  # Pixels around every picture.
INK, PAPER = "#222222", "#ffffff"
log = logging.getLogger(__name__)


def write(picture: Image.Image, path: Path) -> None:
    """Writes a picture, whole or not at all: it may be one that was read.

    Raises:
      UserError: it cannot be written; what was there before still is.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(partial)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def grid(
    images: np.ndarray, texts: Sequence[str], columns: int | None = None, side: int = 128
) -> Image.Image:
    """Pictures in rows, each with its text under it.

    Args:
      images: uint8 [N, H, W, 3].
      texts: N of them.
      columns: pictures a row; about a square by default.
      side: pixels of a picture on the sheet.
    """
    columns = columns or min(len(images), max(1, round(len(images) ** 0.5)))
    wrapped = [wrap(text, side) for text in texts]
    depth = max(len(lines) for lines in wrapped)
    cell, line = side + 2 * MARGIN, line_height()
    tall = side + 2 * MARGIN + depth * line
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * tall), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (image, lines) in enumerate(zip(images, wrapped)):
        left, top = (i % columns) * cell + MARGIN, (i // columns) * tall + MARGIN
        sheet.paste(enlarge(image, side), (left, top))
        for j, words in enumerate(lines):
            pen.text((left, top + side + 3 + j * line), words, fill=INK, font=font(words))
    return sheet


def strip(drawing: Drawing, texts: Sequence[str], side: int = 96, most: int = 12) -> Image.Image:
    """For every text, its estimates Y_t from the first step to the last, and the picture.

    Beneath each estimate stands what every memory slot attended to, bright where it looked.

    Args:
      drawing: with its trace.
      texts: one a picture.
      side: pixels of a picture on the sheet.
      most: steps shown, evenly spread over all.
    """
    steps = np.unique(np.linspace(0, len(drawing.estimates) - 1, most).round().astype(int))
    blocks = []
    for i, text in enumerate(texts):
        frames = [*drawing.estimates[steps, i], drawing.images[i]]
        maps = drawing.attention[steps, i] if drawing.attention is not None else None
        blocks.append(_strip(frames, maps, text, steps, side))
    return _stacked(blocks)


def conversation(drawings: Sequence[Drawing], texts: Sequence[str]) -> Image.Image:
    """The turns of one conversation in a row; those with a trace one beneath the other, every step
    of them, and under all what the memory slots held.

    Args:
      drawings: one a turn, each of one picture.
      texts: one a turn.
    """
    if drawings[0].estimates is None:
        return grid(np.concatenate([d.images for d in drawings]), texts, columns=len(texts))
    blocks = [strip(drawing, [text]) for drawing, text in zip(drawings, texts)]
    if drawings[0].memory is not None:
        blocks.append(slots([drawing.memory[:, 0] for drawing in drawings]))
    return _stacked(blocks)


def slots(memory: Sequence[np.ndarray], side: int = 12) -> Image.Image:
    """What memory slots held over time: a row a slot, a column a step, turns apart from each other.

    Red, green and blue are the first three principal components of all slots at all times, so that
    like colours are like contents.

    Args:
      memory: of every turn, float32 [T, K, D].
      side: pixels of a cell.
    """
    contents = np.concatenate(memory)
    steps, count, width = contents.shape
    flat = contents.reshape(-1, width) - contents.mean((0, 1))
    _, _, axes = np.linalg.svd(flat, full_matrices=False)
    parts = flat @ axes[:3].T
    low, high = parts.min(0), parts.max(0)
    colors = (255 * (parts - low) / np.maximum(high - low, 1e-9)).astype(np.uint8)
    cells = np.zeros((count, steps, 3), np.uint8)
    cells[..., : colors.shape[-1]] = colors.reshape(steps, count, -1).swapaxes(0, 1)
    line = line_height()
    wide = steps * side + (len(memory) + 1) * MARGIN
    sheet = Image.new("RGB", (wide, 2 * MARGIN + line + count * side), PAPER)
    pen = ImageDraw.Draw(sheet)
    left = first = 0
    for turn, held in enumerate(memory):
        left, last = left + MARGIN, first + len(held)
        pen.text((left, MARGIN // 2), f"slots, turn {turn + 1}", fill=INK, font=font(""))
        part = Image.fromarray(np.ascontiguousarray(cells[:, first:last]))
        size = (len(held) * side, count * side)
        sheet.paste(part.resize(size, Image.Resampling.NEAREST), (left, MARGIN + line))
        left, first = left + size[0], last
    return sheet


def _stacked(blocks: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), PAPER)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    return sheet


def _strip(
    frames: list[np.ndarray], maps: np.ndarray | None, text: str, steps: np.ndarray, side: int
) -> Image.Image:
    slots = 0 if maps is None else maps.shape[1]
    per_row, gap = 4, 2
    small = (side - (per_row - 1) * gap) // per_row
    below = -(-slots // per_row) * (small + gap)
    line, cell = line_height(), side + MARGIN
    sheet = Image.new(
        "RGB", (len(frames) * cell + MARGIN, 2 * line + side + below + 3 * MARGIN), PAPER
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN // 2), text, fill=INK, font=font(text))
    for t, frame in enumerate(frames):
        left, top = MARGIN + t * cell, line + MARGIN
        sheet.paste(enlarge(frame, side), (left, top))
        label = f"step {steps[t] + 1}" if t < len(steps) else "picture"
        for k in range(slots if t < len(steps) else 0):
            x, y = left + (k % per_row) * (small + gap), top + side + gap
            heat = maps[t, k] / maps[t, k].max()
            shown = np.repeat((255 * heat).astype(np.uint8)[..., None], 3, axis=-1)
            sheet.paste(enlarge(shown, small), (x, y + (k // per_row) * (small + gap)))
        pen.text((left, top + side + below + 2), label, fill=INK, font=font(label))
    return sheet


def enlarge(image: np.ndarray, side: int) -> Image.Image:
    """uint8 [H, W, 3] as a square of `side` pixels; small pictures keep their pixels visible."""
    method = Image.Resampling.NEAREST if len(image) <= side else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((side, side), method)


@cache
def _font(cjk: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name, face in _cjk_fonts() if cjk else ():
        with suppress(OSError):
            return ImageFont.truetype(name, 11, face)
    if cjk:
        log.warning(
            "Chinese texts under pictures are boxes, for want of a font: "
            "pip install 'vismem[chinese]', or install one on the system (Debian: fonts-noto-cjk)"
        )
    return ImageFont.load_default(11)


def _cjk_fonts() -> Iterator[tuple[str, int]]:
    """Files that may be there, and which of a collection's faces is for simplified Chinese."""
    with suppress(ImportError):
        from noto_cjk_sans_otc import FONT_PATH  # of the extra `chinese`

        yield str(FONT_PATH), 2
    yield from (("NotoSansCJK-Regular.ttc", 2), ("wqy-microhei.ttc", 0), ("Arial Unicode.ttf", 0))


def font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that has the text's letters, as far as this machine has one."""
    return _font(any("\u2e80" <= letter <= "\uffef" for letter in text))


def line_height() -> int:
    """Pixels from one line of text to the next."""
    return 14


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` pixels; a language without spaces breaks anywhere."""
    joint = " " if " " in text else ""
    lines = [""]
    for word in text.split() if joint else text:
        longer = lines[-1] + joint + word if lines[-1] else word
        if font(text).getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
