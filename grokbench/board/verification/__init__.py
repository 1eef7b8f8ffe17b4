"""Re-execution: the only folder in which an entry's code runs, in a process of its own, in a sandbox."""
