"""Run the model: plan batches, time buckets, give each caller its own rows."""
