"""Tests of board/publishing."""
