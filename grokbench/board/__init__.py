"""The leaderboard: entries, their checks and their table. Reads data only; nothing of an entry is ever executed here."""
