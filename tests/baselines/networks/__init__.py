"""Tests of baselines/networks."""
