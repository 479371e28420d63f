"""What decoding keeps per row on the model's device, so that a step needs nothing from the host.

A step feeds each row's last token, draws the next and notes it. All shapes are fixed, all writes in place: a step over
the same rows can be captured in a CUDA graph. The host reads which rows are done when it likes; a row that is done goes
on computing, and changes nothing that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch

from .draws import draw

NextLogits = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]  # tokens, positions, reach -> logits


@dataclass(slots=True)
class DecodeState:
    """Tensors with a row per row of the cache.

    Attributes:
        tokens: The last sampled token, not fed yet.
        lengths: Tokens fed so far: the next one's position.
        steps: Tokens sampled for the present request.
        limits: Tokens it may have.
        alive: Whether it goes on.
        temperatures: 1 where greedy.
        greedy: Whether the most likely token is taken.
        uniforms: ``[rows, steps + 1]`` fp64.
        ids: Sampled so far, ``[rows, steps + 1]``; beyond `steps` rubbish. `logprobs` and `entropies` likewise, fp32.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    steps: torch.Tensor
    limits: torch.Tensor
    alive: torch.Tensor
    temperatures: torch.Tensor
    greedy: torch.Tensor
    uniforms: torch.Tensor
    ids: torch.Tensor
    logprobs: torch.Tensor
    entropies: torch.Tensor

    @classmethod
    def empty(cls, rows: int, steps: int, device: torch.device) -> DecodeState:
        """No row alive; room for `steps` tokens."""

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            tokens=zeros(rows),
            lengths=zeros(rows),
            steps=zeros(rows),
            limits=zeros(rows),
            alive=zeros(rows, dtype=torch.bool),
            temperatures=torch.ones(rows, device=device),
            greedy=zeros(rows, dtype=torch.bool),
            uniforms=zeros(rows, steps + 1, dtype=torch.float64),
            ids=zeros(rows, steps + 1),
            logprobs=zeros(rows, steps + 1, dtype=torch.float32),
            entropies=zeros(rows, steps + 1, dtype=torch.float32),
        )

    def grown(self, rows: int) -> DecodeState:
        """A copy with more rows."""
        result = DecodeState.empty(rows, self.ids.shape[1] - 1, self.ids.device)
        for field in fields(self):
            mine: torch.Tensor = getattr(self, field.name)
            getattr(result, field.name)[: len(mine)] = mine
        return result

    def first(self, rows: int) -> DecodeState:
        """The first rows, sharing memory."""
        return DecodeState(*(getattr(self, field.name)[:rows] for field in fields(self)))

    def picked(self, rows: torch.Tensor) -> DecodeState:
        """A copy of some rows."""
        return DecodeState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def store(self, rows: torch.Tensor, picked: DecodeState) -> None:
        """Write rows back."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(picked, field.name)

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Rows change places."""
        source = torch.tensor(list(sources), device=self.ids.device)
        self.store(torch.tensor(list(targets), device=self.ids.device), self.picked(source))

    def note(self, logits: torch.Tensor, ends: torch.Tensor, *, any_greedy: bool) -> None:
        """Draw a token per row and note it.

        Args:
            logits: ``[rows, vocabulary]``.
            ends: ``[vocabulary]``: whether a token ends a completion.
            any_greedy: Whether a row may be greedy.
        """
        at = self.steps[:, None]
        uniforms = self.uniforms.gather(1, at)[:, 0]
        tokens, logprobs, entropies = draw(logits, self.temperatures, self.greedy if any_greedy else None, uniforms)
        # Rows that are done write beyond what they have.
        self.ids.scatter_(1, at, tokens[:, None])
        self.logprobs.scatter_(1, at, logprobs[:, None])
        self.entropies.scatter_(1, at, entropies[:, None])
        self.tokens.copy_(tokens)
        self.steps.add_(self.alive)
        self.alive.logical_and_(ends[tokens].logical_or_(self.steps >= self.limits).logical_not_())

    def note_ahead(
        self, logits: torch.Tensor, fed: torch.Tensor, ends: torch.Tensor, *, any_greedy: bool
    ) -> torch.Tensor:
        """Draw the tokens after a fed token and after the guesses behind it, and keep those that are right.

        A draw depends on its uniform and on the tokens before it. So the draw after the fed token counts; if it is the
        first guess, the draw after that one counts, and so on: what is kept is what single steps would have drawn.

        Args:
            logits: ``[rows, width, vocabulary]`` after each fed token.
            fed: ``[rows, width]``: the last sampled token, then guesses; negative where a row has no more.
            ends: As in `note`.
            any_greedy: As in `note`.

        Returns:
            The tokens drawn, ``[rows, width]``; those that count are said by how `steps` has grown.
        """
        rows, width = fed.shape
        offsets = torch.arange(width, device=fed.device)
        at = (self.steps[:, None] + offsets).clamp(max=self.ids.shape[1] - 1)
        greedy = self.greedy[:, None].expand(-1, width).flatten() if any_greedy else None
        drawn = draw(
            logits.flatten(0, 1),
            self.temperatures[:, None].expand(-1, width).flatten(),
            greedy,
            self.uniforms.gather(1, at).flatten(),
        )
        tokens, logprobs, entropies = (values.view(rows, width) for values in drawn)
        self.ids.scatter_(1, at, tokens)
        self.logprobs.scatter_(1, at, logprobs)
        self.entropies.scatter_(1, at, entropies)
        # How many draws count: up to the first that is not the next guess, that ends the completion, or is the last.
        goes_on = (tokens[:, :-1] == fed[:, 1:]) & ~ends[tokens[:, :-1]]
        count = 1 + goes_on.long().cumprod(1).sum(1)
        count = torch.minimum(count, self.limits - self.steps) * self.alive
        self.steps.add_(count)
        self.lengths.add_(count)
        self.tokens.copy_(tokens.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0])
        self.alive.logical_and_(ends[self.tokens].logical_or_(self.steps >= self.limits).logical_not_())
        return tokens

    def step(self, next_logits: NextLogits, reach: int, ends: torch.Tensor, *, any_greedy: bool) -> None:
        """Feed each row's last token and draw the next.

        Args:
            next_logits: Feeds tokens ``[rows]`` at positions ``[rows]`` over so many columns; returns logits.
            reach: Columns that are looked at.
            ends: As in `note`.
            any_greedy: As in `note`.
        """
        logits = next_logits(self.tokens, self.lengths, reach)
        self.lengths.add_(self.alive)
        self.note(logits, ends, any_greedy=any_greedy)
