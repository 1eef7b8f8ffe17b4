"""Tests of the speed measurements."""
