"""Networks: Flax modules with T5X's parameter names."""
