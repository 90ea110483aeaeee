"""Text to token ids, logits to predictions."""
