"""How a network is trained: the agent, its hyperparameters, losses, threads and memory."""
