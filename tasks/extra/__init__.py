"""Benchmarks beyond XTREME-R."""
