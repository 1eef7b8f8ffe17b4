"""Tests of `grokbench.hub`."""
