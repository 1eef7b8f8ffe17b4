"""The Hugging Face Hub: tasks as datasets."""
