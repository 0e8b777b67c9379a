"""Objectives: (forward, params, batch, rng) -> Loss."""
