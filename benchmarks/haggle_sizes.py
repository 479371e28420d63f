"""How large Haggle should be: what knowledge is worth, exactly, and how often its owner acts.

    python -m benchmarks.haggle_sizes [--json] [--all]

Every row is a size: how many levels both limits come from, how far a task's limits lie from the regularity's, how many
levels a scripted opponent lets an offer miss its limit by, and what a further offer leaves of the gain. The bounds are
exact (`sdar_envs/multiagent/haggle/bounds.py`). Without ``--all`` only the two sizes that ship are computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.multiagent.haggle.bounds import informed, uninformed
from sdar_envs.multiagent.haggle.tables import SIZE_TABLES, SizeTable

# Levels, spread, patience and discount of the sizes that were tried beside those that ship.
TRIED = (
    *((16, 2, patience, 0.985) for patience in (4, 6)),
    *((24, 2, patience, 0.985) for patience in (4, 6)),
    *((32, 1, patience, 0.985) for patience in (2, 3, 4, 6)),
    *((32, 2, patience, 0.985) for patience in (2, 3, 4, 6)),
    (32, 2, 4, 0.97),
    (32, 3, 4, 0.97),
    *((40, 1, patience, 0.985) for patience in (2, 3, 4)),
)


def of_shape(levels: int, spread: int, patience: int, discount: float) -> SizeTable:
    """The full size with other numbers."""
    ends = (SIZE_TABLES["full"].lowest, SIZE_TABLES["full"].lowest + levels - 1)
    return dataclasses.replace(
        SIZE_TABLES["full"], floors=ends, ceilings=ends, spread=spread, patience=patience, discount=discount
    )


def sizes(every: bool) -> Iterator[tuple[str, SizeTable]]:
    """The sizes by name."""
    small = SIZE_TABLES["small"]
    yield "small", small
    if every:
        for patience in (0, 2, 99):
            yield f"small, patience {patience}", dataclasses.replace(small, patience=patience)
        for levels, spread, patience, discount in TRIED:
            yield f"{levels} levels", of_shape(levels, spread, patience, discount)
    yield "full", SIZE_TABLES["full"]


def main() -> None:
    """Print a table, or one JSON object."""
    options = parser("haggle_sizes", "Exact bounds of Haggle's sizes.")
    options.add_argument("--all", action="store_true", help="also the sizes that were tried and not taken; minutes")
    arguments = options.parse_args()
    rows: list[dict[str, Any]] = []
    for name, size in sizes(arguments.all):
        knows, guesses = informed(size), uninformed(size)
        rows.append(
            {
                "size": name,
                "spread": size.spread,
                "patience": size.patience,
                "discount": size.discount,
                "uninformed": round(guesses.share, 4),
                "informed": round(knows.share, 4),
                "knowledge": round(100 * (knows.share - guesses.share), 1),
                "acts": round(knows.acts, 2),
                "acts uninformed": round(guesses.acts, 2),
            }
        )
    text = table(list(rows[0]), [list(row.values()) for row in rows])
    emit("haggle_sizes", {"sizes": rows}, [text], as_json=arguments.json)


if __name__ == "__main__":
    main()
