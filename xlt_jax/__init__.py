"""xlt_jax: which training between pre-training and the target task makes transfer work."""

__version__ = "0.1.0"
