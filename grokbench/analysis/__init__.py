"""Why networks generalize: curves, stages and pattern-learning speeds of any run."""
