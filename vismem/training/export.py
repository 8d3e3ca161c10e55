"""A run's pretrained text encoder, tuned or not, written as the files it came from."""

import json
import shutil
from pathlib import Path

from flax.traverse_util import unflatten_dict

from vismem import config as configs
from vismem import pretrained
from vismem.data import tokenizers
from vismem.errors import UserError
from vismem.training import encoders
from vismem.training.names import names
from vismem.training.run import TOKENIZER, restore


def export(run: Path, folder: Path) -> None:
    """Writes config.json, model.safetensors and the tokenizer, as transformers reads them too.

    The weights are the running average of the newest checkpoint, with adapters in their kernels.

    Args:
      run: the run's folder. folder: made if need be; must not hold a model.
    """
    config = configs.run_config(configs.read(run))
    if encoders.pretrained_folder(config) is None:
        raise UserError(
            f"{run}: text.name={config.text['name']!r} is not of Hugging Face's; only an encoder "
            "that came from there, text.name='pretrained', goes back"
        )
    _, tokenizer, _, state = restore(config, run)
    place = f"{encoders.PLACE}module/"
    params = {
        name.partition(place)[2]: values
        for name, values in names(state["ema"]).items()
        if place in name
    }
    pretrained.export(
        folder, json.loads((run / encoders.FILE).read_text()), unflatten_dict(params, sep="/")
    )
    if isinstance(tokenizer, tokenizers.PretrainedTokenizer):
        ours = shutil.ignore_patterns(tokenizers.FILE)
        shutil.copytree(run / TOKENIZER, folder, ignore=ours, dirs_exist_ok=True)
