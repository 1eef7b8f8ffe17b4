"""Papers reproduced: one module a paper, with its settings, its statements and their verdicts."""
