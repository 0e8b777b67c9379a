"""Metrics: (targets, predictions) -> {name: value}."""
