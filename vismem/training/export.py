"""A run's pretrained encoder or T5, tuned or not, written as the files it came from."""

import json
import shutil
from pathlib import Path
from typing import Any

from flax.traverse_util import unflatten_dict

from vismem import config as configs
from vismem import pretrained
from vismem.config import RunConfig
from vismem.data import tokenizers
from vismem.errors import UserError
from vismem.objectives.generative import PLAYER
from vismem.pretrained.encoders import SCALING
from vismem.pretrained.family import Config
from vismem.pretrained.vit import square
from vismem.training import encoders
from vismem.training.names import names
from vismem.training.run import TOKENIZER, restore


def export(run: Path, folder: Path, part: str = "text") -> None:
    """Writes config.json, model.safetensors and a text encoder's tokenizer, or a picture encoder's
    preprocessing, as transformers reads them too.

    The weights are the running average of the newest checkpoint, with adapters in their kernels.

    Args:
      run: the run's folder. folder: made if need be; must not hold a model.
      part: whose encoder, "text" or "vision"; a text's may be a whole T5.
    """
    config = configs.run_config(configs.read(run))
    if part == "text" and encoders.t5_folder(config):
        place, file = encoders.T5_PLACE, encoders.T5
    elif encoders.pretrained_folder(config, part):
        place, file = f"{encoders.PLACES[part]}module/", encoders.FILES[part]
    else:
        raise UserError(
            f"{run}: {part}.name={getattr(config, part).get('name')!r} is not of Hugging Face's; "
            f"only what came from there, by {part}.name='pretrained' or as a t5's text.folder, "
            "goes back"
        )
    _, tokenizer, _, state = restore(config, run)
    found = {name: x for name, x in names(state["ema"]).items() if place in name}
    # A gan's critic reads with a text encoder of its own.
    found = {name: x for name, x in found.items() if name.startswith(f"{PLAYER}/")} or found
    params = {name.partition(place)[2]: x for name, x in found.items()}
    described = json.loads((run / file).read_text())
    pretrained.export(folder, described, unflatten_dict(params, sep="/"))
    if part == "vision":
        scaling = json.dumps(preprocessing(described, config), indent=2)
        (folder / SCALING).write_text(scaling + "\n")
    if part == "text" and isinstance(tokenizer, tokenizers.PretrainedTokenizer):
        ours = shutil.ignore_patterns(tokenizers.FILE)
        shutil.copytree(run / TOKENIZER, folder, ignore=ours, dirs_exist_ok=True)


def preprocessing(described: Config, config: RunConfig) -> dict[str, Any]:
    """A preprocessor_config.json for a run's picture encoder: pictures as large as the encoder's
    config has them or, where it has no size, as the run's encoder saw them; scaled as there."""
    tower = described.get("vision_config", described)
    own = square(tower, "image_size") if tower.get("image_size") else None
    size = own or config.vision.get("size") or config.data.size
    return {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": size, "width": size},
        "resample": 3 if config.vision.get("resize") == "cubic" else 2,
        "rescale_factor": 1 / 255,
        "image_mean": described["image_mean"],
        "image_std": described["image_std"],
    }
