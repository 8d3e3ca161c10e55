"""Packaging of vismem: `pip install -e .`, and `pip install -e ".[test]"` for the tests."""

from setuptools import find_packages, setup

setup(
    name="vismem",
    version="0.1.0",
    description="Draws images from language, step by step, with an adaptive memory (JAX/Flax).",
    packages=find_packages(include=["vismem", "vismem.*", "launch"]),
    python_requires=">=3.11,<3.13",
    install_requires=[
        "jax>=0.10,<0.12",
        "flax>=0.12.8,<0.13",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8,<1",
        "grain>=0.2.18",
        "tensorflow-datasets>=4.9.10",
        "transformers>=5.17,<6",
        "tokenizers>=0.22",
        "safetensors>=0.5",
        "ml_collections>=1.1",
        "numpy>=2",
        "scipy>=1.13",
        "scikit-learn>=1.5",
        "pillow>=11",
        "einops>=0.8",
        "pyyaml>=6",
        "rich>=13",
        "tensorboardX>=2.6",
        "matplotlib>=3.9",
    ],
    extras_require={
        "captions": ["sacrebleu>=2.5", "pycocoevalcap>=1.2"],  # how near captions are
        "chinese": ["noto-cjk-sans-otc>=0.0.1"],  # a font (OFL) for captions under pictures
        "edits": ["scikit-image>=0.25"],  # PSNR and SSIM
        "geneva": ["h5py>=3.11"],
        "launch": ["kubernetes-validate>=1.31", "kubeflow-trainer-api>=2"],  # for its tests
        "plan": ["jax[tpu]>=0.10,<0.12"],  # libtpu, which compiles for TPUs on a CPU
        "plan-gpu": ["jax-cuda12-plugin>=0.10,<0.12"],  # the compiler for GPUs, without CUDA
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff==0.14.5",
            "h5py>=3.11",
            "scikit-image>=0.25",
            "sacrebleu>=2.5",
            "pycocoevalcap>=1.2",
            "noto-cjk-sans-otc>=0.0.1",
        ],
    },
    entry_points={"console_scripts": ["vismem = vismem.__main__:main"]},
)
