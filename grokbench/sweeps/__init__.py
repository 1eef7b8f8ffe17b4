"""Sweeps: grids over what a task or a recipe has, made as runs that train together where they can."""
