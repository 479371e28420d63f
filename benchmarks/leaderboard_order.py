"""How often a leaderboard orders rows that do not differ: synthetic boards without any effect.

    python -m benchmarks.leaderboard_order [--boards 1000] [--rows 10] [--seeds 10]

Rows share what a seed is worth (a deviation of 5 points) and differ by chance alone (2.3 points, as paired runs of the
household study do). Holm's correction promises that at most 5 % of boards order anything.
"""

from __future__ import annotations

import argparse

from sdar_envs.randomness import counted_generator
from trainers.evaluation.intervals import wilson
from trainers.referee.leaderboard.ranks import above


def boards_with_an_order(boards: int, rows: int, seeds: int, *, effect: float = 0.0) -> int:
    """In how many synthetic boards two rows are told apart.

    Args:
        boards: How many are drawn.
        rows: Methods of a board.
        seeds: Runs of each.
        effect: What the first row is really better by.
    """
    found = 0
    for board in range(boards):
        generator = counted_generator("leaderboard order", board)
        shared = generator.normal(0.3, 0.05, size=seeds)
        chance = generator.normal(0.0, 0.023, size=(rows, seeds))
        chance[0] += effect
        rates = {f"row-{row}": dict(enumerate((shared + chance[row]).tolist())) for row in range(rows)}
        found += bool(above(rates))
    return found


def main() -> None:
    """Print the shares."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.leaderboard_order", description=__doc__)
    options.add_argument("--boards", type=int, default=1000)
    options.add_argument("--rows", type=int, default=10)
    options.add_argument("--seeds", type=int, default=10)
    given = options.parse_args()
    for effect in (0.0, 0.04, 0.06):
        found = boards_with_an_order(given.boards, given.rows, given.seeds, effect=effect)
        low, high = wilson(found, given.boards)
        print(
            f"{given.rows} rows, {given.seeds} seeds, one row better by {100 * effect:.0f} points: something is "
            f"ordered in {found / given.boards:.1%} of {given.boards:,} boards ({low:.1%} to {high:.1%})"
        )


if __name__ == "__main__":
    main()
