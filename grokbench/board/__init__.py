"""The leaderboard's code, by trust: entries are data, verification runs their code, publishing writes what visitors see."""
