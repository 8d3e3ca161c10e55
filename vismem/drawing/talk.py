"""A conversation in the terminal: sentences in, pictures out, in half-blocks and as files."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from vismem.drawing import masks, sheets
from vismem.drawing.sessions import Session
from vismem.errors import UserError
from vismem.registry import nearest

HELP = """\
Say what to draw, then what to change. Also:
  /undo [N]       take back the last turn, or the last N
  /branch         try something else from here; again: back to where you were
  /candidates N   draw N at a time
  /like N         choose one of them, from 1; more are drawn if there are fewer
  /mask FILE      the next sentence changes only what is white in this picture of the same size
  /mask L T R B   or what is in a rectangle: its left, top, right and bottom, from 0 to 1
  /mask           or anything again
  /save FILE      keep the conversation; vismem talk RUN --session FILE goes on with it
  /help
  /quit"""
WIDEST = 64  # cells of a picture


class Talk:
    """Reads lines and does what they say; a mistake is one line, and the talk goes on.

    Args:
      session: what is talked about.
      folder: where pictures go: 1.png after the first turn, 2-1.png and 2-2.png where a second had
        two candidates; b1-2.png, of a branch.
      show: prints.
    """

    def __init__(self, session: Session, folder: Path, show: Callable[[str], None] = print):
        self.session, self.folder, self.show = session, folder, show
        self.candidates, self.branches, self.left = 1, 0, None
        self.prefix, self.mask = "", None

    def run(self, lines: Iterable[str]) -> None:
        """Goes on until the lines end, or one says /quit."""
        for line in map(str.strip, lines):
            if line == "/quit":
                break
            try:
                self.hear(line)
            except UserError as error:
                self.show(f"vismem: {' '.join(str(error).split())}")

    def hear(self, line: str) -> None:
        """One line."""
        if not line.startswith("/"):
            if line:
                self._draw(line)
            return
        name, _, rest = line[1:].partition(" ")
        commands = {
            "undo": self._undo,
            "branch": self._branch,
            "candidates": self._candidates,
            "like": self._like,
            "mask": self._mask,
            "save": self._save,
            "help": lambda _: self.show(HELP),
        }
        if name not in commands:
            raise UserError(f"/{name}: unknown command; {nearest(name, commands)}")
        commands[name](rest.strip())

    def _draw(self, text: str) -> None:
        mask, self.mask = self.mask, None  # whatever comes of it: it is of this sentence
        self._show_new(self.session.say(text, self.candidates, mask))

    def _show_new(self, pictures: np.ndarray, shown: int = 0) -> None:
        """Shows and saves the candidates of the last turn, but for the first `shown`."""
        for number, picture in enumerate(pictures[shown:], shown + 1):
            choice = f"-{number}" if len(pictures) > 1 else ""
            path = self.folder / f"{self.prefix}{len(self.session.turns)}{choice}.png"
            self.show(blocks(picture))
            sheets.write(Image.fromarray(picture), path)
            self.show(str(path))

    def _undo(self, rest: str) -> None:
        self.session.undo(_number("undo", rest or "1"))
        self._show_picture()

    def _branch(self, rest: str) -> None:
        if self.left is None:
            self.branches += 1
            self.left, self.session = self.session, self.session.branch()
            self.prefix = f"b{self.branches}-"
            self.show("a branch; /branch again goes back")
        else:
            self.session, self.left, self.prefix = self.left, None, ""
            self._show_picture()

    def _candidates(self, rest: str) -> None:
        number = _number("candidates", rest)
        if number < 1:
            raise UserError(f"/candidates {number}: must be at least 1")
        self.candidates = number

    def _like(self, rest: str) -> None:
        shown = len(self.session.turns[-1].images) if self.session.turns else 0
        self.session.like(_number("like", rest))
        images = self.session.turns[-1].images
        if len(images) > shown:  # the last of them is the liked one
            self._show_new(images, shown)
        else:
            self._show_picture()

    def _mask(self, rest: str) -> None:
        picture = self.session.picture
        if picture is None:
            raise UserError("/mask: there is no picture yet that it could be of")
        self.mask = None
        if not rest:
            return
        edges = _edges(rest)
        mask = masks.rectangle(*edges, picture.shape[:2]) if edges else masks.read(rest)
        masks.check(mask, picture)
        self.mask = mask
        self.show(blocks(np.where(mask[..., None], picture, picture // 4)))  # what stays is dark

    def _save(self, rest: str) -> None:
        if not rest:
            raise UserError("/save: to which file?")
        self.session.save(rest)
        self.show(rest)

    def _show_picture(self) -> None:
        picture = self.session.picture
        self.show("an empty canvas" if picture is None else blocks(picture))


def lines() -> Iterable[str]:
    """What is typed, asked for by a prompt; or what is piped in."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    while True:
        try:
            yield input("> ")
        except EOFError:
            return


def blocks(picture: np.ndarray) -> str:
    """A picture, uint8 [H, W, 3], as lines of half-blocks, two pixels a cell, in 24-bit colour."""
    height, width = picture.shape[:2]
    if width > WIDEST:
        size = (WIDEST, max(2, round(height * WIDEST / width)))
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    if len(picture) % 2:
        picture = np.concatenate([picture, picture[-1:]])
    rows = []
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist()):
        cells = [
            f"\x1b[38;2;{r};{g};{b};48;2;{u};{v};{w}m▀"
            for (r, g, b), (u, v, w) in zip(upper, lower)
        ]
        rows.append("".join(cells) + "\x1b[0m")
    return "\n".join(rows)


def _edges(text: str) -> list[float] | None:
    """Four numbers; None if it is a file's name."""
    try:
        edges = list(map(float, text.split()))
    except ValueError:
        return None
    if len(edges) != 4:
        raise UserError(f"/mask takes a file, or left, top, right and bottom, not {text!r}")
    return edges


def _number(command: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"/{command} takes a number, not {text!r}") from None
