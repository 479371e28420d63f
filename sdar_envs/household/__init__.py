"""The household: generated rooms and official games, one engine and one planner for both."""
