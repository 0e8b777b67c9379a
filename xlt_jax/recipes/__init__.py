"""Experiments of several stages, each a process."""
