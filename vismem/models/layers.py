"""The layers every model here is made of. Parameters carry logical axis names; see
parallel/rules.py.

Shapes: B batch, L tokens (N of queries, M of keys), D width, H heads. Parameters are float32;
products run in `dtype`; norms and softmax run in float32 and return to `dtype`.
"""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.parallel import rules

Array = jax.Array
Initializer = Callable[..., Array]
KERNEL = nn.initializers.xavier_uniform()
# Of positions against what patches say (STEM): a patch must know where it is before it looks about.
# With both near one, patches decide on their own and a thing comes out as scattered pieces (the
# trial is in experiments/RESULTS.md).
POSITION_SCALE = 2.0
STEM = nn.initializers.variance_scaling(0.09, "fan_in", "normal")

MIXED = "BF16_BF16_F32"
STACKED = "blocks"


def check_sizes(module: nn.Module, part: str, *fields: str) -> None:
    """Sizes of a module below 1, alone or in tuples, are the user's mistake.

    Args:
      part: of the config that describes the module, such as "text".
    """
    for field in fields:
        value = getattr(module, field)
        if min(jax.tree.leaves(value), default=1) < 1:
            raise UserError(f"{part}.{field}={value}: must be at least 1")


class Dense(nn.Module):
    """x [..., in] -> x @ kernel + bias [..., features].

    Not `nn.Dense`: the logical axes of the kernel are an argument, so that no layer needs a
    wrapper; and the product is of matrices, for the sake of its gradient: over several axes at once
    XLA:CPU sums a kernel's gradient after a transposing copy (a step of 147 ms took 104 without
    it; experiments/RESULTS.md, "The step").
    """

    features: int
    axes: tuple[str | None, str | None] = ("embed", "mlp")
    use_bias: bool = True
    kernel_init: Initializer = KERNEL
    bias_init: Initializer = nn.initializers.zeros
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel_init = nn.with_logical_partitioning(self.kernel_init, self.axes)
        kernel = self.param("kernel", kernel_init, (x.shape[-1], self.features))
        y = product(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            bias_init = nn.with_logical_partitioning(self.bias_init, self.axes[1:])
            y = add_bias(y, self.param("bias", bias_init, (self.features,)).astype(self.dtype))
        return rules.constrain(y, self.axes[1])


def product(x: Array, kernel: Array) -> Array:
    """x [..., in] @ kernel [in, out].

    In jax's precision "BF16_BF16_F32", operands rounded to bfloat16 and sums in float32, what XLA
    does of itself on TPUs and GPUs has to be spelled out on a CPU, where it multiplies in float32
    all the same. One that would be no faster for it is left to do so.
    """
    asked = jax.config.jax_default_matmul_precision == MIXED
    spell_out = rules.platform() == "cpu" and cpu_multiplies_bfloat16()
    if asked and spell_out and x.dtype == jnp.float32:
        return _rounded_product(x, kernel)
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[1])


@jax.custom_vjp
def add_bias(x: Array, bias: Array) -> Array:
    """x [..., F] + bias [F]."""
    return x + bias


def _add_bias_backward(_: None, gradient: Array) -> tuple[Array, Array]:
    rows = gradient.reshape(-1, gradient.shape[-1])
    if rules.platform() != "cpu":
        return gradient, rows.sum(0)
    # XLA:CPU sums many rows in windows, which takes it several times as long as a product.
    ones = jnp.ones(len(rows), rows.dtype)
    total = jnp.dot(ones, rows, precision="highest", preferred_element_type=jnp.float32)
    return gradient, total.astype(rows.dtype)


add_bias.defvjp(lambda x, bias: (x + bias, None), _add_bias_backward)


def multiplies_bfloat16() -> bool:
    """Whether the machine multiplies in bfloat16 faster than in float32: accelerators do, and CPUs
    that have instructions for it."""
    return rules.platform() != "cpu" or cpu_multiplies_bfloat16()


@functools.cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16, as far as Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)


@jax.custom_vjp
def _rounded_product(x: Array, kernel: Array) -> Array:
    return rounded_dot(x, kernel, (-1,), (0,))


def _backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    # Over all axes of x but its last at once, not of matrices over their first: XLA:CPU multiplies
    # the one in bfloat16, after a transposing copy, and the other in float32.
    x, kernel = kept
    others = tuple(range(x.ndim - 1))
    return rounded_dot(gradient, kernel, (-1,), (1,)), rounded_dot(x, gradient, others, others)


_rounded_product.defvjp(lambda x, kernel: (_rounded_product(x, kernel), (x, kernel)), _backward)


def rounded_dot(a: Array, b: Array, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> Array:
    """Arrays a and b, rounded to bfloat16, multiplied over some axes of each; sums in float32."""
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    return jnp.tensordot(a, b, (over_a, over_b), preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def normalize(x: Array, epsilon: float = 1e-6) -> Array:
    """Zero mean and unit variance over the last axis, in float32; the result in x's dtype."""
    return _normalize(x, epsilon)[0]


def _normalize(x: Array, epsilon: float) -> tuple[Array, tuple[Array, Array]]:
    y = x.astype(jnp.float32)
    y = y - y.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + epsilon)
    y = (y * scale).astype(x.dtype)
    return y, (y, scale)


def _normalize_backward(epsilon: float, kept: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    """The gradient less its mean and its share along the result: of what is kept, in two sums,
    where the derivative of each operation above by itself takes three and more memory."""
    y, scale = kept[0].astype(jnp.float32), kept[1]
    g = gradient.astype(jnp.float32)
    g = scale * (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True))
    return (g.astype(gradient.dtype),)


normalize.defvjp(_normalize, _normalize_backward)


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis with scale and bias (Ba et al. 2016)."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width = x.shape[-1]
        ones = nn.with_logical_partitioning(nn.initializers.ones, ("norm",))
        zeros = nn.with_logical_partitioning(nn.initializers.zeros, ("norm",))
        scale = self.param("scale", ones, (width,)).astype(x.dtype)
        bias = self.param("bias", zeros, (width,)).astype(x.dtype)
        return normalize(x, self.epsilon) * scale + bias


class Embed(nn.Module):
    """ids [...] -> vectors [..., features]."""

    vocab_size: int
    features: int
    stddev: float = 0.02
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: Array) -> Array:
        init = nn.with_logical_partitioning(nn.initializers.normal(self.stddev), ("vocab", "embed"))
        table = self.param("embedding", init, (self.vocab_size, self.features))
        return jnp.take(table, ids, axis=0).astype(self.dtype)


class MLP(nn.Module):
    """Two layers with GELU (tanh) between: [..., D] -> [..., hidden] -> [..., D]."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = nn.gelu(Dense(self.hidden, ("embed", "mlp"), dtype=self.dtype, name="up")(x))
        return Dense(
            x.shape[-1],
            ("mlp", "embed"),
            dtype=self.dtype,
            name="down",
        )(h)


def attend(
    query: Array, key: Array, value: Array, mask: Array | None = None
) -> tuple[Array, Array]:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1), and its weights, which people
    look at as maps.

    Args:
      query: [B, H, N, d]. key, value: [B, H, M, d].
      mask: bool [B, 1 or N, M], the keys that exist for all queries or each; None for all.

    Returns:
      values [B, H, N, d] and weights [B, H, N, M] (float32, summing to 1 over M).
    """
    logits = jnp.einsum("bhnd,bhmd->bhnm", query, key) * query.shape[-1] ** -0.5
    logits = logits.astype(jnp.float32)
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, -1e9)
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum("bhnm,bhmd->bhnd", weights.astype(value.dtype), value), weights


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) over tokens [B, L, D], mask bool [B, L]."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        width = x.shape[-1]
        qkv = Dense(3 * width, ("embed", "heads"), dtype=self.dtype, name="qkv")(x)
        mixed, _ = attend(*split_heads(qkv, self.heads, 3), None if mask is None else mask[:, None])
        return Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")(merge_heads(mixed))


def split_heads(x: Array, heads: int, parts: int) -> tuple[Array, ...]:
    """[B, L, parts * D] -> `parts` arrays of [B, heads, L, D / heads].

    Heads come first, as products over them have it on a CPU, which would turn each operand for
    itself."""
    x = x.reshape(*x.shape[:-1], parts, heads, -1)
    return tuple(jnp.unstack(x.transpose(2, 0, 3, 1, 4)))


def merge_heads(x: Array) -> Array:
    """[B, heads, L, d] -> [B, L, heads * d]."""
    return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


class RelativeBias(nn.Module):
    """What attention between the patches of a square grid adds for how they lie to each other: a
    number for every offset and head (Liu et al. 2021, "Swin transformer", section 3.2), zero at
    first.
    """

    heads: int

    @nn.compact
    def __call__(self, patches: int, place: Array | None = None) -> Array:
        """float32 [heads, patches, patches], or of the patch number `place` alone [heads, 1,
        patches]; `patches` is a square number."""
        grid = math.isqrt(patches)
        init = nn.with_logical_partitioning(nn.initializers.zeros, (None, None))
        table = self.param("table", init, (self.heads, (2 * grid - 1) ** 2))
        # Down and across one after the other: indices for both at once would be a constant of
        # patches x patches numbers in every block.
        apart = np.arange(grid)[:, None] - np.arange(grid) + grid - 1
        table = table.reshape(self.heads, 2 * grid - 1, 2 * grid - 1)
        if place is not None:
            down, across = (jnp.asarray(apart)[i] for i in jnp.divmod(place, grid))
            return table[:, down][..., across].reshape(self.heads, 1, patches)
        bias = table[:, apart][..., apart]
        return bias.swapaxes(2, 3).reshape(self.heads, patches, patches)


class Block(nn.Module):
    """A pre-norm transformer block over tokens [B, L, D], mask bool [B, L]."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        x = x + SelfAttention(self.heads, dtype=self.dtype, name="attention")(
            LayerNorm(name="norm_attention")(x), mask
        )
        return x + MLP(4 * x.shape[-1], dtype=self.dtype, name="mlp")(LayerNorm(name="norm_mlp")(x))


def scans(scan: bool | None) -> bool:
    """Whether blocks of one kind run as a `lax.scan` over one that is compiled: `scan`, or where
    that is None on accelerators. On a CPU the scan costs a third more time."""
    return rules.platform() != "cpu" if scan is None else scan


def stack_blocks(params: Mapping[str, Any]) -> dict[str, Any]:
    """A module's parameters with those of `block_0`, `block_1`, ... as one tree STACKED, of leaves
    [layers, ...]: what a scan over the blocks takes.

    They are kept one by one, so that freezing, adapters and checkpoints see one layout. The copy is
    small against the products; a loop around the scan should find it made.
    """
    rest = {name: p for name, p in params.items() if not name.startswith("block_")}
    blocks = [params[f"block_{i}"] for i in range(len(params) - len(rest))]
    return rest | {STACKED: jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)}


def scan_blocks(block: nn.Module, params: Mapping[str, Any], x: Array, *args: Any) -> Array:
    """x through all blocks of a module's parameters, `block(x, *args)` each, in a scan."""

    def layer(x: Array, own: Any) -> tuple[Array, None]:
        return block.apply({"params": own}, x, *args), None

    return jax.lax.scan(layer, x, stack_blocks(params)[STACKED])[0]


def sincos(positions: np.ndarray, width: int, longest: float = 10_000.0) -> np.ndarray:
    """Sine-cosine features of scalar positions: [...] -> float32 [..., width] (width even)."""
    half = width // 2
    angles = np.asarray(positions)[..., None] * longest ** -(np.arange(half) / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)


def sincos_2d(height: int, wide: int, width: int) -> np.ndarray:
    """Fixed positions of a grid in row order: float32 [height * wide, width], width % 4 == 0."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(wide), indexing="ij")
    longest = 2.0 * max(height, wide)  # So that every feature tells neighbours apart.
    parts = [sincos(rows, width // 2, longest), sincos(columns, width // 2, longest)]
    return POSITION_SCALE * np.concatenate(parts, axis=-1).reshape(height * wide, width)


def time_features(time: Array, width: int) -> Array:
    """Sine-cosine features of times in [0, 1]: [B] -> float32 [B, width] (Ho et al. 2020)."""
    half = width // 2
    frequencies = jnp.exp(-np.log(10_000.0) * jnp.arange(half) / half)
    angles = 1_000.0 * time[:, None].astype(jnp.float32) * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
