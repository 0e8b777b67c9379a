from setuptools import find_packages, setup

setup(
    name="xlt-jax",
    version="0.1.0",
    description="Intermediate training for zero-shot cross-lingual transfer of mT5, in JAX",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["xlt_jax", "xlt_jax.*", "tasks", "tasks.*"]),
    package_data={"xlt_jax": ["report/*.jinja"]},
    install_requires=[
        "jax>=0.10,<0.13",
        "flax>=0.12",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.20",
        "etils[epath]>=1.9",
        "seqio>=0.0.20",
        "tensorflow-datasets>=4.9.9",
        "gin-config>=0.5",
        "clu>=0.0.12",
        "tensorboard>=2.16",
        "sentencepiece>=0.2",
        "Babel>=2.16,<3",
        "numpy>=2",
        "rich>=13",
        "Jinja2>=3.1",
        "matplotlib>=3.8",
    ],
    extras_require={
        "tpu": ["jax[tpu]"],
        "gpu": ["jax[cuda12]"],
        "test": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "scikit-learn>=1.5"],
    },
)
