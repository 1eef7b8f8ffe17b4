"""Baseline agents, written to be read: an MLP and two transformers, batched over seeds, on CPU or GPU.

`questions.py` holds the one idea behind their speed, `mlp.py`, `transformer.py` and `decoder.py` the networks, `training.py`
the loop around them, `recipes/` the hyperparameters.
"""
