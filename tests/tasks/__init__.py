"""Tests of grokbench.tasks."""
