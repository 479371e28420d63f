"""Scoring: equal to a plain forward pass, whatever the padding, the batch, the chunks or the temperature."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import gradients, largest_difference, random_views, tiny_model
from torch import Tensor

from agents.base import View
from trainers.forward import logprobs
from trainers.forward.logprobs import head_logprobs
from trainers.forward.passes import score_rows, score_views
from trainers.forward.root import PolicyModel

KINDS = ("qwen3", "qwen2", "gpt2")


def plainly(model: Any, view: View, temperature: float = 1.0) -> Tensor:
    """The same log-probs from the model's full logits, one sequence alone."""
    logits = model(input_ids=torch.tensor([view.ids])).logits[0].float() / temperature
    table = torch.log_softmax(logits, -1)
    return torch.stack([table[p - 1, view.ids[p]] for p in view.loss_positions])


def score(model: Any, views: list[View], **options: Any) -> logprobs.Scored:
    return score_views(PolicyModel(model), views, **{"temperature": 1.0, "pad_id": 0, "grad": False, **options})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.3])
def test_a_padded_batch_scores_each_row_as_a_plain_forward_pass_does_alone(kind: str, temperature: float) -> None:
    model, views = tiny_model(kind), random_views(6)
    scored = score(model, views, temperature=temperature)
    assert scored.mask_BT.sum(1).tolist() == [len(view.loss_positions) for view in views]
    for index, view in enumerate(views):
        expected = plainly(model, view, temperature)
        assert torch.allclose(scored.logprobs_BT[index, : len(expected)], expected, atol=2e-5)
        assert not scored.logprobs_BT[index, len(expected) :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_changes_nothing(kind: str) -> None:
    model, views = tiny_model(kind), random_views(5)
    assert torch.equal(score(model, views, pad_id=0).logprobs_BT, score(model, views, pad_id=9).logprobs_BT)


@pytest.mark.parametrize("kind", KINDS)
def test_right_padding_without_an_attention_mask_equals_right_padding_with_one(kind: str) -> None:
    model, views = tiny_model(kind), random_views(5)
    length = max(len(view.ids) for view in views)
    ids = torch.tensor([view.ids + [0] * (length - len(view.ids)) for view in views])
    mask = torch.tensor([[1] * len(view.ids) + [0] * (length - len(view.ids)) for view in views])
    table = torch.log_softmax(model(input_ids=ids, attention_mask=mask).logits, -1)
    ours = score(model, views).logprobs_BT
    for row, view in enumerate(views):
        masked = torch.stack([table[row, p - 1, view.ids[p]] for p in view.loss_positions])
        assert torch.allclose(ours[row, : len(masked)], masked, atol=1e-5)


def test_recomputing_activations_changes_no_gradient() -> None:
    model, views = tiny_model(), random_views(4)
    score(model, views, grad=True).logprobs_BT.sum().backward()
    plain = gradients(model)
    model.zero_grad(set_to_none=True)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    score(model.train(), views, grad=True).logprobs_BT.sum().backward()
    assert largest_difference(plain, gradients(model)) < 1e-6 * max(float(g.abs().max()) for g in plain)


def test_the_end_token_counts_although_it_is_the_padding_token() -> None:
    model, end = tiny_model(), 5
    closed = View([1, 2, 3, end], [2, 3])
    longer = View([1, 2, 3, 4, 5, 6, 7], [6])
    scored = score(model, [closed, longer], pad_id=end)
    assert scored.mask_BT[0].tolist() == [True, True]
    assert torch.allclose(scored.logprobs_BT[0], plainly(model, closed), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_and_in_a_batch_of_eight_scores_the_same(kind: str) -> None:
    model, views = tiny_model(kind), random_views(8)
    together = score(model, views).logprobs_BT
    for index, view in enumerate(views):
        alone = score(model, [view]).logprobs_BT[0]
        assert torch.allclose(together[index, : len(alone)], alone, atol=1e-5)


def test_a_teacher_that_reads_the_same_prompt_gives_the_same_log_prob_bit_for_bit() -> None:
    model, views = tiny_model(), random_views(4)
    copies = [View(list(view.ids), list(view.loss_positions)) for view in views]
    assert torch.equal(score(model, views).logprobs_BT, score(model, copies).logprobs_BT)


def test_a_teachers_longer_prompt_moves_positions_and_changes_what_is_said_of_the_same_tokens() -> None:
    model, view = tiny_model(), View([4, 5, 6, 7, 8, 9], [3, 5])
    hinted = View([20, 21, *view.ids[:4], 22, *view.ids[4:]], [5, 8])
    assert hinted.sampled_ids() == view.sampled_ids()
    scored = score(model, [view, hinted]).logprobs_BT
    assert torch.allclose(scored[1], plainly(model, hinted), atol=1e-5)
    assert (scored[0] - scored[1]).abs().max() > 1e-3


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.3])
def test_tokens_drawn_at_a_temperature_have_ratio_one_at_that_temperature_only(temperature: float) -> None:
    model = tiny_model()
    generator = torch.Generator().manual_seed(3)
    ids, drawn = [1, 2, 3], []
    with torch.no_grad():
        for _ in range(12):
            distribution = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1] / temperature, -1)
            token = int(torch.multinomial(distribution.exp(), 1, generator=generator))
            drawn.append(float(distribution[token]))
            ids.append(token)
    view = View(ids, list(range(3, 15)))
    ratio = torch.exp(score(model, [view], temperature=temperature).logprobs_BT[0] - torch.tensor(drawn))
    assert (ratio - 1).abs().max() < 1e-5
    other = torch.exp(score(model, [view], temperature=temperature + 0.4).logprobs_BT[0] - torch.tensor(drawn))
    assert (other - 1).abs().max() > 1e-2


@pytest.mark.parametrize("entropy", [False, True])
def test_chunks_of_the_head_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch, entropy: bool) -> None:
    monkeypatch.setattr(logprobs, "CHUNKED_VOCABULARY", 1)
    model, views = tiny_model(), random_views(6)

    def loss_and_gradients(chunk: int) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad(set_to_none=True)
        scored = score(model, views, chunk=chunk, grad=True, entropy=entropy)
        total = scored.logprobs_BT.square().sum()
        if scored.entropy_BT is not None:
            total = total + scored.entropy_BT.sum()
        total.backward()
        return total.detach(), gradients(model)

    whole, whole_gradients = loss_and_gradients(0)
    for chunk in (1, 7, 1000):
        cut, cut_gradients = loss_and_gradients(chunk)
        assert torch.allclose(whole, cut, rtol=1e-6)
        scale = max(float(g.abs().max()) for g in whole_gradients)
        assert largest_difference(whole_gradients, cut_gradients) < 1e-5 * scale


def test_chunks_keep_no_logits_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CHUNKED_VOCABULARY", 1)
    head = torch.nn.Linear(4, 50, bias=False)
    hidden, targets = torch.randn(12, 4, requires_grad=True), torch.arange(12)

    def largest_saved(chunk: int) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            head_logprobs(head, hidden, targets, temperature=1.0, chunk=chunk)
        return max(sizes)

    assert largest_saved(0) >= 12 * 50
    assert largest_saved(3) <= 50 * 4  # the head's own weight


def test_entropy_is_that_of_the_distribution_and_uniform_logits_give_its_maximum() -> None:
    model, views = tiny_model(), random_views(3)
    scored = score(model, views, entropy=True, temperature=0.8)
    assert scored.entropy_BT is not None
    view = views[0]
    table = torch.log_softmax(model(torch.tensor([view.ids])).logits[0] / 0.8, -1)
    expected = torch.stack([-(table[p - 1].exp() * table[p - 1]).sum() for p in view.loss_positions])
    assert torch.allclose(scored.entropy_BT[0, : len(expected)], expected, atol=1e-5)
    assert not scored.entropy_BT[~scored.mask_BT].any()
    flat = torch.nn.Linear(4, 37, bias=False)
    torch.nn.init.zeros_(flat.weight)
    entropy = head_logprobs(flat, torch.randn(2, 4), torch.tensor([0, 1]), temperature=1.0, entropy=True).entropy_N
    assert entropy is not None
    assert entropy.tolist() == pytest.approx([3.6109179, 3.6109179])


def test_a_forbidden_token_with_minus_infinite_logit_leaves_entropy_finite() -> None:
    head = torch.nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([0.0, 0.0, float("-inf")]))
    values, entropy, _ = head_logprobs(head, torch.ones(1, 2), torch.tensor([0]), temperature=1.0, entropy=True)
    assert entropy is not None
    assert values.item() == entropy.item() * -1 == pytest.approx(-0.6931472)


def test_gradients_flow_only_when_they_are_wanted() -> None:
    model, views = tiny_model(), random_views(2)
    assert not score(model, views).logprobs_BT.requires_grad
    assert score(model, views, grad=True).logprobs_BT.requires_grad
    with torch.no_grad():
        assert score(model, views, grad=True).logprobs_BT.requires_grad


def test_gradients_equal_those_of_a_plain_forward_pass() -> None:
    model, views = tiny_model(), random_views(4)
    model.zero_grad(set_to_none=True)
    score(model, views, grad=True).logprobs_BT.sum().backward()
    ours = gradients(model)
    model.zero_grad(set_to_none=True)
    sum(plainly(model, view).sum() for view in views).backward()
    scale = max(float(g.abs().max()) for g in ours)
    assert largest_difference(ours, gradients(model)) < 1e-5 * scale


def test_rows_without_loss_positions_give_an_empty_mask_and_zero_gradients() -> None:
    model = tiny_model()
    scored = score(model, [View([1, 2, 3], []), View([4, 5], [])], grad=True, entropy=True)
    assert scored.logprobs_BT.shape == (2, 0)
    scored.logprobs_BT.sum().backward()
    assert all(not g.any() for g in gradients(model))
    mixed = score(model, [View([1, 2, 3], []), View([4, 5], [1])])
    assert mixed.mask_BT.tolist() == [[False], [True]]


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_weights_still_give_float32_log_probs_that_sum_to_one(kind: str) -> None:
    model = tiny_model(kind).to(torch.bfloat16)
    views = [View([1, 2, token], [2]) for token in range(37)]
    scored = score(model, views)
    assert scored.logprobs_BT.dtype is torch.float32
    assert float(scored.logprobs_BT.exp().sum()) == pytest.approx(1.0, abs=2e-2)


def test_scoring_in_micro_batches_returns_each_views_own_log_probs_in_order() -> None:
    model, views = tiny_model(), [*random_views(9), View([1, 2], [])]
    lists = score_rows(PolicyModel(model), views, temperature=1.0, pad_id=0, token_budget=40)
    assert lists[9] == []
    for view, values in zip(views[:9], lists, strict=False):
        assert values == pytest.approx(plainly(model, view).tolist(), abs=2e-5)


def test_the_backbone_runs_once_and_the_head_sees_loss_positions_only() -> None:
    model, views = tiny_model(), random_views(5)
    calls: dict[str, list[tuple[int, ...]]] = {"backbone": [], "head": []}
    model.get_decoder().register_forward_hook(lambda m, i, o: calls["backbone"].append(()))
    model.get_output_embeddings().register_forward_hook(lambda m, i, o: calls["head"].append(tuple(o.shape)))
    score(model, views)
    assert len(calls["backbone"]) == 1
    assert calls["head"] == [(sum(len(view.loss_positions) for view in views), 37)]


@pytest.mark.parametrize(
    ("views", "options", "message"),
    [
        ([], {}, "at least one view"),
        ([View([1, 2], [0])], {}, "from 1 to 1, got 0 to 0"),
        ([View([1, 2], [2])], {}, "from 1 to 1, got 2 to 2"),
        ([View([1, 2], [1])], {"temperature": 0.0}, "temperature: expected above 0"),
    ],
)
def test_unusable_arguments_are_refused(views: list[View], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(tiny_model(), views, **options)


def test_models_that_cap_their_logits_are_refused_by_the_name_of_the_setting() -> None:
    model = tiny_model()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match="final_logit_softcapping=30"):
        score(model, random_views(1))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_log_probs_within_rounding() -> None:
    model, views = tiny_model(), random_views(8)
    here = score(model, views).logprobs_BT
    there = score(model.cuda(), views).logprobs_BT
    assert torch.allclose(here, there.cpu(), atol=1e-4)
    half = score(model.bfloat16(), views).logprobs_BT
    assert half.dtype is torch.float32
    assert torch.allclose(here, half.cpu(), atol=0.5)


def test_views_are_not_changed_by_scoring() -> None:
    views = random_views(3)
    before = [dataclasses.replace(view, ids=list(view.ids)) for view in views]
    score(tiny_model(), views)
    assert views == before
