"""Runs: an agent on a task with a seed, their records on disk, and how they are made, resumed and read."""
