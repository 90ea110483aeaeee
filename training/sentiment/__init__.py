"""The shipped sentiment model: its data, training, export and judging.

Nothing here is imported by the running gateway. `python -m training.sentiment` does all steps;
`training.sentiment.evaluate` needs only what the gateway itself needs.
"""
