"""A run's pretrained encoder, tuned or not, written as the files it came from."""

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


def export(run: Path, folder: Path, part: str = "text") -> None:
    """Writes config.json, model.safetensors and a text encoder's tokenizer, as transformers reads
    them too.

    The weights are the running average of the newest checkpoint, with adapters in their kernels.

    Args:
      run: the run's folder. folder: made if need be; must not hold a model.
      part: whose encoder, "text" or "vision".
    """
    config = configs.run_config(configs.read(run))
    if encoders.pretrained_folder(config, part) is None:
        raise UserError(
            f"{run}: {part}.name={getattr(config, part).get('name')!r} is not of Hugging Face's; "
            f"only an encoder that came from there, {part}.name='pretrained', goes back"
        )
    _, tokenizer, _, state = restore(config, run)
    place = f"{encoders.PLACES[part]}module/"
    params = {
        name.partition(place)[2]: values
        for name, values in names(state["ema"]).items()
        if place in name
    }
    described = json.loads((run / encoders.FILES[part]).read_text())
    pretrained.export(folder, described, unflatten_dict(params, sep="/"))
    if part == "text" and isinstance(tokenizer, tokenizers.PretrainedTokenizer):
        ours = shutil.ignore_patterns(tokenizers.FILE)
        shutil.copytree(run / TOKENIZER, folder, ignore=ours, dirs_exist_ok=True)
