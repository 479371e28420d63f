"""The loop over stored episodes: choose among logged episodes, hand them on as data, and train on them again."""
