"""Games of several roles in a report: payoff matrices of a run, and what the arms of a study got from whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ..study.result_records import Meeting
from ..study.statistics import t_interval
from .document import Block, Cell, Column, FigureBlock, Paragraph, TableBlock
from .figure import Axis, MatrixCell, MatrixPanel, make_figure
from .number_format import percent, percent_range
from .study_figures import ENDPOINT_NAMES, Shown

RETURN = Axis("mean return", low=0.0, high=1.0)
# What a study of games is about, in the order of its table.
GAME_ENDPOINTS = ("fixed_success", "fixed_return", "self_success", "self_deals")


def role_name(role: str) -> str:
    """``shopper`` for ``shopper_0``."""
    name, _, number = role.rpartition("_")
    return name if name and number.isdecimal() else role


def short_player(name: str) -> str:
    """A player's name without where it comes from: a script's without ``scripted:``, a run's folder alone."""
    last = name.rpartition(":")[2].rstrip("/").rpartition("/")[2]
    return last if len(last) <= 24 else last[:23] + "…"


def crossplay_blocks(found: Mapping[str, Any] | None) -> list[Block | None]:
    """The payoff matrix of a run, a panel per seat, and what follows of it for each player."""
    if found is None:
        return []
    players = list(found["players"])
    names = tuple(map(short_player, players))
    cells = {(cell["row"], cell["column"]): cell for cell in found["cells"]}
    roles = list(found["roles"])
    panels = []
    for place, role in enumerate(roles):
        others = role_name(roles[1 - place])
        values = tuple(
            tuple(_crossplay_cell(cells.get((p, o) if place == 0 else (o, p)), role, (p, o)) for o in players)
            for p in players
        )
        title = f"As {role_name(role)} (rows), against each {others} (columns)"
        panels.append(MatrixPanel(title, RETURN, names, names, values, colour=1 + place))
    caption = (
        f"{found['game']}: what each player earns on average in each seat, on the same tasks with the same draws. "
        f"Empty cells were not played. Set {str(found['hash'])[:12]}."
    )
    figure = make_figure("crossplay", "Who earns what from whom", caption, *panels)
    return [None if figure is None else FigureBlock(figure), _judged(found, names)]


def _crossplay_cell(cell: Mapping[str, Any] | None, role: str, pair: tuple[str, str]) -> MatrixCell:
    if cell is None or not cell["games"]:
        return MatrixCell(None)
    bounds = cell["intervals"].get(role)
    interval = f", 95 % interval {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else ""
    own, other = pair
    return MatrixCell(
        float(cell["payoffs"][role]),
        f"{own} as {role_name(role)} against {other}: {cell['payoffs'][role]:.3f}{interval}; deals "
        f"{cell['deals']:.2f}, together {cell['joint']:.3f}, {cell['games']} games",
    )


def _judged(found: Mapping[str, Any], names: Sequence[str]) -> TableBlock | None:
    """Regret and exploitability, where every player has met every other."""
    regret, exploitability = found.get("regret", {}), found.get("exploitability", {})
    players = [player for player in found["players"] if player in exploitability]
    if not players:
        return None
    short = dict(zip(found["players"], names, strict=True))
    rows = tuple(
        (
            Cell(short[player]),
            *(Cell(f"{regret[role][player]:.2f}") for role in found["roles"]),
            Cell(f"{exploitability[player]:.2f}"),
        )
        for player in players
    )
    columns = (
        Column("player", number=False),
        *(
            Column(
                f"regret as {role_name(role)}",
                about="How much less it earns than the best response of these players, on average over opponents.",
            )
            for role in found["roles"][:1]
        ),
        *(Column(f"regret as {role_name(role)}") for role in found["roles"][1:]),
        Column(
            "exploitability",
            about="What could be gained over both seats by leaving a game of it with itself for another player.",
        ),
    )
    return TableBlock(columns, rows, "Within this set of players")


def games_blocks(view: Shown) -> list[Block | None]:
    """What the arms of a study got from the fixed opponents and from themselves."""
    opponents = view.study.plan.opponents
    played = [arm for arm in view.arms if any(result.games for result in view.study.of(arm.key))]
    if opponents is None or not played:
        return []
    met = {
        arm.key: [each for result in view.study.of(arm.key) if result.games for each in result.games.meetings]
        for arm in played
    }
    roles = list(dict.fromkeys(each.role for meetings in met.values() for each in meetings))
    against = [*opponents.players, None]
    panels = [
        MatrixPanel(
            f"As {role_name(role)}",
            RETURN,
            tuple(arm.label for arm in played),
            tuple("itself" if name is None else name for name in against),
            tuple(
                tuple(
                    _mean_cell(arm.label, [each for each in met[arm.key] if (each.role, each.opponent) == (role, name)])
                    for name in against
                )
                for arm in played
            ),
            colour=1 + place,
        )
        for place, role in enumerate(roles)
    ]
    caption = (
        f"Mean return of the trained policies (rows) against opponents that do not learn (columns), and against "
        f"themselves: {opponents.episodes} tasks of {opponents.split}, the same with the same draws for every arm of a "
        "seed; mean over seeds."
    )
    figure = make_figure("games", "Who earns what from whom", caption, *panels)
    said = (
        "What a policy wins against itself says nothing of how it does against others: two policies that have learned "
        "to give way to each other look good together."
    )
    return [None if figure is None else FigureBlock(figure), _games_table(view), Paragraph(said, "note")]


def _mean_cell(label: str, meetings: Iterable[Meeting]) -> MatrixCell:
    values = [each.mean_return for each in meetings if each.mean_return is not None]
    if not values:
        return MatrixCell(None)
    estimate = t_interval(values)
    interval = "" if estimate.low is None else f", 95 % interval {estimate.low:.2f} to {estimate.high:.2f}"
    return MatrixCell(fmean(values), f"{label}: {fmean(values):.3f} over {len(values)} seeds{interval}")


def _games_table(view: Shown) -> TableBlock:
    rows = []
    for row in view.table.arms:
        cells = []
        for name in GAME_ENDPOINTS:
            estimate = row.endpoints[name]
            known = estimate.low is not None and estimate.high is not None
            bounds = (max(estimate.low or 0.0, 0.0), min(estimate.high or 0.0, 1.0)) if known else None
            cells.append(Cell(percent(estimate.mean), percent_range(bounds)))
        rows.append((Cell(row.label, colour=view.colours[row.key]), Cell(str(len(row.seeds))), *cells))
    columns = (
        Column("%", number=False),
        Column("seeds"),
        *(Column(ENDPOINT_NAMES[name]) for name in GAME_ENDPOINTS),
    )
    return TableBlock(columns, tuple(rows), "Means over opponents and seats, then over seeds, with 95 % t intervals")
