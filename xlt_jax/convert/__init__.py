"""Parameters from and to the formats that others write: T5X, Hugging Face."""
