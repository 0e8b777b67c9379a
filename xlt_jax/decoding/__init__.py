"""Generate, rank answers, embed: pure functions over a network."""
