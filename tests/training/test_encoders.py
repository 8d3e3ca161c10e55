"""Runs whose encoders begin with what files hold, on toy objectives."""

import json
import shutil
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from flax.traverse_util import unflatten_dict

from vismem import cli, pretrained, registry
from vismem import config as configs
from vismem.data import tokenizers
from vismem.errors import UserError
from vismem.models import TEXT
from vismem.models.text.bert import Bert
from vismem.models.vision.pretrained import PretrainedVision
from vismem.objectives import OBJECTIVES
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.parallel.rules import replicated
from vismem.planning import plan
from vismem.pretrained import checkpoint
from vismem.pretrained import encoders as pretrained_encoders
from vismem.training import encoders, loop, run, text_cache
from vismem.training.loop import train
from vismem.training.names import names

ENCODER = "reader/text_encoder/"
KERNEL = ENCODER + "module/blocks/block_0/attention/query/kernel"
BERT = {
    **{"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 20},
    **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 16, "max_position_embeddings": 32, "hidden_act": "gelu"},
}
VIT = {
    **{"model_type": "vit", "architectures": ["ViTModel"], "image_size": 24, "patch_size": 4},
    **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 16, "hidden_act": "gelu"},
}


class Reader(nn.Module):
    """Tokens to a number, by a text encoder and one more layer."""

    text: dict
    vocab_size: int

    def setup(self):
        self.text_encoder = registry.build(TEXT, self.text, "text", vocab_size=self.vocab_size)
        self.head = nn.Dense(1)

    def __call__(self, tokens, features=None):
        read, mask = self.text_encoder(tokens) if features is None else (features, tokens > 0)
        return self.head((read * mask[..., None]).sum(1))[:, 0]


class Reading:
    """Squared error of the text's length as read by a Reader."""

    players = ("reader",)

    def __init__(self, *, text, vocab_size):
        self.reader = Reader(text, vocab_size)

    def init(self, key, batch):
        return {"reader": self.reader.init(key, batch["tokens"])["params"]}

    def apply(self, params, *args, method=None):
        return self.reader.apply({"params": params["reader"]}, *args, method=method)

    def loss(self, player, params, batch, key, train=True):
        read = self.apply(params, batch["tokens"], batch.get("text_features"))
        target = (batch["tokens"] > 0).sum(-1)
        return jnp.square(read - target).mean(), {}


class Looker(nn.Module):
    """Pictures to a number, by a pretrained encoder and one more layer."""

    vision: dict

    def setup(self):
        options = {key: x for key, x in self.vision.items() if key != "name"}
        self.vision_encoder = PretrainedVision(**options)
        self.head = nn.Dense(1)

    def __call__(self, image):
        return self.head(self.vision_encoder(image).pooled)[:, 0]


class Looking:
    """Squared error of the picture's brightness as seen by a Looker."""

    players = ("looker",)

    def __init__(self, *, vision):
        self.looker = Looker(vision)

    def init(self, key, batch):
        return {"looker": self.looker.init(key, batch["image"] / 127.5 - 1)["params"]}

    def loss(self, player, params, batch, key, train=True):
        image = batch["image"] / 127.5 - 1
        seen = self.looker.apply({"params": params["looker"]}, image)
        return jnp.square(seen - image.mean((1, 2, 3))).mean(), {}


OBJECTIVES["reading"] = "test_encoders:Reading"
OBJECTIVES["looking"] = "test_encoders:Looking"


def config(text, **settings):
    return configs.run_config(settings_of(text, **settings))


def settings_of(text, **settings):
    c = toy.get_config()
    c.steps = 3
    c.objective = {"name": "reading"}
    c.data.tokenizer = {"name": "words", "length": 8}
    c.text = text
    c.evaluators = {}
    with c.unlocked():
        for key, value in settings.items():
            c[key] = value
    return c


def restored(config, folder):
    return run.restore(config, folder)[-1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny BERT as Hugging Face writes it, and its parameters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "picture", *map(str, range(10))]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(str(folder))
    (folder / "config.json").write_text(json.dumps(BERT))
    config = checkpoint.read_config(folder) | {"add_pooling_layer": False}
    (folder / "config.json").unlink()
    module = checkpoint.family_of(config).module(config)
    assert isinstance(module, Bert)
    params = nn.unbox(module.init(jax.random.key(7), jnp.ones((1, 4), jnp.int32)))["params"]
    checkpoint.export(folder, config, params)
    return folder, names(params)


def test_a_pretrained_encoder_starts_a_run_and_is_not_needed_again(bert, tmp_path):
    source, params = bert
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    freeze = {"lr": 0.1, "freeze": (("text_encoder/", True),)}
    frozen = config({"name": "pretrained", "folder": str(folder)}, optimizer=freeze)
    train(frozen, tmp_path / "run")
    shutil.rmtree(folder)
    state = restored(frozen, tmp_path / "run")
    for kind in ("params", "ema"):
        for name, value in params.items():
            np.testing.assert_array_equal(names(state[kind])[f"{ENCODER}module/{name}"], value)
    tokenizer = tokenizers.load(tmp_path / "run" / run.TOKENIZER)
    assert tokenizer.encode("picture 7").tolist() == [2, 10, 0, 0, 0, 0, 0, 0]
    # It goes on without the folder too.
    longer = config({"name": "pretrained", "folder": str(folder)}, optimizer=freeze, steps=4)
    assert train(longer, tmp_path / "run")["steps"] == 4


def test_a_folder_that_was_bad_is_not_remembered(bert, tmp_path):
    """A run that was refused begins with what the mended folder holds, or not at all."""
    source, params = bert
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    right = (folder / "config.json").read_text()
    wrong = json.dumps(json.loads(right) | {"num_hidden_layers": 2})
    freeze = {"lr": 0.1, "freeze": (("text_encoder/", True),)}
    frozen = config({"name": "pretrained", "folder": str(folder)}, optimizer=freeze)
    (folder / "config.json").write_text(wrong)
    with pytest.raises(UserError, match=r"tensor 'encoder\.layer\.1.*' is missing"):
        train(frozen, tmp_path / "run")
    (folder / "config.json").write_text(right)
    train(frozen, tmp_path / "run")
    state = names(restored(frozen, tmp_path / "run")["params"])
    found = {name: x for name, x in state.items() if ENCODER in name}
    assert {name.removeprefix(ENCODER + "module/") for name in found} == params.keys()
    for name, value in params.items():
        np.testing.assert_array_equal(found[f"{ENCODER}module/{name}"], value)

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / encoders.FILES["text"]).write_text(
        json.dumps(
            json.loads((tmp_path / "run" / encoders.FILES["text"]).read_text())
            | {"num_hidden_layers": 2}
        )
    )
    with pytest.raises(UserError, match=r"holds no module/blocks/block_1/.* delete that folder"):
        train(frozen, tmp_path / "other")


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"num_attention_heads": 4}, r"has encoder\.heads=2, but had 4 when .* delete that folder"),
        ({"hidden_act": "relu"}, r"has encoder\.activation='gelu', but had 'relu'"),
    ],
)
def test_what_shapes_do_not_show_is_compared(wrong, line, bert, tmp_path):
    source, _ = bert
    described = pretrained_encoders.describe(str(source), "text") | wrong
    (tmp_path / encoders.FILES["text"]).write_text(json.dumps(described))
    with pytest.raises(UserError, match=line):
        train(config({"name": "pretrained", "folder": str(source)}), tmp_path)


@pytest.fixture
def vit(tmp_path):
    """A tiny ViT as Hugging Face writes it, for larger pictures, and its parameters."""
    folder = tmp_path / "vit"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(VIT))
    config = checkpoint.read_config(folder) | {"pooler": False}
    (folder / "config.json").unlink()
    module, _ = checkpoint.build(config)
    image = jnp.zeros((1, 24, 24, 3))
    params = nn.unbox(module.init(jax.random.key(7), image))["params"]
    checkpoint.export(folder, config, params)
    scaling = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 2]}
    (folder / "preprocessor_config.json").write_text(json.dumps(scaling))
    return folder, params


def test_a_pretrained_picture_encoder_starts_a_run_and_comes_back(vit, tmp_path, capsys):
    source, params = vit
    settings = settings_of(
        {},
        objective={"name": "looking"},
        vision={"name": "pretrained", "folder": str(source)},
        optimizer={"freeze": (("vision_encoder/", True),)},
    )
    looking, folder = configs.run_config(settings), tmp_path / "run"
    train(looking, folder)
    shutil.rmtree(source)
    state = restored(looking, folder)
    found = unflatten_dict(names(state["ema"]["looker"]["vision_encoder"]["module"]), sep="/")
    jax.tree.map(np.testing.assert_array_equal, found, params)
    resolved = encoders.resolve(looking, None, folder).vision
    assert (resolved["mean"], resolved["std"]) == ((0.1, 0.2, 0.3), (1, 1, 2))

    configs.write(settings, folder)
    assert cli.main(["export", str(folder), "--to", "hf", "--part", "vision", str(source)]) == 0
    loaded = checkpoint.load(source)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
    assert loaded.config["image_mean"] == [0.1, 0.2, 0.3]
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    expected = (pictures / 255 - [0.1, 0.2, 0.3]) / [1, 1, 2]
    processed = pretrained.processor(source)(list(pictures))
    np.testing.assert_allclose(processed, expected, atol=1e-5)
    assert cli.main(["export", str(folder), "--to", "hf", str(tmp_path / "other")]) == 2
    assert "text.name=None is not of Hugging Face's" in capsys.readouterr().err


def test_a_tuned_encoder_leaves_what_it_began_with(bert, tmp_path):
    source, params = bert
    adapters = {"kernels": "text_encoder/.*(query|value)/kernel", "rank": 2}
    optimizer = {"lr": 0.1, "freeze": (("text_encoder/", True),), "lora": adapters}
    tuned = config({"name": "pretrained", "folder": str(source)}, optimizer=optimizer)
    train(tuned, tmp_path)
    state = restored(tuned, tmp_path)
    kernel = params[KERNEL.removeprefix(ENCODER + "module/")]
    np.testing.assert_array_equal(names(state["params"])[KERNEL], kernel)
    assert np.abs(names(state["ema"])[KERNEL] - kernel).max() > 1e-4
    # The average is a checkpoint of the family again, its adapters in the kernels.
    written = unflatten_dict(names(state["ema"]["reader"]["text_encoder"]["module"]), sep="/")
    found = json.loads((tmp_path / "text_encoder.json").read_text())
    checkpoint.export(tmp_path / "out", found, jax.device_get(written))
    again = checkpoint.load(tmp_path / "out", architecture="BertModel")
    jax.tree.map(np.testing.assert_array_equal, again.params, written)


def test_word_vectors_start_a_run(tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("picture 1 2 3 4\n7 5 6 7 8\n")
    text = {"name": "vectors", "file": str(file), "width": 4}
    frozen = config(text, optimizer={"freeze": (("text_encoder/", True),)})
    train(frozen, tmp_path / "run")
    file.unlink()
    table = names(restored(frozen, tmp_path / "run")["ema"])[ENCODER + "embed/embedding"]
    words = tokenizers.load(tmp_path / "run" / run.TOKENIZER).words()
    np.testing.assert_array_equal(table[words["picture"]], [1, 2, 3, 4])
    np.testing.assert_array_equal(table[words["7"]], [5, 6, 7, 8])
    assert 0 < np.abs(table[words["8"]]).max() < 10


def test_word_vectors_start_both_players_of_a_gan(tmp_path):
    (tmp_path / "vectors.txt").write_text("picture 1 2 3 4\n")
    text = {"name": "vectors", "file": str(tmp_path / "vectors.txt"), "width": 4}
    tokenizer = SimpleNamespace(words=lambda: {"picture": 5})
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    table = jax.ShapeDtypeStruct((9, 4), jnp.float32, sharding=replicated(mesh))
    players = {
        player: {"text_encoder": {"embed": {"embedding": table}}}
        for player in ("critic", "generator")
    }
    layout = SimpleNamespace(shapes={"params": players})
    given = encoders.parameters(config(text), tokenizer, layout, mesh)
    assert given.keys() == names(players).keys()
    for values in given.values():
        np.testing.assert_array_equal(values[5], [1, 2, 3, 4])


def test_cached_text_is_the_same_training(bert, tmp_path, monkeypatch):
    source, _ = bert
    results, asked = [], []
    monkeypatch.setattr(loop, "train_flops", lambda *arguments: asked.append(arguments[-1]) or 1)
    for folder in ("", "cache", "cache"):
        cached = config(
            {"name": "pretrained", "folder": str(source)},
            optimizer={"lr": 0.1, "freeze": (("text_encoder/", True),)},
            data={**toy.get_config().data, "cache_text": folder and str(tmp_path / folder)},
        )
        train(cached, tmp_path / f"run-{len(results)}")
        assert plan.prepare(cached, jax.devices()[:1]).batch == asked[-1]
        results.append(jax.device_get(restored(cached, tmp_path / f"run-{len(results)}")["params"]))
        if folder:  # all texts are there now: computing one would be an error
            monkeypatch.setattr(text_cache.TextCache, "write", None)
    assert ["text_features" in batch for batch in asked] == [False, True, True]
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), results[0], other)


def test_features_come_back_from_the_disk(tmp_path):
    asked = []

    def encode(tokens):
        asked.append(len(tokens))
        return (jnp.asarray(tokens)[..., None] * jnp.arange(1.0, 4.0)).astype(jnp.bfloat16)

    def caches():
        return text_cache.TextCache(tmp_path, "one", encode)

    batch = {"tokens": np.array([[1, 2, 0], [3, 0, 0], [1, 2, 0], [0, 0, 0]], np.int32)}
    for cache in (caches(), caches()):
        asked.clear()
        found = cache(batch)["text_features"]
        np.testing.assert_array_equal(found, encode(batch["tokens"]))
    assert asked == [4]  # the comparison's own
    longer = {"tokens": np.array([[1, 2, 0, 0], [3, 4, 0, 0]], np.int32)}
    found = caches()(longer)["text_features"]
    np.testing.assert_array_equal(found, encode(longer["tokens"]))
    (tmp_path / "two.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match=r"data\.cache_text: .*two.sqlite cannot be used"):
        text_cache.TextCache(tmp_path, "two", encode)


def test_only_frozen_text_is_cached(tmp_path):
    text = {"name": "ngrams", "width": 4}
    learning = config(text, data={**toy.get_config().data, "cache_text": str(tmp_path / "cache")})
    with pytest.raises(UserError, match=r"data\.cache_text=.*the text encoder learns \(reader/"):
        train(learning, tmp_path / "run")


def test_mistakes_are_named(bert, tmp_path):
    with pytest.raises(UserError, match=r"text\.folder=None: must name"):
        train(config({"name": "pretrained"}), tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        train(config({"name": "pretrained", "folder": "/none"}), tmp_path)
    (tmp_path / "vectors.txt").write_text("other 1 2\n")
    text = {"name": "vectors", "file": str(tmp_path / "vectors.txt"), "width": 2}
    with pytest.raises(UserError, match="has none of the tokenizer's"):
        train(config(text), tmp_path / "vectors")
