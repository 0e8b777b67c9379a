"""Labelled tasks to train on between pre-training and the target tasks."""
