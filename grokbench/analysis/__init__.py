"""Why networks generalize: measurements on the curves of any run.

* `curves`: a run record as arrays, and the numbers that the studies need.
* `stages`: surges of accuracy, delayed generalization, falls of a rank.
* `patterns`: a run as a few patterns that are learned at different speeds.
* `series`: the check that all functions apply to their steps and values.
"""
