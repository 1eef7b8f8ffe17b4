"""Tests of board/verification."""
