"""Baseline agents, written to be read: MLPs and two transformers, batched over seeds, on CPU or GPU.

`questions.py` holds the one idea behind their speed on tables; `mlp.py`, `transformer.py`, `decoder.py` and `deep_mlp.py` are
networks, `methods.py` says how one is trained, `cohort.py` takes the steps, `training.py` is the agent, `recipes/` has the
hyperparameters.
"""
