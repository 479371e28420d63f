"""The table as files and on a terminal: `table.json`, `results.csv`, of games `games.csv`, a short `report.md`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .analysis import analyse, contrasts_of
from .plain_json import write_text
from .plan_records import Plan
from .records import Study, load_study, save_record
from .result_records import Result
from .table_records import ArmRow, Contrast, CurveDifference, Estimate, Table

# Metrics of an iteration that have a column of their own in results.csv.
CSV_METRICS = (
    *("success", "sampling/entropy", "entropy", "kl", "distill/signal", "distill/weight", "distill/weight_over_half"),
    *(
        "distill/signal_negative",
        "distill/weight_rejected",
        "teacher/privileged_dropped",
        "coefficient",
        "grad_norm",
        "groups/flat",
    ),
)
CSV_COLUMNS = (
    *("arm", "method", "role", "seed", "job", "iteration", "episodes", "cpu_seconds"),
    *("valid_success", "valid_wins", "valid_n", "valid_stale_wins", "valid_stale_n", "valid_fresh_wins"),
    *("valid_fresh_n", "teacher_success", "test_success", "test_wins", "test_n"),
    *("test_stale_wins", "test_stale_n", "test_fresh_wins", "test_fresh_n"),
    *(f"train_{name}" for name in CSV_METRICS),
)

# A line of games.csv: a finished policy in one seat against one opponent, or against itself.
GAME_COLUMNS = ("arm", "seed", "role", "opponent", "wins", "n", "mean_return", "deals", "joint")


def write_table(path: Path) -> Table:
    """Analyse a study and write `table.json`, `results.csv` and `report.md`; of a study of games `games.csv`, too.

    Raises:
        StudyError: As `analyse`, or the directory holds no study.
    """
    study = load_study(path)
    table = analyse(study)
    save_record(path / "table.json", table)
    write_text(path / "results.csv", csv_text(study.results))
    if study.plan.opponents is not None:
        write_text(path / "games.csv", csv_of(GAME_COLUMNS, _games(study.results)))
    write_text(path / "report.md", markdown(study, table))
    return table


def _games(results: Sequence[Result]) -> Iterator[dict[str, object]]:
    for result in results:
        for each in result.games.meetings if result.games else ():
            own = {"arm": result.arm, "seed": result.seed, "role": each.role, "opponent": each.opponent or "itself"}
            counts = {"wins": each.overall.wins, "n": each.overall.n, "mean_return": each.mean_return}
            yield {**own, **counts, "deals": each.deals, "joint": each.joint}


def csv_text(results: Sequence[Result]) -> str:
    """One line per arm, seed and iteration (0 is before training); a cell is empty where nothing was measured."""
    return csv_of(CSV_COLUMNS, (line for result in results for line in _lines(result)))


def csv_of(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    """CSV with a heading; what a line does not have is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _lines(result: Result) -> Iterator[dict[str, object]]:
    watched = {point.iteration: point for point in result.curve}
    trained = {point.iteration: point for point in result.training}
    steps = sorted({*watched, *trained})
    for step in steps:
        point, line = watched.get(step), trained.get(step)
        either = point or line
        assert either is not None
        row: dict[str, object] = {
            "arm": result.arm,
            "method": result.method,
            "role": result.role,
            "seed": result.seed,
            "job": result.key,
            "iteration": step,
            "episodes": either.episodes,
            "cpu_seconds": round(either.cpu_seconds, 3),
        }
        if point is not None:
            row |= {
                "valid_success": point.overall.rate,
                "valid_wins": point.overall.wins,
                "valid_n": point.overall.n,
                "valid_stale_wins": point.stale.wins,
                "valid_stale_n": point.stale.n,
                "valid_fresh_wins": point.fresh.wins,
                "valid_fresh_n": point.fresh.n,
                "teacher_success": None if point.teacher is None else point.teacher.rate,
            }
        test = result.before if step == steps[0] else result.after if step == steps[-1] else None
        if test is not None:
            row |= {
                "test_success": test.overall.rate,
                "test_wins": test.overall.wins,
                "test_n": test.overall.n,
                "test_stale_wins": test.stale.wins,
                "test_stale_n": test.stale.n,
                "test_fresh_wins": test.fresh.wins,
                "test_fresh_n": test.fresh.n,
            }
        if line is not None:
            row |= {f"train_{name}": line.figures.get(name) for name in CSV_METRICS}
        yield row


HEADINGS = ("arm", "seeds", "area to B", "vs reference", "valid at B", "test at 2B", "stale", "fresh", "CPU-s")
GAME_HEADINGS = (
    *("arm", "seeds", "fixed opponents", "vs reference", "return", "test at 2B", "itself", "its deals", "CPU-s"),
)


# What the table of curves shows, in words: once for page, terminal and report.
CURVES_SAID = (
    "success on valid by iteration, in points less the reference of the same seed, mean with its 95 % t interval; not "
    "corrected for being looked at many times"
)


def headings(table: Table) -> tuple[str, ...]:
    """Over the columns of `table_rows`: of a study of games, what was got from the fixed opponents and from itself."""
    return GAME_HEADINGS if _of_games(table) else HEADINGS


def _of_games(table: Table) -> bool:
    return any("fixed_success" in row.endpoints for row in table.arms)


def table_rows(table: Table) -> list[list[str]]:
    """The table for a terminal or a page, in per cent; under `headings`."""
    names = ("area", "valid_B", "test", "test_stale", "test_fresh")
    if _of_games(table):
        names = ("fixed_success", "fixed_return", "test", "self_success", "self_deals")
    rows = []
    for row in table.arms:
        compared = contrasts_of(table, row.key).get(names[0])
        cells = [row.label, str(len(row.seeds)), _mean(row.endpoints[names[0]]), _difference(compared)]
        cells += [_mean(row.endpoints[name]) for name in names[1:]]
        cost = row.timed["cpu_seconds"].mean
        rows.append([*cells, "-" if cost is None else f"{cost:.0f}"])
    return rows


def _mean(estimate: Estimate) -> str:
    if estimate.mean is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:.1f}"
    return f"{100 * estimate.mean:.1f} ± {100 * (estimate.high - estimate.mean):.1f}"


def _difference(contrast: Contrast | None) -> str:
    return "-" if contrast is None else points_words(contrast.estimate)


def points_words(estimate: Estimate) -> str:
    """A difference of rates in points, with its interval where there is one; ``-`` where it is unknown."""
    if estimate.mean is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:+.1f}"
    return f"{100 * estimate.mean:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def curve_headings(curves: Sequence[CurveDifference]) -> tuple[str, ...]:
    """Over the columns of `curve_rows`: every iteration that one of them was measured at."""
    return ("arm", "less", *map(str, iterations_of(curves)))


def curve_rows(curves: Sequence[CurveDifference], labels: Mapping[str, str]) -> list[list[str]]:
    """By iteration, how many points of success on `valid` each arm is ahead of its reference; `labels` by arm."""
    rows = []
    for curve in curves:
        found = [curve.at(iteration) for iteration in iterations_of(curves)]
        cells = ["-" if estimate is None else points_words(estimate) for estimate in found]
        rows.append([labels[curve.arm], labels[curve.reference], *cells])
    return rows


def iterations_of(curves: Sequence[CurveDifference]) -> list[int]:
    """Every iteration that one of the curves was measured at."""
    return sorted({iteration for curve in curves for iteration in curve.iterations})


def collapse_words(row: ArmRow) -> list[str]:
    """One sentence per collapsed run of an arm."""
    return [
        f"{row.label}, seed {seed}: {collapse.rule} {collapse.value:.3f} under {collapse.threshold:.3f} at iteration "
        f"{collapse.iteration}"
        for seed, listed in row.collapsed.items()
        for collapse in listed
    ]


def software_words(software: Mapping[str, Mapping[str, int]]) -> list[str]:
    """One sentence per thing that not all results were made with alike: a commit, a version, a machine."""
    said = []
    for name, counts in software.items():
        if len(counts) > 1:
            listed = ", ".join(f"{count} with {value}" for value, count in counts.items())
            clock = "; CPU-seconds of different machines are not compared" if name == "platform" else ""
            said.append(f"results were made with {len(counts)} values of {name}: {listed}{clock}")
    return said


def missing_words(table: Table) -> str | None:
    """How many runs have no result yet, and which: every arm once, with its seeds as `--only-seeds` takes them."""
    if not table.missing:
        return None
    runs = "1 run is" if len(table.missing) == 1 else f"{len(table.missing)} runs are"
    rows = [row for row in table.arms if row.missing]
    listed = (f"{row.key}, seed{'s' * (len(row.missing) > 1)} {seed_ranges(row.missing)}" for row in rows)
    return f"{runs} missing: {'; '.join(listed)}"


def seed_ranges(seeds: Iterable[int]) -> str:
    """Seeds in order, those that follow one another as a range: 1, 3, 4, 5, 8 is ``1,3-5,8``."""
    spans: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if spans and spans[-1][1] == seed - 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def untuned_words(table: Table) -> str | None:
    """What to bear in mind where several arms are compared and none has tuned values."""
    if len(table.arms) < 2 or any(row.tuned is not None for row in table.arms):
        return None
    return "no arm was tuned, so a lead may be that of the settings and not of the method"


def scale_words(plan: Plan) -> str:
    """What a result with the tiny model stands for, as a sentence; nothing where the study has a model of its own."""
    if plan.model is not None:
        return ""
    return (
        "A tiny model that was taught to read hints: what shows here is a sign of an effect at this scale, not a "
        "reproduction of published numbers."
    )


def markdown(study: Study, table: Table) -> str:
    """A short report: the table, the verdicts, what is missing, what collapsed, what it ran on."""
    plan = study.plan
    lines = [f"# Study {plan.name}", ""]
    lines += [
        f"{plan.env_id}, preset {plan.preset or 'none'}, B = {plan.budget} iterations of {plan.episodes_per_iteration} "
        f"episodes, planned {plan.planned_at}, commit {plan.versions.get('commit')}. Success in per cent, mean over "
        f"seeds ± half of its 95 % t interval; differences are paired by seed. {scale_words(plan)}".rstrip(),
        "",
    ]
    if missing := missing_words(table):
        lines += [f"**Not complete**: {missing}.", ""]
    for note in plan.amended:
        lines += [f"**Amended**: {note}.", ""]
    for words in software_words(table.software):
        lines += [f"**Mixed**: {words}.", ""]
    if untuned := untuned_words(table):
        lines += [f"**Not tuned**: {untuned}.", ""]
    heads = headings(table)
    lines += [_line(heads), _line(["---"] * len(heads)), *(_line(cells) for cells in table_rows(table)), ""]
    if table.curves:
        labels = {row.key: row.label for row in table.arms}
        lines += ["## Lead by iteration", "", f"{CURVES_SAID[0].upper()}{CURVES_SAID[1:]}.", ""]
        heads = curve_headings(table.curves)
        lines += [_line(heads), _line(["---"] * len(heads)), *map(_line, curve_rows(table.curves, labels)), ""]
    if table.verdicts:
        lines += ["## Hypotheses", ""]
        for verdict in table.verdicts:
            word = f"{verdict.verdict}{' (provisional)' if verdict.provisional else ''}"
            lines += [f"- **{verdict.id}** {verdict.statement.rstrip('.')}: **{word}**. {verdict.reason}."]
        lines.append("")
    fallen = [words for row in table.arms for words in collapse_words(row)]
    if fallen:
        lines += ["## Collapses, flagged by rule", "", *(f"- {words}" for words in fallen), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
