"""Products of kernels, rounded and not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.models import layers
from vismem.models.generator import Generator, MemoryConfig, PainterConfig, StrategyConfig
from vismem.models.layers import MIXED, cpu_multiplies_bfloat16, product

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="elsewhere XLA rounds by itself"
)


def value_and_gradients(x, kernel, weight):
    def loss(x, kernel):
        return (weight * product(x, kernel)).sum()

    return product(x, kernel), *jax.grad(loss, (0, 1))(x, kernel)


@pytest.fixture
def rounding(monkeypatch):
    """Any CPU multiplies in bfloat16, slowly or not."""
    monkeypatch.setattr(layers, "cpu_multiplies_bfloat16", lambda: True)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fma avx512f", False), ("avx512_bf16", True), ("amx_tile amx_bf16", True)],
)
def test_products_are_rounded_where_the_cpu_has_instructions_for_it(
    flags, expected, monkeypatch, tmp_path
):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags}\n")
    monkeypatch.setattr(layers, "Path", lambda _: tmp_path / "cpuinfo")
    cpu_multiplies_bfloat16.cache_clear()
    try:
        assert cpu_multiplies_bfloat16() == expected
        with jax.default_matmul_precision(MIXED):
            program = str(
                jax.make_jaxpr(lambda *a: product(*a))(jnp.ones((2, 3)), jnp.ones((3, 4)))
            )
    finally:
        cpu_multiplies_bfloat16.cache_clear()
    assert ("bf16" in program) == expected


@pytest.mark.parametrize("lead", [(6,), (2, 3)])
def test_rounded_products_and_their_gradients_are_near_those_in_float32(lead, rounding):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((*lead, 32), (32, 8), (*lead, 8))
    arguments = [jax.random.normal(k, s) for k, s in zip(keys, shapes)]
    exact = value_and_gradients(*arguments)
    with jax.default_matmul_precision(MIXED):
        rounded = value_and_gradients(*arguments)
    for a, b in zip(exact, rounded):
        assert b.dtype == jnp.float32
        assert (a != b).any()
        np.testing.assert_allclose(a, b, atol=0.02 * jnp.abs(a).max())


def test_sums_of_rounded_products_are_in_float32(rounding):
    """bfloat16 cannot tell 4097 from 4096."""
    with jax.default_matmul_precision(MIXED):
        assert product(jnp.ones((1, 4097)), jnp.ones((4097, 1)))[0, 0] == 4097


@pytest.mark.parametrize("products", ["float32", "bfloat16"])
def test_the_generator_rounds_what_its_config_says(products, rounding):
    generator = Generator(
        text={"name": "transformer"},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(16, 1, 2, products=products),
        memory=MemoryConfig(),
        strategy=StrategyConfig(),
        vocab_size=9,
        size=16,
    )

    def once(module, tokens):
        carry = module.begin(1)
        return module.step(carry, carry.estimate, jnp.zeros(1), module.encode(tokens))[1]

    tokens = jnp.ones((1, 3), jnp.int32)
    init = lambda key: generator.init(key, tokens, method=once)  # noqa: E731
    program = str(jax.make_jaxpr(init)(jax.random.key(0)))
    assert ("bf16" in program) == (products == "bfloat16")
