"""These methods in other stacks' trainers."""
