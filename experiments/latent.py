"""Flow on the codes of pictures of 256 px: as many patches as the quickstart's at 32.

    vismem train experiments/autoencoder.py:256     # first: the grid, 16 x 16
    vismem train experiments/latent.py

What to expect is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config: quickstart.py:muon but for what is drawn on; there is no `argument`."""
    if argument:
        raise UserError(f"latent.py:{argument}: takes no argument")
    base = config.load(str(Path(__file__).with_name("quickstart.py:muon")))
    # So many pictures of 256 px are 5 GB; and of new captions some may be longer.
    del base.data.source.examples, base.data.cache, base.data.prefetch, base.data.pad_to
    base.data.size = 256
    base.painter.patch = 4
    base.painter.palette = 0  # codes have no colours to mix
    base.objective.autoencoder = "runs/autoencoder-256"
    return base
