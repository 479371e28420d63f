"""What Pair is made of, beside the household's own tables: data, no behaviour."""

from __future__ import annotations

COOK = "cook_0"
RUNNER = "runner_0"
ROLES = (COOK, RUNNER)  # in the order of their turns
OTHER = {COOK: RUNNER, RUNNER: COOK}

SPLIT_SIZES = {"train": 100_000, "valid": 2_000, "test": 2_000}
# The household's rooms that are played in, and of its task types those that are about carrying one thing.
SIZE = "small"
TASK_TYPES = ("place", "clean", "heat", "cool")

REGULARITY = 0.85

# The public sign of what may be wanted.
OCCASIONS = ("breakfast", "brunch", "lunch", "tea", "dinner", "supper")

# The cook's side of every room, beside whatever the task's thing has to go to.
APPLIANCES = ("fridge", "microwave", "sinkbasin")
# What both sides can reach one of: where things are handed over.
PASSES = ("coffeetable", "countertop", "desk", "diningtable", "dresser", "shelf", "sidetable")
# Receptacles that the runner has to itself, at least.
FEWEST_PLACES = 3

# Turns of each role until a game is truncated, and the longest joint plan of a task. Chosen with scripted runners: what
# they know decides, see docs/pair.md.
HORIZON = 10

# What the cook may say: nothing, one word at a time, or a line.
CHANNELS = ("none", "word", "free")
LONGEST_TALK = 200
LONGEST_WORD = 20

WIN_REWARD = 1.0
# Of the option `shaping`: paid once, to both, when a wanted thing first lies on the pass.
PASS_REWARD = 0.2

# Commands of the household that make sense to one of two robots: its help speaks of more lines than one.
LEFT_OUT = ("help",)
