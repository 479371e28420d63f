"""`sdar report`: from a study's or a run's directory to `report.html`, `report.md` and `figures/*.png`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..run_directory import RunDirectoryError
from .document import Document
from .episodes import load_episodes, load_privileged
from .page import Viewer, render_page
from .run_document import run_document
from .run_records import is_run_directory, read_run
from .viewer_data import ViewedArm, viewer_data

EPISODES = 96  # per arm; with the tiny preset's short texts about 300 KB
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
) -> Written:
    """Write the report of a study or of a run.

    Args:
        path: Directory of a study (with `study.json`) or of a run (with `run.json`).
        output: The HTML file; the others go beside it. None is `report.html` in the directory.
        episodes: Episodes in the viewer, per arm; 0 leaves the viewer out.
        with_privileged: Show the teacher's side beside them, where it was logged; the page says so.

    Raises:
        RunDirectoryError: The directory is neither, is damaged, or has no privileged log where one is asked for.
    """
    root = Path(path)
    if not is_run_directory(root):
        raise RunDirectoryError(
            f"{root}: expected the directory of a study (study.json in it) or of a run (run.json in it), found neither"
        )
    run = read_run(root)
    document = run_document(run)
    chosen = load_episodes(root, episodes)
    arm = ViewedArm(
        label=str(run.config.get("method", "run")),
        colour=1,
        note="",
        episodes=chosen,
        privileged=load_privileged(root, chosen) if with_privileged else None,
    )
    return _write(document, [arm], Path(output or root / "report.html"), with_privileged)


def _write(document: Document, arms: Sequence[ViewedArm], target: Path, with_privileged: bool) -> Written:
    data = viewer_data(arms)
    viewer = None
    if data is not None:
        about = (
            "Every token of a completion is shaded by what the method computed for it. Which episodes is fixed: the "
            "first tasks of the last panel, the same tasks before training, and training episodes spread over the "
            "iterations."
        )
        if data["left_out"]:
            about += f" {data['left_out']} of them are left out to keep this file small."
        viewer = Viewer(data, about, (PRIVILEGED,) if with_privileged else ())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render_page(document, viewer), encoding="utf-8", newline="\n")
    return Written((target,))
