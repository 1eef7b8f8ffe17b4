"""Tests of board/entries."""
