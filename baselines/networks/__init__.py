"""The baselines' networks: an MLP and two transformers on tables, a deep MLP on images."""
