"""`sdar report`: from a study's or a run's directory to `report.html`, `report.md`, CSV and `figures/*.png`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.evaluation_set import EvaluationSet
from ..run.directory import RunDirectoryError
from ..study.records import Study, load_study
from ..study.result_records import Result
from ..study.table_files import csv_text
from . import EPISODES
from .document import Document, figures_of
from .episodes import load_episodes, load_privileged
from .markdown import render_markdown
from .page import Viewer, render_page
from .png import MISSING, can_draw, save_figures
from .run_checks import check_run
from .run_document import run_document
from .run_records import is_run_directory, metrics_csv, read_run
from .study_document import study_document, study_view
from .study_figures import Shown
from .viewer_data import ViewedArm, viewer_data

PRIVILEGED = (
    "This page shows PRIVILEGED text: what only a teacher may read, plans and facts of the worlds among it. Do not let "
    "it reach a student, its training data, or anyone who measures one."
)


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a report, and what should be said about it."""

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def write_report(
    path: str | Path,
    *,
    output: str | Path | None = None,
    episodes: int = EPISODES,
    with_privileged: bool = False,
    images: bool = True,
) -> Written:
    """Write the report of a study or of a run: the page, Markdown, its metrics as CSV, images.

    The CSV is `results.csv` for a study, a line per arm, seed and iteration, and `metrics.csv` for a run, a line per
    iteration.

    Args:
        path: Directory of a study (with `study.json`) or of a run (with `run.json`).
        output: The HTML file; the others go beside it. None is `report.html` in the directory.
        episodes: Episodes in the viewer, per arm; 0 leaves the viewer out.
        with_privileged: Show the teacher's side beside them, where it was logged; the page says so.
        images: Write the figures as PNG, too, where matplotlib is installed.

    Raises:
        RunDirectoryError: The directory is neither, is damaged, or has no privileged log where one is asked for.
        StudyError: The study is damaged.
    """
    root = Path(path)
    notes: list[str] = []
    if (root / "study.json").is_file():
        view = study_view(load_study(root))
        document, arms = study_document(view), study_arms(view, episodes, with_privileged)
        sheet = ("results.csv", csv_text(view.study.results))
    elif is_run_directory(root):
        records = read_run(root)
        findings = check_run(root)
        notes += findings.sentences()
        document, arms = run_document(records, findings), [run_arm(root, episodes, with_privileged)]
        sheet = ("metrics.csv", metrics_csv(records))
    else:
        raise RunDirectoryError(
            f"{root}: expected the directory of a study (study.json in it) or of a run (run.json in it), found neither"
        )
    return _write(document, arms, sheet, Path(output or root / "report.html"), with_privileged, images, notes)


def run_arm(root: Path, episodes: int, with_privileged: bool) -> ViewedArm:
    """A run's episodes for the viewer."""
    chosen = load_episodes(root, episodes)
    known = load_privileged(root, chosen) if with_privileged else None
    return ViewedArm(str(read_run(root).config.get("method", "run")), 1, "", chosen, known)


def study_arms(view: Shown, episodes: int, with_privileged: bool) -> list[ViewedArm]:
    """The episodes of every arm, all of one seed, so that the same tasks can be compared across arms.

    Raises:
        RunDirectoryError: The teacher's side is asked for, and no arm has logged it.
    """
    arms, logged = [], False
    for result in one_seed(view.study):
        run = view.study.run_dir(result)
        chosen = load_episodes(run, episodes)
        has_log = with_privileged and (run / "privileged.jsonl").is_file()
        logged = logged or has_log
        known = load_privileged(run, chosen) if has_log else None
        note = f"seed {result.seed}"
        label, colour = view.label(result.arm), view.colours[result.arm]
        arms.append(ViewedArm(label, colour, note, chosen, known, stale_tasks(run, result)))
    if with_privileged and not logged:
        raise RunDirectoryError(
            f"{view.study.path}: no run has a privileged.jsonl: the teacher's side is logged only with log_privileged "
            "(sdar study run DIR --set log_privileged=true); leave out --with-privileged"
        )
    return arms


def one_seed(study: Study) -> list[Result]:
    """A result per arm: of the seed that most arms have finished, else the arm's first."""
    seeds = [result.seed for result in study.results]
    common = max(sorted(set(seeds)), key=seeds.count, default=None)
    found: dict[str, Result] = {}
    for result in study.results:
        if result.arm not in found or result.seed == common:
            found[result.arm] = result
    return [found[arm.key] for arm in study.plan.arms if arm.key in found]


def stale_tasks(run: Path, result: Result) -> dict[str, bool]:
    """Whether a skill statement about a test task is wrong, by task: episodes without a teacher do not say so."""
    path = run / "panels" / "test.json"
    if result.after is None or not path.is_file():
        return {}
    tasks = EvaluationSet.load(path).task_ids
    pairs = zip(tasks, result.after.claims, strict=False)
    return {str(task): claim == "s" for task, claim in pairs if claim in "fs"}


def _write(
    document: Document,
    arms: Sequence[ViewedArm],
    sheet: tuple[str, str],
    target: Path,
    with_privileged: bool,
    images: bool,
    notes: Sequence[str],
) -> Written:
    data = viewer_data(arms)
    viewer = None
    if data is not None:
        about = (
            "Every token of a completion is shaded by what the method computed for it. Which episodes are shown is "
            "fixed: the first tasks of the last evaluation, the same tasks before training, and training episodes "
            "spread over the iterations."
        )
        if data["left_out"]:
            about += f" {data['left_out']} of them are left out to keep this file small."
        viewer = Viewer(data, about, (PRIVILEGED,) if with_privileged else ())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render_page(document, viewer), encoding="utf-8", newline="\n")
    figures = figures_of(document)
    drawn = save_figures(figures, target.parent / "figures") if images and can_draw() else []
    markdown = target.with_suffix(".md")
    text = render_markdown(document, {path.stem for path in drawn})
    markdown.write_text(text, encoding="utf-8", newline="\n")
    table = target.with_name(sheet[0])
    table.write_text(sheet[1], encoding="utf-8", newline="\n")
    notes = [*notes, *([MISSING] if images and not drawn and figures else [])]
    if with_privileged and viewer is not None:
        notes.append(f"{target.name} shows privileged text: do not let it reach a student")
    return Written((target, markdown, table, *drawn), tuple(notes))
