"""Other stacks' environments in this one."""
