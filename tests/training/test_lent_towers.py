"""Towers that were trained lend their picture tower to the evaluators of any run."""

import numpy as np
import pytest
import toy

from vismem import config
from vismem.data import tokenizers
from vismem.errors import UserError
from vismem.evaluation import EVALUATORS
from vismem.evaluation.encoder import Encoder
from vismem.parallel.mesh import make_mesh
from vismem.training import run
from vismem.training.loop import train


class Lent:
    """An evaluator that is nothing but its encoder."""

    def __init__(self, *, data, mesh, critic, encoder: dict):
        self.encoder = Encoder(encoder, data.size, mesh, critic)


def settings():
    found = toy.get_config()
    found.steps, found.evaluators = 2, {}
    found.vision = {"name": "cnn", "widths": (4, 6)}
    found.text = {"name": "ngrams", "width": 4}
    return found


def test_features_are_embeddings_of_the_runs_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(EVALUATORS, "lent", f"{__name__}:Lent")
    contrastive = settings()
    contrastive.objective = {"name": "contrastive", "width": 4}
    train(config.run_config(contrastive), tmp_path / "towers")
    config.write(contrastive, tmp_path / "towers")

    def evaluators(**encoder):
        own = settings()
        own.evaluators = {"lent": {"name": "lent", "encoder": encoder}}
        own = config.run_config(own)
        tokenizer = tokenizers.load(tmp_path / "towers" / run.TOKENIZER)
        return run.make_evaluators(own, tokenizer, make_mesh(own.mesh), tmp_path / "own")

    _, lent = evaluators(name="towers", folder=str(tmp_path / "towers"))["lent"]
    assert lent.encoder.label == "towers"
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    wanted = run.critic(tmp_path / "towers").images(list(images))
    np.testing.assert_allclose(lent.encoder(images), wanted, atol=1e-6)
    with pytest.raises(UserError, match="not a run"):
        evaluators(name="towers", folder=str(tmp_path / "other"))
    with pytest.raises(UserError, match="missing a required argument: 'folder'"):
        evaluators(name="towers")
