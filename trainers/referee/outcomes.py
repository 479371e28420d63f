"""Outcomes that share a task or a run: how they vary together, exactly, as wins and losses.

An episode is won when a standard normal number, its latent difficulty, lies below ``h``, the normal quantile of the
success rate. The number is a sum of independent parts: of the task, of what the task is to one arm alone, of the run,
of the run on this task, and of the episode (a probit model with crossed random effects). Two outcomes correlate by the
parts that they share, and their covariance on the scale of wins and losses is a normal integral. So rates stay within
[0, 1] however large the spread, and every variance below is that of the model and no approximation to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

# Gauss-Legendre nodes on [0, 1]; 96 give ten digits wherever the two rates are not further apart than 0.9.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def outcome_covariance(p: float, q: float, shared: float) -> float:
    """Covariance of two outcomes (1 won, 0 lost) with success rates `p` and `q` whose latent difficulty correlates.

    ``P(both) - p q``, by R. L. Plackett's integral (1954) over the correlation, with ``r = sin(angle)``.

    Args:
        p: A success rate in (0, 1).
        q: Another.
        shared: The correlation r of the latent numbers, in [0, 1].
    """
    h, k = float(special.ndtri(p)), float(special.ndtri(q))
    angles = math.asin(min(max(shared, 0.0), 1.0)) * _NODES
    exponents = (h * h + k * k - 2 * h * k * np.sin(angles)) / (2 * np.cos(angles) ** 2)
    return float(math.asin(min(max(shared, 0.0), 1.0)) * (_WEIGHTS @ np.exp(-exponents)) / (2 * math.pi))


def latent_share(p: float, variance: float) -> float:
    """The latent correlation at which outcomes of rate `p` have the covariance `variance`.

    Raises:
        ValueError: More than ``p (1 - p)``, the variance of a single outcome.
    """
    most = p * (1 - p)
    if variance > most * (1 + 1e-9):
        raise ValueError(
            f"spread of outcomes: expected variances that sum to at most p(1 - p) = {most:.4f} at p = {p:g}, got "
            f"{variance:.4f}: no outcome of 0 and 1 varies more; give smaller deviations"
        )
    if variance <= 0:
        return 0.0
    if variance >= most * (1 - 1e-6):
        return 1.0
    return float(optimize.brentq(lambda share: outcome_covariance(p, p, share) - variance, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Spread:
    """What success rates differ by, as standard deviations on their own scale (0.1 is ten points).

    Attributes:
        task: Between tasks, the same for both arms.
        effect: Of the difference between the arms, from task to task.
        seed: Between runs of one arm, beyond what paired seeds share.
        residual: Of a run on single tasks, beyond all of these: what a run is good at by chance.
    """

    task: float
    effect: float
    seed: float
    residual: float

    def __post_init__(self) -> None:
        for name in ("task", "effect", "seed", "residual"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"spread of outcomes: expected a {name} deviation in [0, 1), got {value}")


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the latent variance, which sum to 1; `episode` is what is left to the single episode."""

    task: float
    effect: float
    seed: float
    residual: float

    @property
    def episode(self) -> float:
        """What neither task nor run accounts for."""
        return max(0.0, 1.0 - self.task - self.effect - self.seed - self.residual)


def shares_of(p: float, spread: Spread) -> Shares:
    """The latent shares that give outcomes of rate `p` these spreads.

    Two episodes of a run on a task vary together at least as much as the other parts make them on the latent scale, so
    a smaller `residual` than that counts as none.

    Raises:
        ValueError: The variances sum to more than ``p (1 - p)``.
    """
    if not 0 < p < 1:
        raise ValueError(f"spread of outcomes: expected a success rate between 0 and 1, got {p}")
    own = spread.task**2 + spread.effect**2 / 2
    task = latent_share(p, spread.task**2)
    effect = latent_share(p, own) - task
    seed = latent_share(p, spread.seed**2)
    together = latent_share(p, own + spread.seed**2 + spread.residual**2)
    shares = Shares(task, effect, seed, max(0.0, together - task - effect - seed))
    if task + effect + seed > 1 + 1e-9:
        raise ValueError(f"spread of outcomes: tasks and seeds leave nothing to chance at p = {p:g}: {spread}")
    return shares
