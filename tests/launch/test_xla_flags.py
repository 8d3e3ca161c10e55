import os
import subprocess
import sys

import pytest

from launch import xla_flags


def test_this_jax_knows_the_flags_of_gpus():
    def start(flags):
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        return subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"], env=environment
        ).returncode

    flags = xla_flags.environment("gpu")["XLA_FLAGS"]
    assert flags.count("--") >= 4
    assert start(flags) == 0
    assert start(f"{flags} --xla_gpu_nonsense=true") != 0


@pytest.mark.slow
def test_this_libtpu_knows_the_flags_of_tpus():
    pytest.importorskip("libtpu", reason='not compared with libtpu (pip install -e ".[plan]")')
    program = (
        "import jax; from jax.experimental import topologies as t; "
        "t.get_topology_desc(platform='tpu', topology_name='v5e:2x2')"
    )
    known = xla_flags.environment("tpu")
    for flags, good in ((known["LIBTPU_INIT_ARGS"], True), ("--xla_tpu_nonsense=true", False)):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "TPU_SKIP_MDS_QUERY": "1",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
            "LIBTPU_INIT_ARGS": flags,
        }
        done = subprocess.run([sys.executable, "-c", program], env=environment)
        assert (done.returncode == 0) == good


def test_processors_have_none():
    assert xla_flags.environment("cpu") == {}
