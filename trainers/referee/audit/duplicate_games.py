"""An evaluation set of "128" that holds about 83 distinct games."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from sdar_envs.randomness import counted_generator

from ..outcomes import latent_share
from .item import AuditItem, Figure, KeyPart, Thread
from .moving_sets import BETWEEN_TASKS, EPISODES, RATE
from .threads import SDAR_58

# ALFWorld's games: valid_seen 140, valid_unseen 134.
SEEN, UNSEEN, SETS = 140, 134, 2_000


def first_games(games: int, workers: int, generator: np.random.Generator) -> np.ndarray:
    """The first game of each worker, whose stream of games is shuffled by itself: ``[workers]``."""
    return np.array([generator.permutation(games)[0] for _ in range(workers)])


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """Distinct games, and how far such a rate is from that of all games."""
    generator = counted_generator("audit", "duplicate games", key)
    distinct = {
        games: float(np.mean([len(set(first_games(games, EPISODES, generator).tolist())) for _ in range(200)]))
        for games in (SEEN, UNSEEN)
    }
    share = latent_share(RATE, BETWEEN_TASKS)
    latent = generator.standard_normal((SETS, UNSEEN))
    chances = special.ndtr((special.ndtri(RATE) - math.sqrt(share) * latent) / math.sqrt(1 - share))
    played = generator.integers(0, UNSEEN, size=(SETS, EPISODES))
    drawn = generator.random((SETS, EPISODES)) < np.take_along_axis(chances, played, axis=1)
    whole = generator.random((SETS, UNSEEN)) < chances
    truth = chances.mean(axis=1)
    miss = {
        name: 100 * float(np.quantile(np.abs(wins.mean(axis=1) - truth), 0.95))
        for name, wins in (("drawn", drawn), ("whole", whole))
    }
    return (
        Figure("distinct games in a set of 128, valid_unseen", distinct[UNSEEN], float(UNSEEN), "games"),
        Figure("distinct games in a set of 128, valid_seen", distinct[SEEN], float(SEEN), "games"),
        Figure("between the rate and that of all 134 games (95 % of sets)", miss["drawn"], miss["whole"], "points"),
    )


ITEM = AuditItem(
    name="duplicate-games",
    title='"128" games are about 83',
    where="SDAR's ALFWorld workers, and the copies made of them",
    explanation=(
        "128 workers each shuffle the 134 (or 140) games by themselves and play the first of their stream. Nothing "
        "keeps two from playing the same one, so 128 episodes are of about 83 games, some four times and fifty not at "
        "all. Simulated for a policy of 80 %, half of an outcome's variance between games: how far the rate of such a "
        "set is from the policy's rate over all 134 games, beside that of playing each game once."
    ),
    fixed="Tasks are enumerable: an evaluation set lists its tasks, each once, and all 134 or 140 where they are few.",
    threads=(
        SDAR_58,
        Thread("alfworld #98: 132 of the 134 games load", "https://github.com/alfworld/alfworld/issues/98"),
    ),
    measure=measure,
)
