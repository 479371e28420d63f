"""The readings of an iteration that need no gradient: teacher, reference policy, and relabelled prompts."""
