"""The Hugging Face Hub: tasks as datasets, the board as a dataset, and entries by pull request there."""
