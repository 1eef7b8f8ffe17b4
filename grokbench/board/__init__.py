"""The leaderboard's code, by trust: entries are data, verification runs their code, publishing writes what visitors see."""

from pathlib import Path

LEADERBOARD = Path("leaderboard")  # the folder in a checkout
