"""A world of tools: a business trip to be booked by calls."""
