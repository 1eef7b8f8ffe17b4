"""Training of a network: the agent, its hyperparameters, shards of its cohort, losses and threads."""
