"""Is this the server of the model that is trained? Compared by hashes of ids, and by log-probs after a given text.

Before anything is sampled: the tokenizers make the same ids of a text, and the server has room for the longest row.
After every change of weights: after several beginnings of that text the server finds the next token as likely as the
trained model does (its most likely tokens are compared, by the same path that sampling takes).
Once, at the first: the log-probs of a sampled completion are those of the distribution that it was drawn from, at a
temperature that is not 1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .client import GenerationServerError, Refused, ServerClient
from .protocol import BrokenAnswer, Wanted, completion_body, probe_body, read_completion, read_probe, seed_of

# Words, digits, space, signs, other scripts and an emoji: tokenizers that agree on these are taken for the same.
TEXT = (
    "Your task is to: put 2 hot apples in the fridge.\n\t<think>It's 12:45, so I  go to cabinet 10.</think> "
    '{"price": 9.99} naïve Straße Привет 你好 こんにちは 🙂 def f(x): return x**2 - 1'
)
PROBE_TOKENS = 64  # of the text, at most: they are read after every change of weights
BEGINNINGS = 8  # of these tokens, after which the next token is looked at
LIKELIEST = 16  # tokens that are compared after each; servers give 20 unless they are told otherwise
TEMPERATURE = 0.7  # of the completion by which it is found out whose log-probs come back
COMPLETION = 8
ENTROPY_VOCABULARY = 2_048  # up to this size the log-probs of the whole vocabulary are asked for with every token
# Differences in nats per token that are allowed between server and trainer, where none is given: the same weights in
# the same precision, and in 16 bits.
EXACT, ROUNDED = 1e-3, 0.1

# (model, ids, temperature) -> log-probs [len(ids), vocabulary] of the token after each id, in float32
Score = Callable[[Any, Sequence[int], float], torch.Tensor]
Reading = list[dict[int, float]]  # per beginning of the probe: log-probs of the server's likeliest tokens


@dataclass(frozen=True, slots=True)
class Apart:
    """The difference between two readings of the same tokens, in nats per token."""

    mean: float
    largest: float

    @classmethod
    def between(cls, one: Sequence[float], other: Sequence[float]) -> Apart:
        """Of two readings of equal length."""
        gaps = [abs(a - b) for a, b in zip(one, other, strict=True)]
        return cls(sum(gaps) / max(len(gaps), 1), max(gaps, default=0.0))


def next_logprobs(model: Any, ids: Sequence[int], temperature: float = 1.0) -> torch.Tensor:
    """Log-probs of the token after each id, by a causal LM: float32 ``[len(ids), vocabulary]`` on the CPU.

    Args:
        model: Of transformers.
        ids: At least one.
        temperature: Above 0.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0]
            return torch.log_softmax(logits.float() / temperature, dim=-1).cpu()
    finally:
        model.train(was_training)


def beginnings(ids: Sequence[int]) -> list[int]:
    """Lengths of the beginnings of the probe that are looked at."""
    return sorted({max(1, len(ids) * (number + 1) // BEGINNINGS) for number in range(BEGINNINGS)})


def compared(reading: Reading, logprobs: torch.Tensor, ids: Sequence[int]) -> Apart:
    """A server's reading of the probe against the log-probs of a model (`next_logprobs` of `ids`)."""
    pairs = [
        (value, float(logprobs[length - 1, token]))
        for length, row in zip(beginnings(ids), reading, strict=True)
        for token, value in row.items()
    ]
    return Apart.between([server for server, _ in pairs], [own for _, own in pairs])


def moved(before: Reading, now: Reading) -> Apart:
    """Two readings of one server against each other, over the tokens that both name; all differ where none are."""
    pairs = [
        (old[token], row[token]) for old, row in zip(before, now, strict=True) for token in old.keys() & row.keys()
    ]
    if not pairs:
        return Apart(math.inf, math.inf)
    return Apart.between([old for old, _ in pairs], [new for _, new in pairs])


def allowed_difference(model: Any) -> float:
    """Nats per token that server and trainer may differ by on average, by the precision of the model."""
    return EXACT if next(model.parameters()).dtype == torch.float32 else ROUNDED


def digest(ids: Sequence[int]) -> str:
    """A short hash of ids."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:12]


def require_tokenizer(client: ServerClient, served: str, encode: Callable[[str], list[int]]) -> list[int]:
    """Refuse a server that makes other ids of a text.

    Args:
        client: Asks the server.
        served: Its name of the model.
        encode: Text to ids, without special tokens around them.

    Returns:
        The ids that the probe of the weights scores.

    Raises:
        GenerationServerError: The ids differ, or it does not say.
    """
    own = [int(each) for each in encode(TEXT)]
    try:
        answer = client.post("/tokenize", {"model": served, "prompt": TEXT, "add_special_tokens": False})
    except Refused as refused:
        raise GenerationServerError(f"expected a server that tokenizes, as vLLM does: {refused}") from None
    theirs = answer.get("tokens") if isinstance(answer, dict) else None
    if theirs != own:
        count = f"{len(theirs)} ids, hash {digest(theirs)}" if isinstance(theirs, list) else repr(answer)[:80]
        raise GenerationServerError(
            f"{client.url} has another tokenizer than the model that is trained: of a probe text it makes {count}, and "
            f"expected are {len(own)} ids, hash {digest(own)}. Serve the folder of the model that is trained, or its "
            "name"
        )
    return own[:PROBE_TOKENS]


def require_room(client: ServerClient, card: dict[str, Any], max_context: int) -> None:
    """Refuse a server whose longest sequence is shorter than the longest that the run may ask for.

    Raises:
        GenerationServerError: It is.
    """
    room = card.get("max_model_len")
    if isinstance(room, int) and room < max_context:
        raise GenerationServerError(
            f"{client.url} takes sequences of up to {room} tokens, and the run needs {max_context} (prompt and "
            f"completion): start it with --max-model-len {max_context}, or lower max_prompt_length"
        )


def read_weights(client: ServerClient, name: str, ids: Sequence[int]) -> Reading:
    """What the server's weights say after each beginning of the probe.

    Raises:
        GenerationServerError: It does not say.
    """
    prompts = [list(ids[:length]) for length in beginnings(ids)]
    for number in range(client.tries):
        answer = client.post("/v1/completions", probe_body(name, prompts, LIKELIEST))
        try:
            return read_probe(answer, prompts)
        except BrokenAnswer as broken:
            if number + 1 == client.tries:
                raise GenerationServerError(f"{client.url} cannot be compared with the trainer: {broken}") from None
    raise AssertionError("a client has at least one try")


def require_processed_logprobs(
    client: ServerClient,
    name: str,
    ids: Sequence[int],
    score: Callable[[Sequence[int], float], torch.Tensor],
    far: float,
) -> None:
    """Refuse a server whose log-probs are not those of the distribution that it draws from.

    Args:
        client: Asks the server.
        name: Whom to ask for.
        ids: A prompt.
        score: Log-probs of the token after each id at a temperature, by the model that is trained.
        far: Nats per token that the two may differ by.

    Raises:
        GenerationServerError: They are others.
    """
    wanted = Wanted(tuple(ids), seed_of(("probe",)), TEMPERATURE, COMPLETION, (), ())
    answer = client.post("/v1/completions", {**completion_body(name, wanted), "ignore_eos": True})
    try:
        sample = read_completion(answer, wanted, 0)
    except BrokenAnswer as broken:
        raise GenerationServerError(f"{client.url}: its answers cannot be trained on: {broken}") from None
    own: dict[float, Apart] = {}
    for temperature in (TEMPERATURE, 1.0):
        rows = score([*ids, *sample.ids], temperature)[len(ids) - 1 : -1]
        own[temperature] = Apart.between(
            [float(row[i]) for row, i in zip(rows, sample.ids, strict=True)], sample.logprobs
        )
    if own[TEMPERATURE].mean > far:
        unchanged = own[1.0].mean <= far
        what = "before the temperature" if unchanged else "of another distribution"
        raise GenerationServerError(
            f"{client.url} returns log-probs {what}: sampled at temperature {TEMPERATURE}, {len(sample.ids)} tokens "
            f"differ from the trainer by {own[TEMPERATURE].mean:.4f} nats each. Start it with --logprobs-mode "
            "processed_logprobs"
        )


def tells_entropies(client: ServerClient, name: str, ids: Sequence[int], vocabulary: int) -> bool:
    """Whether log-probs of the whole vocabulary can be had with every token, so that entropies are known."""
    if vocabulary > ENTROPY_VOCABULARY:
        return False
    wanted = Wanted(tuple(ids), seed_of(("probe",)), 1.0, 1, (), (), entropies=True)
    try:
        read_completion(client.post("/v1/completions", completion_body(name, wanted)), wanted, 0)
    except (Refused, BrokenAnswer):
        return False
    return True
