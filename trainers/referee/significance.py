"""Testing a table of differences between two arms, a row per seed and a column per task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def crossed(differences_XST: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, standard error and degrees of freedom where all seeds have the same tasks, both drawn from many.

    From the mean squares of a two-way table, ``error^2 = (MS_s + MS_t - MS_r) / (S T)`` with Satterthwaite's degrees of
    freedom (1946). Where sampling makes the sum smaller than ``MS_s`` or ``MS_t``, the larger of these takes its place.

    Args:
        differences_XST: Any number of tables, of at least two seeds and two tasks.
    """
    seeds, tasks = differences_XST.shape[-2:]
    mean_X = differences_XST.mean(axis=(-2, -1))
    by_seed_XS = differences_XST.mean(axis=-1) - mean_X[..., None]
    by_task_XT = differences_XST.mean(axis=-2) - mean_X[..., None]
    left_XST = differences_XST - mean_X[..., None, None] - by_seed_XS[..., None] - by_task_XT[..., None, :]
    seed_X = tasks * (by_seed_XS**2).sum(axis=-1) / (seeds - 1)
    task_X = seeds * (by_task_XT**2).sum(axis=-1) / (tasks - 1)
    rest_X = (left_XST**2).sum(axis=(-2, -1)) / ((seeds - 1) * (tasks - 1))
    total_X = np.maximum(seed_X + task_X - rest_X, np.maximum(seed_X, task_X))
    terms_X = seed_X**2 / (seeds - 1) + task_X**2 / (tasks - 1) + rest_X**2 / ((seeds - 1) * (tasks - 1))
    freedom_X = np.divide(total_X**2, terms_X, out=np.full_like(total_X, seeds - 1.0), where=terms_X > 0)
    return mean_X, np.sqrt(total_X / (seeds * tasks)), freedom_X


def by_rows(differences_XST: Floats) -> tuple[Floats, Floats, Floats]:
    """The same where every seed has its own tasks: the unit is the seed, as in a study's decision rule."""
    seeds = differences_XST.shape[-2]
    rows_XS = differences_XST.mean(axis=-1)
    error_X = rows_XS.std(axis=-1, ddof=1) / np.sqrt(seeds)
    return rows_XS.mean(axis=-1), error_X, np.full_like(error_X, seeds - 1.0)


def by_tasks(differences_XST: Floats) -> tuple[Floats, Floats, Floats]:
    """The same for one run per arm: the unit is the task, and the spread between runs does not show."""
    tasks = differences_XST.shape[-1]
    own_XT = differences_XST.mean(axis=-2)
    error_X = own_XT.std(axis=-1, ddof=1) / np.sqrt(tasks)
    return own_XT.mean(axis=-1), error_X, np.full_like(error_X, tasks - 1.0)


RULES = {"crossed": crossed, "seeds": by_rows, "tasks": by_tasks}
