"""What makes the tagger that finds PHI: its training data, its training, its export."""
