"""Zero-shot evaluation per benchmark and language."""
