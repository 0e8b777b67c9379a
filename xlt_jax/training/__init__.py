"""Steps, optimizer, partitioning and checkpoints."""
