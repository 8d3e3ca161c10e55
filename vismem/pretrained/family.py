"""What a family file says: which module, and which tensor of the files fills which parameter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import numpy as np

Config = dict[str, Any]  # config.json, completed with transformers' defaults
Arrays = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Tensor:
    """Where one of our parameters lies in the files.

    Attributes:
      name: of the tensor.
      axes: our axis i is the tensor's axes[i]; None where they are laid out alike.
      part: (axis of the tensor, index, count): we hold that one of `count` equal parts; the tensor
        holds several of our parameters side by side.
      ones: leading axes of length 1 that the tensor has, ours lacks, and `axes` and `part` do not
        count.
    """

    name: str
    axes: tuple[int, ...] | None = None
    part: tuple[int, int, int] | None = None
    ones: int = 0

    def file_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the whole tensor in the file, from our parameter's."""
        found = list(shape)
        for ours, theirs in enumerate(self.axes or ()):
            found[theirs] = shape[ours]
        if self.part:
            axis, _, count = self.part
            found[axis] *= count
        return (1,) * self.ones + tuple(found)

    def ours(self, stored: np.ndarray) -> np.ndarray:
        """A view of the stored tensor that is laid out as our parameter."""
        view = stored.reshape(stored.shape[self.ones :])
        if self.part:
            axis, index, count = self.part
            view = np.split(view, count, axis)[index]
        return view if self.axes is None else view.transpose(self.axes)

    def write(self, values: np.ndarray) -> np.ndarray:
        """The tensor (or our part of it) from our parameter: the inverse of `ours`."""
        back = values if self.axes is None else values.transpose(np.argsort(self.axes))
        return np.asarray(back.reshape((1,) * self.ones + back.shape), order="C")


def linear(ours: str, theirs: str, use_bias: bool = True) -> dict[str, Tensor]:
    """A `Dense` from a torch Linear, whose weight is [out, in]."""
    tensors = {f"{ours}/kernel": Tensor(f"{theirs}.weight", (1, 0))}
    return tensors | ({f"{ours}/bias": Tensor(f"{theirs}.bias")} if use_bias else {})


def conv(ours: str, theirs: str, use_bias: bool = True) -> dict[str, Tensor]:
    """A convolution's kernel HWIO from a torch Conv2d, whose weight is OIHW."""
    tensors = {f"{ours}/kernel": Tensor(f"{theirs}.weight", (2, 3, 1, 0))}
    return tensors | ({f"{ours}/bias": Tensor(f"{theirs}.bias")} if use_bias else {})


def norm(ours: str, theirs: str, use_bias: bool = True) -> dict[str, Tensor]:
    """A `LayerNorm` (or, without a bias, an `RMSNorm`)."""
    tensors = {f"{ours}/scale": Tensor(f"{theirs}.weight")}
    return tensors | ({f"{ours}/bias": Tensor(f"{theirs}.bias")} if use_bias else {})


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one family are read, run and written.

    Attributes:
      architectures: names in config.json's "architectures" that are understood.
      module: config -> the flax module.
      tensors: config -> {parameter name, "block_0/norm/scale": where it lies}.
      example: config -> the arrays the module is called with, for the shapes of its parameters.
      run: (module, params, inputs, shapes) -> outputs, both under transformers' names; `shapes` are
        those of the outputs that are wanted, where the inputs do not settle them.
      canonical: any spelling of a tensor's name -> the one spelling `tensors` uses, without the
        prefix that a model with a head puts in front; both sides of a comparison pass through it.
      copies: regex of names that files may hold beside another of the same canonical name, whose
        values are the same.
      ignored: config -> regex, matched from the start, of canonical names that are of no use to
        the module: heads, buffers.
      settle: (config, canonical names in the files) -> config, for what only the files tell.
      masks: output -> the input that says which of its positions exist, for outputs of [B, L, ...].
    """

    architectures: tuple[str, ...]
    module: Callable[[Config], nn.Module]
    tensors: Callable[[Config], dict[str, Tensor]]
    example: Callable[[Config], tuple[Any, ...]]
    run: Callable[[nn.Module, Any, Arrays, Mapping[str, tuple[int, ...]]], dict[str, jax.Array]]
    canonical: Callable[[str], str] = str
    copies: str = r"(?!)"
    ignored: Callable[[Config], str] = lambda config: r"(?!)"
    settle: Callable[[Config, set[str]], Config] = lambda config, names: config
    masks: Mapping[str, str] = field(default_factory=dict)
