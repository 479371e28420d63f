"""The leaderboard: one row per method on one protocol, rebuilt from outcomes per task, ordered by intervals alone."""
