"""Baseline agents: MLPs and two transformers that train several seeds at once, on CPU or GPU.

* `networks/`: each network with a plain reference forward and a fast forward. `questions.py` explains why it is fast.
* `optimizers/`: AdamW, Muon and gradient filters.
* `training/`: the agent and its training loop.
* `recipes/`: the hyperparameters of each agent, as TOML.
"""
