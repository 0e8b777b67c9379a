"""Facts: languages and benchmarks. Standard library only."""
