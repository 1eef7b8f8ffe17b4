"""Baseline agents, written to be read: MLPs and two transformers, batched over seeds, on CPU or GPU.

`networks/` holds the networks, and in `questions.py` the one idea behind their speed on tables. `optimizers/` turns gradients
into updates. `training/` takes the steps and is the agent. `recipes/` has the hyperparameters.
"""
