"""Speed of xlt_jax on this machine, beside T5X, transformers and SeqIO: ``python -m bench``."""
