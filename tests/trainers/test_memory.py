"""The estimate of memory and time: counted against real models, autograd and the allocator, and by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import changed, plan_of, random_rows
from transformers import AutoConfig, AutoModelForCausalLM

from agents.base import View
from trainers.config import SDARConfig
from trainers.engine import single
from trainers.engine.adapters import attach
from trainers.engine.hardware import Hardware, parse_size
from trainers.engine.host_memory import memory_is_scarce
from trainers.engine.memory import (
    LOGITS_LEARNING,
    LOGITS_LEARNING_ENTROPY,
    LOGITS_SCORING,
    estimate_memory,
    layer_activations,
)
from trainers.engine.model_shape import ModelShape, UnknownShapeError, built_in_shapes, shape_of
from trainers.engine.remedies import faster, smaller
from trainers.engine.run_time import Rates, estimate_time, forward_flops, known_rates
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.engine.workload import Adapters, Lengths, Work
from trainers.forward.logprobs import head_logprobs
from trainers.forward.passes import score_views

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "tie_word_embeddings": True,
}
KINDS = ("llama", "qwen2", "qwen3")
RATES = Rates("a card", forward_flops=1e12, update_flops=5e11, decode_flops=1e12, read_bytes=1e11, bytes=2)


def built(kind: str, **sizes: Any) -> tuple[ModelShape, Any]:
    """A random model, and the shape that its config.json states."""
    own = {**SIZES, **({"head_dim": 32} if kind == "qwen3" else {}), **sizes}
    config = AutoConfig.for_model(kind, **own)
    return ModelShape.of_config(json.loads(config.to_json_string(use_diff=False)), kind), (
        AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_the_model_has_them(kind: str, tied: bool) -> None:
    shape, model = built(kind, tie_word_embeddings=tied)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_built_in_shapes_have_the_published_numbers_of_parameters() -> None:
    published = {
        "qwen2.5-0.5b": 494_032_768,
        "qwen2.5-1.5b": 1_543_714_304,
        "qwen2.5-3b": 3_085_938_688,
        "qwen2.5-7b": 7_615_616_512,
        "qwen3-0.6b": 596_049_920,
        "smollm2-135m": 134_515_008,
    }
    assert {name: shape_of(name).parameters for name in published} == published


def saved_bytes(
    model: Any, rows: int, length: int, *, recompute: bool, bf16: bool, targets: tuple[str, ...] = ()
) -> int:
    """Bytes of the distinct memory that autograd keeps for the backward pass of one loss token per row."""
    config = SDARConfig(device="cpu", bf16=bf16, gradient_checkpointing=recompute)
    if targets:
        attach(model, rank=4, alpha=8.0, targets=targets, seed=0)
    engine = SingleProcess.of(config)
    root = engine.prepare(model)
    own = {parameter.untyped_storage().data_ptr() for parameter in root.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    views = [View(list(range(1, length + 1)), [length - 1])] * rows
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), engine.learning(root):
        score_views(root, views, temperature=1.0, pad_id=0, grad=True)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bf16", [False, True])
def test_a_layer_keeps_exactly_what_autograd_saves_of_it(kind: str, bf16: bool) -> None:
    shape, _ = built(kind)
    two, three = (
        saved_bytes(built(kind, num_hidden_layers=layers)[1], 3, 20, recompute=False, bf16=bf16) for layers in (2, 3)
    )
    assert three - two == 3 * 20 * layer_activations(shape, 2 if bf16 else 4)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "v_proj"), ("o_proj", "down_proj")])
def test_with_adapters_a_layer_keeps_what_they_and_the_way_back_to_them_need(
    kind: str, bf16: bool, targets: tuple[str, ...]
) -> None:
    pytest.importorskip("peft")
    shape, model = built(kind)
    adapters = Adapters.of(SDARConfig(lora=True, lora_rank=4, lora_targets=targets))
    assert adapters is not None
    two, three = (
        saved_bytes(built(kind, num_hidden_layers=layers)[1], 3, 20, recompute=False, bf16=bf16, targets=targets)
        for layers in (2, 3)
    )
    assert three - two == 3 * 20 * layer_activations(shape, 2 if bf16 else 4, adapters)
    attach(model, rank=4, alpha=8.0, targets=targets, seed=0)
    assert adapters.parameters(shape) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_layer_that_is_recomputed_keeps_only_its_input() -> None:
    two, three = (
        saved_bytes(built("qwen2", num_hidden_layers=layers)[1], 3, 20, recompute=True, bf16=False) for layers in (2, 3)
    )
    assert three - two == 3 * 20 * 48 * 4


def allocated_peak(work: Callable[[], object]) -> int:
    """The most bytes that `work` had allocated at once, by torch's memory profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    result = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [(each.start_ns(), each.nbytes()) for each in result.events() if each.name() == "[memory]"]
    total = top = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        total += size
        top = max(top, total)
    return top


@pytest.mark.parametrize(
    ("grad", "entropy", "copies"),
    [(True, False, LOGITS_LEARNING), (True, True, LOGITS_LEARNING_ENTROPY), (False, False, LOGITS_SCORING)],
)
def test_the_head_has_as_many_copies_of_its_logits_at_once_as_are_counted(
    grad: bool, entropy: bool, copies: float
) -> None:
    head = torch.nn.Linear(8, 5000, bias=False)
    hidden, targets = torch.randn(64, 8, requires_grad=grad), torch.randint(0, 5000, (64,))

    def work() -> None:
        with torch.set_grad_enabled(grad):
            output = head_logprobs(head, hidden, targets, temperature=0.7, entropy=entropy)
            if grad:
                total = output.logprobs_N.sum() + (output.entropy_N.sum() if output.entropy_N is not None else 0.0)
                total.backward()

    work()
    assert allocated_peak(work) / (64 * 5000 * 4) == pytest.approx(copies, abs=0.3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_checkpointing": True},
        {"micro_batch_tokens": 150},
        {"logprob_chunk": 64, "bf16": True},
        {"lora": True, "lora_rank": 8},
    ],
    ids=str,
)
def test_an_optimiser_step_allocates_what_is_estimated(changes: dict[str, Any]) -> None:
    """Nine rows of 70 tokens, 30 of them sampled: what comes on top of what is held throughout."""
    shape, model = built("qwen2", vocab_size=9000, num_hidden_layers=6, intermediate_size=320, hidden_size=128)
    config = SDARConfig(
        **{
            "device": "cpu",
            "gradient_checkpointing": False,
            "tasks_per_step": 3,
            "num_generations": 3,
            "max_turns": 1,
            "micro_batch_tokens": 10_000,
            "learning_rate": 1e-4,
            **changes,
        }
    )
    if config.lora:
        pytest.importorskip("peft")
        attach(model, rank=8, alpha=16.0, targets=config.lora_targets, seed=0)
    engine = SingleProcess.of(config)
    updater = Updater(engine.prepare(model), config, engine, pad_id=0)
    ids, positions = [token % 37 for token in range(70)], list(range(40, 70))
    numbers = [-3.0] * 30
    rows = [
        changed(
            row,
            student=View(ids, positions),
            behaviour_logprobs_T=numbers,
            advantages_T=numbers,
            reference_logprobs_T=numbers,
            turn_ids_T=[0] * 30,
            invalid_T=[False] * 30,
            teacher_logprobs_T={"teacher": numbers},
        )
        for row in random_rows(9)
    ]
    plan = plan_of("sdar", config)
    updater.optimiser_step(rows, plan)  # makes the optimiser's state, which is held from then on
    measured = allocated_peak(lambda: updater.optimiser_step(rows, plan))
    lengths = Lengths(prompt=40, completion=30, turns=1, context=0)
    estimate = estimate_memory(shape, config, on_gpu=False, lengths=lengths)
    own = {name: size for name, size in estimate.parts["update"].items() if name not in estimate.parts["scoring"]}
    own |= {name: estimate.parts["update"].get(name, 0) for name in ("activations", "logits")}
    assert sum(own.values()) == pytest.approx(measured, rel=0.1)


def test_what_a_run_holds_is_sixteen_bytes_a_parameter_in_bfloat16_and_twelve_without_a_reference_in_float32() -> None:
    shape = shape_of("qwen2.5-3b")
    held = ("weights", "reference", "masters", "optimiser")

    def sizes(**changes: Any) -> int:
        parts = estimate_memory(shape, SDARConfig(**changes), on_gpu=True).parts["scoring"]
        return sum(parts.get(name, 0) for name in held)

    assert sizes() == 16 * shape.parameters
    assert sizes(bf16=False, beta=0.0) == 12 * shape.parameters
    assert sizes(bf16=False, beta=0.0, optim="sgd") == 4 * shape.parameters


def test_rows_of_a_window_are_turns_and_those_of_a_transcript_are_episodes() -> None:
    config = SDARConfig(tasks_per_step=2, num_generations=4, micro_batch_tokens=1000, num_mini_batches=2)
    lengths = Lengths(prompt=80, completion=20, turns=5, context=0)
    assert Work.of(config, lengths, lengths.row) == Work(20, 10, 2, 20)
    talk = dataclasses.replace(config, context="transcript")
    assert Work.of(talk, lengths, lengths.row) == Work(4, 4, 1, 99)  # a row has no more than its tokens
    assert Work.of(dataclasses.replace(config, micro_batch_tokens=1), lengths, lengths.row).micro_rows == 1


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["qwen2.5-0.5b", "qwen3-4b", "smollm2-135m", "qwen2.5-7b"]),
    st.sampled_from([512, 4096, 16384]),
    st.booleans(),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from(["window", "transcript"]),
    st.integers(1, 40),
)
def test_every_remedy_lowers_the_peak_to_what_the_estimate_with_it_says(
    name: str, tokens: int, on_gpu: bool, beta: float, context: str, turns: int
) -> None:
    config = SDARConfig(micro_batch_tokens=tokens, beta=beta, context=context, max_turns=turns, device="cpu")
    shape = shape_of(name)
    estimate = estimate_memory(shape, config, on_gpu=on_gpu)
    assert estimate.least <= estimate.peak == max(sum(parts.values()) for parts in estimate.parts.values())
    before = estimate.peak
    for remedy in smaller(shape, config, on_gpu=on_gpu):
        config = dataclasses.replace(config, **remedy.changes)
        assert remedy.peak == estimate_memory(shape, config, on_gpu=on_gpu).peak < before
        before = remedy.peak


def test_a_shape_is_found_by_folder_by_name_and_by_the_hubs_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, "model_type": "llama", "num_hidden_layers": 7}))
    assert shape_of(tmp_path).layers == 7 and shape_of(str(tmp_path)).head_dim == 12
    assert shape_of("Qwen/Qwen2.5-3B-Instruct").hidden == shape_of("qwen2.5-3b").hidden == 2048
    assert shape_of("HuggingFaceTB/SmolLM2-135M-Instruct").layers == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "gpt2"}', "expected a model_type of llama, mistral, qwen2, qwen3, got gpt2"),
        ('{"model_type": "llama", "hidden_size": 8}', "expected the sizes of a model"),
        ("[1]", "expected a mapping, got list"),
        ("{", "not readable as JSON"),
    ],
)
def test_a_configuration_that_says_too_little_is_refused_with_what_was_expected(
    content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UnknownShapeError, match=message):
        shape_of(tmp_path)


def test_an_unknown_name_lists_the_built_in_ones() -> None:
    with pytest.raises(UnknownShapeError, match=f"built-in shapes {', '.join(built_in_shapes())}"):
        shape_of("nobody/nothing")


@pytest.mark.parametrize(("text", "size"), [("80GiB", 80 * 2**30), ("24 GB", 24 * 10**9), ("1.5g", 3 * 2**29)])
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["80", "GiB", "80XB", "-1GiB", "0GiB"])
def test_a_size_without_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="80GiB"):
        parse_size(text)


def test_operations_are_two_per_parameter_and_token_and_attention_reads_half_a_row() -> None:
    shape = ModelShape("x", 2, 8, 16, 2, 1, 4, 100, True)
    matrices = 8 * (2 * 8 + 2 * 4) + 3 * 8 * 16
    assert shape.layer_matrices == matrices
    # Scores and values: 2 products of 2 operations, over half of 10 columns, for 8 values of queries and 2 layers.
    assert forward_flops(shape, 30, 10, 5) == 2 * 2 * matrices * 30 + 4 * 8 * 2 * 30 * 5 + 2 * 800 * 5


def test_a_recomputed_update_takes_four_passes_a_kept_one_three_and_no_reference_saves_its_pass() -> None:
    shape = shape_of("qwen2.5-0.5b")

    def parts(**changes: Any) -> Any:
        return estimate_time(shape, SDARConfig(**changes), RATES, on_gpu=True).per_iteration

    kept, again = parts(gradient_checkpointing=False), parts(gradient_checkpointing=True)
    assert again["update"] == pytest.approx(4 / 3 * kept["update"])
    assert kept["update"] == pytest.approx(3 * kept["reference"] * RATES.forward_flops / RATES.update_flops)
    assert "reference" not in parts(beta=0.0) and "teacher" not in parts(method="grpo")
    assert list(parts(method="vanilla")) == ["rollout"]


def test_a_run_is_its_iterations_and_its_evaluations_and_faster_ones_are_computed() -> None:
    shape, config = shape_of("qwen2.5-0.5b"), SDARConfig(max_steps=7)
    estimate = estimate_time(shape, config, RATES, on_gpu=True)
    assert estimate.total == pytest.approx(7 * sum(estimate.per_iteration.values()) + estimate.evaluation)
    found = faster(shape, config, RATES, on_gpu=True)
    assert found and [each.seconds for each in found] == sorted(each.seconds for each in found)
    for remedy in found:
        changed_config = dataclasses.replace(config, **remedy.changes)
        assert remedy.seconds == estimate_time(shape, changed_config, RATES, on_gpu=True).total < estimate.total
    assert faster(shape, config, RATES, on_gpu=True, capacity=1) == []


def test_rates_are_read_from_a_drills_json_and_nothing_is_known_of_a_machine_that_was_not_measured(
    tmp_path: Path,
) -> None:
    path = tmp_path / "drill.json"
    path.write_text(json.dumps({"benchmark": "gpu", "figures": {"rates": dataclasses.asdict(RATES)}}))
    assert Rates.read(path) == RATES
    path.write_text(json.dumps({"rates": {**dataclasses.asdict(RATES), "read_bytes": 0}}))
    with pytest.raises(ValueError, match="rates above 0"):
        Rates.read(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"expected the JSON of `python -m benchmarks\.gpu`"):
        Rates.read(path)
    assert known_rates("a card that nobody has", size=2) is None and known_rates(None, size=2) is None


def test_memory_is_scarce_where_sixteen_bytes_a_parameter_are_a_quarter_of_it() -> None:
    assert memory_is_scarce(135_000_000, 8 * 10**9)  # 2.16 GB
    assert not memory_is_scarce(135_000_000, 24 * 10**9)
    assert memory_is_scarce(494_000_000, 24 * 10**9)  # 7.9 GB
    assert not memory_is_scarce(200_000, 10**9)


@pytest.mark.parametrize(("bytes_a_parameter", "gives_back"), [(63.9, True), (64.1, False)])
def test_freed_blocks_go_back_only_where_memory_is_scarce_since_that_costs_speed(
    monkeypatch: pytest.MonkeyPatch, bytes_a_parameter: float, gives_back: bool
) -> None:
    shape, model = built("llama")
    called = []
    monkeypatch.setattr(single, "give_freed_blocks_back", lambda: called.append(True))
    monkeypatch.setattr(single, "host_bytes", lambda: int(shape.parameters * bytes_a_parameter))
    SingleProcess.of(SDARConfig(device="cpu")).prepare(model)
    assert bool(called) is gives_back


def test_hardware_says_what_it_is() -> None:
    assert str(Hardware(None, True, 80 * 2**30)) == "a GPU with 80.0 GiB"
    assert str(Hardware("X", False, 2**30)) == "X with 1.0 GiB"
