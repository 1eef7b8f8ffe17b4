"""Tests of baselines/training."""
