"""Passes of an iteration that need no gradient: teacher, reference policy, and rows given another prompt."""
