"""Folders of weights: streaming into shards, writing back, and what a bad folder gets."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import EIGHT
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from vismem import pretrained
from vismem.errors import UserError
from vismem.pretrained import checkpoint

CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": 24,
    "n_embd": 8,
    "n_head": 2,
    "n_layer": 1,
    "n_positions": 8,
}


def shapes(width=8, words=24, layers=1):
    found = {"transformer.wte.weight": (words, width), "transformer.wpe.weight": (8, width)}
    for i in range(layers):
        for name, shape in {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, 4 * width),
            "mlp.c_proj": (4 * width, width),
        }.items():
            found[f"transformer.h.{i}.{name}.weight"] = shape
            found[f"transformer.h.{i}.{name}.bias"] = shape[1:]
    norms = ["ln_f"] + [f"h.{i}.ln_{n}" for i in range(layers) for n in (1, 2)]
    return found | {f"transformer.{n}.{p}": (width,) for n in norms for p in ("weight", "bias")}


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes().items()}


def write(folder, tensors, config=CONFIG):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def flat(params):
    return flatten_dict(jax.device_get(params), sep="/")


def assert_equal(params, others):
    ours, theirs = flat(params), flat(others)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def test_export_writes_what_was_read(tmp_path, tensors):
    tensors["lm_head.weight"] = np.ones((24, 8), np.float32)
    _, params, config = pretrained.load(write(tmp_path / "a", tensors))
    pretrained.export(tmp_path / "b", config, params)
    written = load_file(tmp_path / "b" / "model.safetensors")
    assert written.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(written[name], values)
    _, again, config_again = pretrained.load(tmp_path / "b")
    assert_equal(again, params)
    assert config_again == config | {"dtype": "float32"}
    with pytest.raises(UserError, match="holds a model already"):
        pretrained.export(tmp_path / "b", config, params)


def test_several_files_are_as_one(tmp_path, tensors):
    _, params, _ = pretrained.load(write(tmp_path / "a", tensors))
    names = sorted(tensors)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    index = folder / "model.safetensors.index.json"
    weight_map = {name: file for file, held in parts.items() for name in held}
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_equal(pretrained.load(folder).params, params)

    (folder / "two.safetensors").rename(folder / "three.safetensors")
    with pytest.raises(UserError, match=r"two\.safetensors: missing; .*index\.json names it"):
        pretrained.load(folder)
    index.write_text(json.dumps({"weight_map": weight_map | {names[0]: "../one.safetensors"}}))
    with pytest.raises(UserError, match="expected files in the same folder"):
        pretrained.load(folder)


def test_names_of_other_saves(tmp_path, tensors):
    """Without the prefix of headed models; with buffers of older versions; a head not asked for."""
    _, params, _ = pretrained.load(write(tmp_path / "a", tensors))
    bare = {name.removeprefix("transformer."): values for name, values in tensors.items()}
    bare["h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float32)
    assert_equal(pretrained.load(write(tmp_path / "b", bare)).params, params)
    headed = write(tmp_path / "c", tensors | {"lm_head.weight": np.ones((24, 8), np.float32)})
    module, base, _ = pretrained.load(headed, architecture="GPT2Model")
    assert_equal(base, params)
    assert module.tied


def test_dtype(tmp_path, tensors):
    half = {name: values.astype(jnp.bfloat16) for name, values in tensors.items()}
    folder = write(tmp_path / "a", half)
    _, params, config = pretrained.load(folder, dtype=jnp.bfloat16)
    pretrained.export(tmp_path / "b", config, params)
    assert json.loads((tmp_path / "b" / "config.json").read_text())["dtype"] == "bfloat16"
    _, single, _ = pretrained.load(tmp_path / "b")
    assert {values.dtype.name for values in flat(single).values()} == {"float32"}
    assert_equal(single, jax.tree.map(lambda x: x.astype(jnp.float32), params))


def test_a_config_names_the_widest_dtype(tmp_path, tensors):
    _, params, config = pretrained.load(write(tmp_path / "a", tensors))
    params["words"]["embedding"] = params["words"]["embedding"].astype(jnp.bfloat16)
    pretrained.export(tmp_path / "b", config, params)
    stored = load_file(tmp_path / "b" / "model.safetensors")
    assert {values.dtype.name for values in stored.values()} == {"bfloat16", "float32"}
    assert json.loads((tmp_path / "b" / "config.json").read_text())["dtype"] == "float32"


def test_a_name_on_the_hub_is_looked_for_in_the_cache(tmp_path, tensors, monkeypatch):
    from huggingface_hub import constants

    cached = tmp_path / "models--some--model"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123")
    write(cached / "snapshots" / "0123", tensors)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pretrained.load("some/model").config["n_embd"] == 8
    with pytest.raises(UserError, match="other/model: no such folder, and not to be had"):
        pretrained.load("other/model")


def test_a_cache_with_part_of_a_model_is_completed(tmp_path, tensors, monkeypatch):
    folder, whole = tmp_path / "cached", write(tmp_path / "whole", tensors)
    folder.mkdir()
    asked = []

    def download(name, *, allow_patterns, local_files_only=False):
        asked.append(local_files_only)
        if not local_files_only:
            for file in whole.iterdir():
                shutil.copy(file, folder)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *args, timeout: None)
    index = json.dumps({"weight_map": {"a": "one.safetensors"}})
    for held in ({}, {"config.json": "{}"}, {"config.json": "{}", f"{WEIGHTS}.index.json": index}):
        for file in folder.iterdir():
            file.unlink()
        for file, text in held.items():
            (folder / file).write_text(text)
        asked.clear()
        assert pretrained.load("some/model").config["n_embd"] == 8
        assert asked == [True, False]
        (folder / f"{WEIGHTS}.index.json").unlink(missing_ok=True)
        pretrained.load("some/model")
        assert asked == [True, False, True]


def test_a_cache_without_a_tokenizer_is_completed_where_one_is_wanted(
    tmp_path, tensors, monkeypatch
):
    folder, asked = write(tmp_path / "cached", tensors), []

    def download(name, *, allow_patterns, local_files_only=False):
        asked.append(local_files_only)
        if not local_files_only:
            (folder / "tokenizer.json").write_text("{}")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *args, timeout: None)
    for tokenizer, expected in ((False, [True]), (True, [True, False]), (True, [True])):
        asked.clear()
        assert checkpoint.find("some/model", tokenizer) == folder
        assert asked == expected


def test_a_repository_of_pickles_is_told_from_an_empty_one(tmp_path, tensors, monkeypatch):
    """Pickles are not downloaded, and so are not there to be refused."""
    folder = write(tmp_path / "cached", tensors)
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **kinds: str(folder))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *args, timeout: None)
    with pytest.raises(UserError, match=r"holds no weights; expected model\.safetensors.*a pickle"):
        pretrained.load("some/model")


WEIGHTS = "model.safetensors"
WTE = "transformer.wte.weight"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({WTE: None}, rf"model\.safetensors: tensor '{WTE}' is missing.*\[24, 8\]"),
        ({"odd": np.ones(3)}, r"model\.safetensors: tensor 'odd' \[3\] has no place in GPT2LMHead"),
        (
            {WTE: np.ones((25, 8), np.float32)},
            rf"model\.safetensors: tensor '{WTE}' is F32 \[25, 8\].*shape \[24, 8\]",
        ),
        ({WTE: np.ones((24, 8), np.int32)}, rf"tensor '{WTE}' is I32 .* floats"),
        ({"wte.weight": np.ones((24, 8), np.float32)}, r"is another .*\[24, 8\]; expected one"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, tensors, change, line):
    tensors = {k: v for k, v in (tensors | change).items() if v is not None}
    with pytest.raises(UserError, match=line):
        pretrained.load(write(tmp_path / "a", tensors))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model_type": "gpt3"}, "config.json: model_type 'gpt3' .* did you mean 'gpt2'"),
        ({"architectures": ["GPT2LMHedModel"]}, "did you mean 'GPT2LMHeadModel'"),
        ({"architectures": None}, "architecture None is not one"),
        (
            {"architectures": "GPT2Model"},
            r"config\.json: architectures 'GPT2Model': expected a list",
        ),
        ({"model_type": ["gpt2"]}, r"config\.json: model_type \['gpt2'\] is not one"),
        ({"n_head": 3}, "config.json: .*heads=3: does not divide the width 8"),
        ({"n_embd": "wide"}, "config.json: .*n_embd"),
        ({"activation_function": "gelo"}, "config.json: .*'gelo'.* did you mean 'gelu'"),
    ],
)
def test_configs_that_do_not_fit(tmp_path, tensors, change, line):
    with pytest.raises(UserError, match=line):
        pretrained.load(write(tmp_path / "a", tensors, CONFIG | change))


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def scramble(path):
    path.write_bytes(path.read_bytes()[:8] + b"{{{{" + path.read_bytes()[12:])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, scramble, empty])
def test_damaged_files(tmp_path, tensors, damage):
    folder = write(tmp_path / "a", tensors)
    damage(folder / "model.safetensors")
    with pytest.raises(
        UserError, match=r"model\.safetensors: damaged or cut short.*again"
    ) as error:
        pretrained.load(folder)
    assert "\n" not in str(error.value)


def test_pickles_are_not_opened(tmp_path, tensors):
    folder = write(tmp_path / "a", tensors)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no weights; expected model\.safetensors"):
        pretrained.load(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(tensors))
    with pytest.raises(UserError, match=r"pytorch_model\.bin: is a pickle.*save_pretrained"):
        pretrained.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: missing"):
        pretrained.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: cannot be read as a JSON object"):
        pretrained.load(folder)


# Run in a process of its own, since jax counts its devices once.
SHARDED = """
import sys
import jax, numpy as np
from flax.traverse_util import flatten_dict
from vismem import pretrained
from vismem.parallel.mesh import MeshConfig, make_mesh

mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
parted = pretrained.load(sys.argv[1], mesh=mesh).params
whole = pretrained.load(sys.argv[1]).params
whole = flatten_dict(whole, sep="/")
for name, values in flatten_dict(parted, sep="/").items():
    np.testing.assert_array_equal(values, whole[name], err_msg=name)
query = parted["blocks"]["block_0"]["attention"]["query"]["kernel"]
assert {s.data.shape for s in query.addressable_shards} == {(2, 4)}, query.sharding
"""


def test_each_device_gets_its_shard(tmp_path, tensors):
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, write(tmp_path / "a", tensors)],
        env=os.environ | EIGHT | path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# 40 MB words, 4 blocks of 12 MB: what is read on the way must not add up. Printed: the peak of
# resident memory while loading, above what it was before.
STREAMED = """
import sys, threading, time
from vismem import pretrained

def resident():
    return 1024 * int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])

pretrained.load(sys.argv[1])  # imports and compiles
before, peak, done = resident(), 0, False

def watch():
    global peak
    while not done:
        peak = max(peak, resident())
        time.sleep(0.0005)

thread = threading.Thread(target=watch)
thread.start()
params = pretrained.load(sys.argv[2]).params
done = True
thread.join()
print(peak - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_host_memory_while_loading(tmp_path, tensors):
    sizes = shapes(width=1024, words=10_000, layers=4)
    large = {name: np.ones(shape, np.float32) for name, shape in sizes.items()}
    config = CONFIG | {"n_embd": 1024, "vocab_size": 10_000, "n_layer": 4}
    folders = write(tmp_path / "small", tensors), write(tmp_path / "large", large, config)
    done = subprocess.run(
        [sys.executable, "-c", STREAMED, *folders],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    largest = max(values.nbytes for values in large.values())
    assert int(done.stdout) <= 1.2 * largest + sum(values.nbytes for values in large.values())
