"""Playing tasks, and turning what was played into rows that can be scored."""
