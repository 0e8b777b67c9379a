"""Host side: rows to token tables to batches."""
