"""Tests of baselines/optimizers."""
