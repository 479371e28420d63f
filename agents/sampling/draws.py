"""Drawing tokens from logits by inverse CDF, with counted uniforms: token i of a request takes the i-th of its key."""

from __future__ import annotations

import torch

_FLAT = 8192  # vocabulary up to which one cumulative sum is cheapest
_BLOCK = 1024  # tokens per block of a larger one
_UNDER = 1 - 1e-12  # keeps a target strictly below the total


def draw(
    logits: torch.Tensor,
    temperatures: torch.Tensor,
    greedy: torch.Tensor | None,
    uniforms: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw a token per row by inverse CDF.

    Args:
        logits: ``[rows, vocabulary]`` in any precision.
        temperatures: ``[rows]``, positive.
        greedy: ``[rows]``: take the most likely token instead; None where no row is greedy.
        uniforms: ``[rows]`` in [0, 1), fp64.

    Returns:
        Tokens, their log-probs (fp32), and the distributions' entropies, each ``[rows]``. The log-prob is NaN in a row
        whose logits hold NaN or infinity, or nothing but minus infinity.
    """
    all_logprobs = torch.log_softmax(logits.float() / temperatures[:, None], dim=-1)
    probabilities = all_logprobs.exp()
    # Of logits that are not finite no token can be drawn: the sum is then never reached. The last id stands in, with a
    # log-prob of NaN, by which whoever reads the sample knows (`base.require_finite`); nothing is asked of the device.
    tokens = _inverse_cdf(probabilities, uniforms).clamp(max=logits.shape[1] - 1)
    if greedy is not None:
        tokens = torch.where(greedy, all_logprobs.argmax(-1), tokens)
    logprobs = all_logprobs.gather(1, tokens[:, None])[:, 0]
    if logits.shape[1] <= _FLAT:
        entropies = torch.special.entr(probabilities).sum(-1)
    else:
        # In place, since a tensor of rows x vocabulary counts; a finite number for minus infinity, times 0.
        entropies = -all_logprobs.clamp_(min=-1e30).mul_(probabilities).sum(-1)
    return tokens, logprobs, entropies


def _inverse_cdf(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The first token of each row whose cumulative probability exceeds the uniform's share of the total.

    Sums are fp64, and the target lies strictly below the total: the token found always has a positive probability. A
    large vocabulary is summed by blocks, and only the block that holds the token is looked at token by token; so
    nothing of rows x vocabulary is held in fp64. The same token is found, but for targets within fp64's rounding
    (1e-15) of a boundary.

    Args:
        probabilities: ``[rows, vocabulary]``, fp32.
        uniforms: ``[rows]``, fp64.
    """
    rows, vocabulary = probabilities.shape
    if vocabulary <= _FLAT:
        sums = probabilities.cumsum(-1, dtype=torch.float64)
        targets = uniforms.clamp(max=_UNDER) * sums[:, -1]
        return torch.searchsorted(sums, targets[:, None], right=True)[:, 0]
    # Sums of blocks; the last may be short.
    whole = vocabulary // _BLOCK * _BLOCK
    blocks = probabilities[:, :whole].unflatten(1, (-1, _BLOCK)).sum(-1, dtype=torch.float64)
    rest = probabilities[:, whole:].sum(-1, keepdim=True, dtype=torch.float64)
    above = torch.cat([blocks, rest], dim=1).cumsum(1)
    reached = uniforms.clamp(max=_UNDER) * above[:, -1]
    block = torch.searchsorted(above, reached[:, None], right=True)
    below = torch.cat([above.new_zeros(rows, 1), above], dim=1).gather(1, block)
    # Within the block: what is still to be reached, kept strictly below the block's own sum.
    columns = block * _BLOCK + torch.arange(_BLOCK, device=probabilities.device)
    inside = probabilities.gather(1, columns.clamp(max=vocabulary - 1)).double()
    inside = inside.masked_fill(columns >= vocabulary, 0.0).cumsum(1)
    left = torch.minimum(reached[:, None] - below, inside[:, -1:] * _UNDER)
    within = torch.searchsorted(inside, left, right=True)
    return (block * _BLOCK + within)[:, 0]
