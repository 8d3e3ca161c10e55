"""An index of a folder's pictures, to be searched by a text or by a picture.

In its folder lie `index.json`, which says of which pictures and by which towers it is, and shards
of embeddings with the pictures' names. A shard appears whole or not at all, so that an index that
was interrupted goes on where it stopped, and one that is complete takes in what is new.

A query is compared with every picture, in one product: with 100,000 embeddings of 256 numbers that
takes 17 ms of one core's time and 100 MB, with a million 185 ms and 1 GB. Beyond that an
approximate search, such as faiss has, would be needed.
"""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vismem.data.images import SUFFIXES, fit, read, read_file
from vismem.drawing import sheets
from vismem.errors import UserError
from vismem.evaluation.critic import Critic
from vismem.objectives.base import fingerprint
from vismem.parallel import locks

ABOUT, KEYS = "index.json", ("pictures", "run", "towers")
SHARD = 1024  # Pictures in each.
SIDE = 128  # Pixels of a picture on a sheet.
log = logging.getLogger(__name__)


class Index:
    """An index as it lies in its folder.

    Attributes:
      root: the pictures' folder. run: of the towers. towers: their fingerprint.
      pictures: names in `root` of the pictures that are still as they were.
      embeddings: theirs, float32 [N, E], of unit length.

    Args:
      mend: whether shards that are damaged are deleted, and what they held is missing; else they
        are an error.
    """

    def __init__(self, folder: str | Path, mend: bool = False):
        self.folder, file = Path(folder), Path(folder, ABOUT)
        if not file.is_file():
            raise UserError(f"{folder}: not an index (no {ABOUT} in it); `vismem index` makes one")
        try:
            about = json.loads(file.read_text())
            self.root, self.run, self.towers = (str(about[key]) for key in KEYS)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file}: damaged ({error}); delete {folder} and make it anew"
            ) from None
        latest = {}  # of a picture that has changed the later embedding counts
        self.shards = sorted(self.folder.glob("[0-9]*.safetensors"))
        for shard in [*self.shards]:
            try:
                with safe_open(shard, "numpy") as file:
                    pictures = json.loads(file.metadata()["pictures"])
                    rows = file.get_tensor("embeddings")
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                if not mend:
                    raise UserError(
                        f"{shard}: damaged ({error}); `vismem index` again makes it anew"
                    ) from None
                log.warning("%s: damaged (%s); what it held is indexed anew", shard, error)
                shard.unlink()
                self.shards.remove(shard)
                continue
            latest |= {name: (then, row) for (name, then), row in zip(pictures, rows)}
        there = {name: row for name, (now, row) in latest.items() if now == stamp(self.root, name)}
        self.pictures = sorted(there)
        self.embeddings = np.stack([there[n] for n in self.pictures]) if there else np.zeros((0, 1))

    def search(self, query: np.ndarray, count: int) -> list[tuple[str, float]]:
        """The `count` pictures nearest to an embedding [E], nearest first, with their cosines."""
        if count < 1:
            raise UserError(f"search: count={count}: must be at least 1")
        if not self.pictures:
            raise UserError(f"{self.folder}: holds no picture that is still in {self.root}")
        scores = self.embeddings @ query
        return [(self.pictures[i], float(scores[i])) for i in np.argsort(-scores)[:count]]

    def sheet(self, critic: Critic, query: str, count: int) -> Image.Image:
        """The pictures that fit best, with cosines and names under them.

        Args:
          critic: of the run that the index is by. query: a text, or a picture's file.
        """
        if fingerprint(critic.params) != self.towers:
            raise UserError(f"{self.folder}: {self.run} has trained on since; make another index")
        file = Path(query)
        if file.suffix.lower() in SUFFIXES or (file.suffix and os.path.isfile(file)):
            [embedding] = critic.images([read_file(file)])
        else:
            [embedding] = critic.texts([query])
        found = self.search(embedding, count)
        images = np.stack([fit(read(self.root, name), SIDE) for name, _ in found])
        return sheets.grid(images, [f"{cosine:.3f} {name}" for name, cosine in found], side=SIDE)


def build(folder: Path, critic: Critic, run: Path, out: Path) -> tuple[int, int]:
    """Makes an index, or adds to one what is new or has changed in the folder.

    Args:
      folder: of pictures, those in folders below included.
      run: that the critic is of.

    Returns:
      How many pictures were added, and how many cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    names = list(_pictures(folder))
    if not names:
        raise UserError(f"{folder}: holds no pictures ({', '.join(SUFFIXES)})")
    partial = out / f".{ABOUT}.partial"
    there = {file.name for file in out.iterdir()} if out.is_dir() else set()
    if ABOUT not in there and there - {partial.name, locks.FILE}:
        raise UserError(f"{out}: holds other things than an index; name another --out")
    root, towers = str(folder.resolve()), fingerprint(critic.params)
    try:
        with locks.held(out):
            if not (out / ABOUT).exists():
                about = dict(zip(KEYS, (root, str(run.resolve()), towers)))
                partial.write_text(json.dumps(about, indent=2) + "\n")
                _settle(partial, out / ABOUT)
            index = Index(out, mend=True)
            if index.towers != towers or index.root != root:
                raise UserError(
                    f"{out}: is an index of {index.root} by {index.run} as it was; "
                    "name another --out"
                )
            return _add(index, critic, names)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{out}: cannot be written ({error}); make room, or name another") from None


def _add(index: Index, critic: Critic, names: list[str]) -> tuple[int, int]:
    known = set(index.pictures)
    new = [name for name in names if name not in known]
    # Damaged shards may be missing from among the others.
    number = 1 + max((int(shard.stem) for shard in index.shards), default=-1)
    unread = 0
    for start in range(0, len(new), SHARD):
        images, listed = [], []
        for name in new[start : start + SHARD]:
            try:
                listed.append((name, stamp(index.root, name)))
                images.append(critic.fit(read(index.root, name)))
            except UserError as error:
                listed.pop()
                log.warning("%s", error)
        unread += len(new[start : start + SHARD]) - len(listed)
        if listed:
            partial = index.folder / ".shard.partial"
            metadata = {"pictures": json.dumps(listed)}
            save_file({"embeddings": critic.images(images)}, partial, metadata)
            _settle(partial, index.folder / f"{number:06}.safetensors")
            number += 1
    return len(new) - unread, unread


def _settle(partial: Path, file: Path) -> None:
    """Gives a file its name once it is on the disk, so that no loss of power leaves half of it."""
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(file)


def _pictures(root: Path) -> Iterator[str]:
    """Names of the pictures in a folder and below, in a fixed order."""
    for folder, below, files in os.walk(root):
        below.sort()
        for file in sorted(files):
            if file.lower().endswith(SUFFIXES):
                yield os.path.relpath(os.path.join(folder, file), root)


def stamp(root: str, name: str) -> list[int] | None:
    """Size and time of a file, by which a change is seen; None if it is gone."""
    try:
        found = os.stat(os.path.join(root, name))
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
