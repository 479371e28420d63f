"""What a run writes, shows and remembers."""
