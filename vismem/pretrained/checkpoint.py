"""Folders of config.json and safetensors: checked whole, then read one tensor at a time into its
shards.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vismem import registry
from vismem.errors import UserError
from vismem.parallel import rules
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.pretrained import FAMILIES
from vismem.pretrained.family import Config, Family, Tensor

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
DIFFUSERS = "diffusion_pytorch_model.safetensors"  # as diffusers calls its weights
FLOATS = {"F16": np.float16, "BF16": jnp.bfloat16, "F32": np.float32, "F64": np.float64}


class Pretrained(NamedTuple):
    """A model as a folder holds it.

    Attributes:
      module: flax module; `module.apply({"params": params}, ...)`.
      params: nested dict of arrays, sharded over the mesh.
      config: config.json, completed; `family_of(config)` is its family.
    """

    module: nn.Module
    params: dict[str, Any]
    config: Config


class Stored(NamedTuple):
    """A tensor in a file, as the file's header describes it; `offset` counts bytes."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int


def load(
    folder: str | Path,
    *,
    architecture: str | None = None,
    mesh: Mesh | None = None,
    dtype: Any = None,
) -> Pretrained:
    """Reads a model; its tensors are all checked before the first is read.

    Args:
      folder: with config.json and safetensors, or a name on the Hugging Face Hub.
      architecture: read it as this one of its family instead of the one in config.json, such as
        "T5EncoderModel" for the encoder of a whole T5.
      mesh: where the parameters are put; one device by default.
      dtype: of the parameters; float32 by default.

    Raises:
      UserError: a file or a tensor that is missing, damaged, superfluous or of a wrong shape.
    """
    config, module, boxed, sources = _checked(find(folder), architecture)
    shapes = flatten_dict(nn.unbox(boxed), sep="/")
    mesh = mesh or make_mesh(MeshConfig(), jax.devices()[:1])
    shardings = flatten_dict(rules.shardings(boxed, mesh), sep="/")
    flat = {}
    for name, (tensor, source) in sources.items():
        flat[name] = _place(tensor, source, shapes[name].shape, shardings[name], dtype)
    return Pretrained(module, unflatten_dict(flat, sep="/"), config)


def describe(folder: str | Path, architecture: str | None = None) -> Config:
    """The config that `load` gives, without reading any weights; arguments and errors as there."""
    return _checked(find(folder), architecture)[0]


def build(config: Config, folder: Path | str = "") -> tuple[nn.Module, Any]:
    """The module of a config, and its parameters' shapes with their logical axes (boxed).

    Args:
      folder: where the config is from, for error lines.
    """
    family = family_of(config, folder)
    try:
        module = family.module(config)
        shapes = jax.eval_shape(module.init, jax.random.key(0), *family.example(config))
    except (UserError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{Path(folder, CONFIG)}: describes no model that can be ({reason})"
        ) from error
    return module, shapes["params"]


def _checked(
    folder: Path, architecture: str | None
) -> tuple[Config, nn.Module, Any, dict[str, tuple[Tensor, Stored]]]:
    """Config, module, its parameters' shapes (boxed), and where each lies in the files, once
    all tensors are as expected.
    """
    config = read_config(folder, architecture)
    family = family_of(config, folder)
    stored = _by_canonical_name(family, _stored(folder))
    config = family.settle(config, set(stored))
    module, boxed = build(config, folder)
    shapes = flatten_dict(nn.unbox(boxed), sep="/")
    return config, module, boxed, _matched(family, config, shapes, stored, folder)


def _by_canonical_name(family: Family, tensors: Iterable[Stored]) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for tensor in tensors:
        twin = found.setdefault(family.canonical(tensor.name), tensor)
        if twin is not tensor and not (
            re.fullmatch(family.copies, tensor.name) and twin.shape == tensor.shape
        ):
            raise UserError(
                f"{tensor.file}: tensor {tensor.name!r} {list(tensor.shape)} is another "
                f"{twin.name!r} {list(twin.shape)}; expected one of them"
            )
    return found


def find(folder: str | Path, tokenizer: bool = False) -> Path:
    """The local folder of a path or of a Hub name: the Hub's cache if it has all of the model, then
    its download.

    Args:
      tokenizer: whether a cache without any of a tokenizer's files lacks something.

    Raises:
      UserError: there is no such folder, and the Hub cannot be asked or has none.
    """
    if Path(folder).is_dir():
        return Path(folder)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(folder)):
        raise UserError(f"{folder}: no such folder")
    from huggingface_hub import HfApi, snapshot_download

    kinds = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        try:
            found = Path(snapshot_download(folder, allow_patterns=kinds, local_files_only=True))
        except FileNotFoundError:  # not in the cache
            found = None
        # Others may have asked for its tokenizer alone, or for all but that.
        if found is None or not _is_whole(found) or (tokenizer and not _has_tokenizer(found)):
            HfApi().model_info(str(folder), timeout=5)  # the download itself would wait forever
            found = Path(snapshot_download(folder, allow_patterns=kinds))
    except Exception as error:  # the client raises its own, its HTTP library's and the system's
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{folder}: no such folder, and not to be had from the Hugging Face Hub ({reason})"
        ) from error
    return found


def _is_whole(folder: Path) -> bool:
    """Whether a folder has its config and all files of weights, whatever is in them."""
    try:
        index = json.loads((folder / INDEX).read_text())
        files = {CONFIG, *index["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (folder / CONFIG).exists() and _single(folder) is not None
    return all((folder / str(file)).exists() for file in files)


def _has_tokenizer(folder: Path) -> bool:
    """Whether a folder has any file of a tokenizer, new or of the older kinds."""
    return any(any(folder.glob(kind)) for kind in ("*tokenizer*", "*vocab*", "*.model"))


def read_config(folder: Path, architecture: str | None = None) -> Config:
    """config.json with the defaults that transformers has for what it leaves out."""
    from transformers import CONFIG_MAPPING

    path = folder / CONFIG
    try:
        config = json.loads(path.read_text())
        key = "_class_name" if "_class_name" in config else "model_type"  # diffusers', or not
        kind, named = config.get(key), config.get("architectures")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; a model's folder holds it beside its weights") from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as a JSON object ({error})") from None
    if not isinstance(kind, str) or kind not in FAMILIES:
        hint = registry.nearest(str(kind), FAMILIES)
        raise UserError(f"{path}: {key} {kind!r} is not one that is read here; {hint}")
    if not isinstance(named, list | None):
        raise UserError(f"{path}: architectures {named!r}: expected a list of one name")
    if key == "_class_name":
        config |= {"model_type": kind, "architectures": [kind]}
    if kind in CONFIG_MAPPING:  # some, such as VGG, are torchvision's
        try:
            config = json.loads(CONFIG_MAPPING[kind](**config).to_json_string(use_diff=False))
        except Exception as error:  # its validation raises several kinds
            raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    if architecture:
        config["architectures"] = [architecture]
    return config


def family_of(config: Config, folder: Path | str = "config") -> Family:
    """The family that reads what `config` describes."""
    family = registry.resolve(FAMILIES, config.get("model_type"), f"{folder}: model_type")
    named = config.get("architectures") or [None]
    if named[0] not in family.architectures:
        hint = registry.nearest(str(named[0]), family.architectures)
        raise UserError(f"{folder}: architecture {named[0]!r} is not one that is read here; {hint}")
    return family


def _stored(folder: Path) -> Iterator[Stored]:
    """All tensors of a folder, from the headers of its files."""
    index = folder / INDEX
    if single := _single(folder):
        yield from _header(single)
    elif index.exists():
        try:
            files = json.loads(index.read_text())["weight_map"]
            names = sorted(set(files.values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{index}: cannot be read; expected a weight_map of files") from None
        found = {}
        for name in names:
            if Path(str(name)).name != name:
                raise UserError(f"{index}: names {name!r}; expected files in the same folder")
            found |= {t.name: t for t in _header(folder / name)}
        for tensor, name in files.items():
            if tensor not in found or found[tensor].file.name != name:
                raise UserError(f"{folder / name}: tensor {tensor!r} is missing; {INDEX} names it")
        yield from found.values()
    else:
        pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt*")])
        if pickles:
            raise UserError(
                f"{pickles[0]}: is a pickle, which can run code and is not read; save the "
                f"model as {WEIGHTS} (save_pretrained of transformers does)"
            )
        raise UserError(
            f"{folder}: holds no weights; expected {WEIGHTS}, {INDEX} or {DIFFUSERS} (a pickle, "
            "pytorch_model.bin, is neither read nor downloaded: it can run code)"
        )


def _single(folder: Path) -> Path | None:
    """The one file with all weights, where there is one."""
    return next((p for p in (folder / WEIGHTS, folder / DIFFUSERS) if p.exists()), None)


def _header(path: Path) -> Iterator[Stored]:
    try:
        with safe_open(path, "numpy"):  # which checks the header, and the file's size against it
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {INDEX} names it") from None
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: damaged or cut short ({error}); expected safetensors; copy or download it "
            "again"
        ) from None
    header.pop("__metadata__", None)
    for name, tensor in header.items():
        offset = 8 + length + tensor["data_offsets"][0]
        yield Stored(path, name, tuple(tensor["shape"]), tensor["dtype"], offset)


def _matched(
    family: Family,
    config: Config,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    stored: Mapping[str, Stored],
    folder: Path,
) -> dict[str, tuple[Tensor, Stored]]:
    """Parameter name -> how it is read and from where, once all tensors are as expected."""
    tensors = family.tensors(config)
    if set(tensors) != set(shapes):
        raise ValueError(f"the family's table and module differ in {set(tensors) ^ set(shapes)}")
    where = _single(folder) or folder / INDEX
    matched = {}
    for name, tensor in tensors.items():
        expected = tensor.file_shape(shapes[name].shape)
        source = stored.get(family.canonical(tensor.name))
        if source is None:
            raise UserError(
                f"{where}: tensor {tensor.name!r} is missing; {CONFIG} asks for it with shape "
                f"{list(expected)}"
            )
        # A linear layer may be stored as a 1x1 convolution.
        if source.shape not in (expected, (*expected, 1, 1)) or source.dtype not in FLOATS:
            raise UserError(
                f"{source.file}: tensor {source.name!r} is {source.dtype} {list(source.shape)}; "
                f"{CONFIG} asks for floats of shape {list(expected)}"
            )
        matched[name] = tensor, source
    used = {family.canonical(t.name) for t in tensors.values()}
    ignored = family.ignored(config)
    for name in sorted(set(stored) - used):
        if not re.match(ignored, name):
            source = stored[name]
            raise UserError(
                f"{source.file}: tensor {source.name!r} {list(source.shape)} has no place in "
                f"{config['architectures'][0]}; expected none that {CONFIG} does not ask for"
            )
    return matched


def _place(
    tensor: Tensor, source: Stored, shape: tuple[int, ...], sharding: Any, dtype: Any
) -> jax.Array:
    """One parameter, each of its shards read for itself.

    Whatever the largest tensor, the host holds it at most once beside its shards: as the pages of a
    memory map, until a shard is copied from them.
    """

    def shard(index: tuple[slice, ...]) -> np.ndarray:
        expected = tensor.file_shape(shape)
        stored = np.memmap(source.file, FLOATS[source.dtype], "r", source.offset, expected)
        return _aligned_copy(tensor.ours(stored)[index], dtype or np.float32)

    array = jax.make_array_from_callback(shape, sharding, shard)
    return jax.block_until_ready(array)  # or copies to devices add up


def _aligned_copy(values: np.ndarray, dtype: Any) -> np.ndarray:
    """A copy in C order, aligned so that jax on a CPU takes it over instead of copying it again."""
    dtype = np.dtype(dtype)
    room = np.empty(values.size * dtype.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + values.size * dtype.itemsize].view(dtype).reshape(values.shape)
    copy[...] = values
    return copy


def export(folder: str | Path, config: Config, params: Mapping[str, Any]) -> None:
    """Writes a model as `load` and transformers read it: config.json and model.safetensors.

    Args:
      folder: made if need be; must not hold a model.
      config: as `load` gives it.
      params: nested dict of arrays that this host can read.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists() or (folder / WEIGHTS).exists():
        raise UserError(f"{folder}: holds a model already; name another folder")
    flat = flatten_dict(params, sep="/")
    parts: dict[str, dict[int, np.ndarray]] = {}
    axes = {}
    for name, tensor in family_of(config, folder).tensors(config).items():
        axis, index, _ = tensor.part or (0, 0, 1)
        axes[tensor.name] = tensor.ones + axis
        parts.setdefault(tensor.name, {})[index] = tensor.write(np.asarray(flat[name]))
    tensors = {
        name: np.concatenate([piece for _, piece in sorted(pieces.items())], axes[name])
        if len(pieces) > 1
        else pieces[0]
        for name, pieces in parts.items()
    }
    # transformers reads all weights in the dtype that the config names: it must hold the widest.
    widest = max((values.dtype for values in tensors.values()), key=lambda dtype: dtype.itemsize)
    config = config | {"dtype": str(widest)}
    partial = folder / f"{WEIGHTS}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.rename(folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be written ({error})") from None
