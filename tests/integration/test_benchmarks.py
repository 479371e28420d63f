"""Every benchmark runs at a tiny size and prints one JSON object with its figures; nothing here looks at how fast."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Qwen3's wording of tools in short: a system part from the tools, and tool responses inside a user turn.
TOOL_TEMPLATE = (
    "{%- if tools -%}{{- '<|im_start|>system\\n# Tools\\n<tools>' -}}"
    "{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}"
    "{{- '\\n</tools><|im_end|>\\n' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'tool' -%}"
    "{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' -}}"
    "{%- else -%}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    # Benchmarks are part of the checkout, not of the installed packages.
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def printed_by(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(module: str, *words: object) -> dict[str, Any]:
        pytest.importorskip("torch")
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        importlib.import_module(f"benchmarks.{module}").main()
        output: dict[str, Any] = json.loads(capsys.readouterr().out)
        return output

    return run


@pytest.fixture(scope="module")
def peer_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The common model as TRL's program builds it, but unlearned: every other id ends a completion."""
    pytest.importorskip("torch")
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.countdown import Rooms
        from benchmarks.peer_trl import build_model, build_tokenizer
        from benchmarks.peer_workload import tools_of
    finally:
        sys.path.remove(str(ROOT))
    tokenizer = build_tokenizer(tools_of(Rooms())[0], TOOL_TEMPLATE)
    model = build_model(tokenizer)
    model.generation_config.eos_token_id = list(range(0, model.config.vocab_size, 2))
    folder = tmp_path_factory.mktemp("peer") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def workload() -> ModuleType:
    return importlib.import_module("benchmarks.peer_workload")


@pytest.fixture
def peer() -> ModuleType:
    return importlib.import_module("benchmarks.peer")


# What each prints.


def test_training_reports_rates_shares_and_the_cost_of_sdar_over_grpo(
    printed_by: Callable[..., dict[str, Any]],
) -> None:
    sizes = ("--tasks-per-step", 1, "--num-generations", 2, "--horizon", 2, "--repeats", 1)
    printed = printed_by("training", "--model", "random", *sizes, "--json")
    assert printed["benchmark"] == "training" and printed["machine"]["threads"] == 1
    figures = printed["figures"]
    assert figures["episodes_per_step"] == 2
    assert figures["over_first"]["grpo"] == 1.0 and figures["over_first"]["sdar"] > 0
    grpo, sdar = figures["methods"]["grpo"], figures["methods"]["sdar"]
    assert grpo["sampled_tokens_per_step"] == sdar["sampled_tokens_per_step"] > 0  # the same episodes
    assert sdar["cpu_seconds"]["teacher"] > grpo["cpu_seconds"]["teacher"]
    for entry in (grpo, sdar):
        assert list(entry["share"]) == ["rollout", "reference", "teacher", "update", "rest"]
        assert sum(entry["share"].values()) == pytest.approx(1.0)
        assert entry["trained_tokens_per_cpu_second"] > entry["sampled_tokens_per_cpu_second"] > 0


def test_methods_reports_the_cost_of_rows_over_grpo_and_grpos_own_rate(
    printed_by: Callable[..., dict[str, Any]],
) -> None:
    size = ("--tasks-per-step", 1, "--num-generations", 2, "--horizon", 2, "--repeats", 1)
    rows = ["grpo+opsd", "rlsd", "grpo+full", "skill-grpo"]
    figures = printed_by("methods", "--model", "random", *size, "--methods", *rows, "--json")["figures"]
    assert figures["grpo"]["sampled_tokens_per_cpu_second"] > 0
    assert list(figures["methods"]) == rows
    teacher = {name: entry["cpu_seconds"]["teacher"] for name, entry in figures["methods"].items()}
    assert min(teacher["rlsd"], teacher["grpo+full"]) > 10 * teacher["grpo+opsd"]  # which reads no teacher
    assert all(entry["over_grpo"] > 0 for entry in figures["methods"].values())
    assert all(figures["methods"][name]["same_episodes"] for name in rows[:3])  # the fourth acts under another prompt


def test_scoring_reports_every_budget(printed_by: Callable[..., dict[str, Any]]) -> None:
    printed = printed_by(
        "scoring", "--rows", 4, "--tokens", 60, "--repeats", 1, "--micro-batch-tokens", 128, 512, "--json"
    )
    budgets = printed["figures"]["budgets"]
    assert [entry["micro_batch_tokens"] for entry in budgets] == [128, 512]
    assert all(set(entry["cpu_seconds"]) == {"teacher", "reference", "update grpo", "update sdar"} for entry in budgets)


def test_bfloat16_is_compared_with_float32_for_each_piece_of_work(
    printed_by: Callable[..., dict[str, Any]], peer_model: Path
) -> None:
    size = ("--rows", 3, "--tokens", 40, "--micro-batch-tokens", 64, "--sizes", 8, 3, 2, "--repeats", 1)
    figures = printed_by("bfloat16", "--model", peer_model, *size, "--json")["figures"]
    assert list(figures) == ["score", "forward and backward", "sample", "warm-start step"]
    for found in figures.values():
        assert found["tokens"] > 0
        assert found["ratio"] == pytest.approx(found["bfloat16"] / found["float32"])


def test_both_precisions_read_and_clone_the_same_rows_up_to_rounding(peer_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    from benchmarks.bfloat16 import works_of

    model = AutoModelForCausalLM.from_pretrained(peer_model).float().eval()
    size: dict[str, Any] = {"rows": 3, "tokens": 40, "budget": 64, "sizes": (8, 3, 2)}
    exact, rounded = (works_of(model, name, **size)[0] for name in ("float32", "bfloat16"))
    scores: list[Any] = [works["score"]() for works in (exact, rounded)]
    for own, other in zip(*scores, strict=True):
        assert own != other and other == pytest.approx(own, rel=0.05)
    losses = [works["warm-start step"]() for works in (exact, rounded)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


def test_weight_layout_reports_each_piece_of_work_in_both_orders(
    printed_by: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 64}
    Qwen3ForCausalLM(Qwen3Config(vocab_size=99, hidden_size=128, intermediate_size=512, **shape)).save_pretrained(
        tmp_path
    )
    size = ("--rows", 1, 2, "--tokens", 20, "--micro-batch-tokens", 64, "--sizes", 8, 3, 2, "--repeats", 1)
    figures = printed_by("weight_layout", "--model", tmp_path, *size, "--json")["figures"]
    assert figures["weights"] == 3, "gate, up and down are large enough"
    assert list(figures["works"]) == ["sample, 1 together", "sample, 2 together", "score", "forward and backward"]
    for found in figures["works"].values():
        assert found["ratio"] == pytest.approx(found["by input"] / found["as loaded"])


def test_muon_reports_a_step_of_a_layer_in_both_precisions(printed_by: Callable[..., dict[str, Any]]) -> None:
    figures = printed_by("muon", "--widths", 8, 16, "--repeats", 1, "--json")["figures"]
    assert list(figures) == ["8", "16"]
    for found in figures.values():
        assert found["ratio"] == pytest.approx(found["bfloat16_ms"] / found["float32_ms"])


def test_the_house_reports_steps_resets_and_plans(printed_by: Callable[..., dict[str, Any]]) -> None:
    figures = printed_by("household_env", "--size", "small", "--steps", 30, "--json")["figures"]
    modes = [f"{rooms}, {side} privileged" for rooms in ("all rooms", "kitchens") for side in ("with", "without")]
    assert list(figures) == ["size", *modes, "plans in kitchens"]
    assert all(figures[mode]["steps_per_second"] > 0 and figures[mode]["reset_ms"] > 0 for mode in modes)


def test_the_searchers_report_what_knowledge_is_worth_at_each_horizon(
    printed_by: Callable[..., dict[str, Any]],
) -> None:
    figures = printed_by("household_searchers", "--sizes", "small", "--worlds", 1, "--tasks", 12, "--json")["figures"]
    assert [(row["size"], row["instruction"]) for row in figures["results"]] == [("small", "named"), ("small", "habit")]
    for row in figures["results"]:
        told = row["by_horizon"][str(row["default_horizon"])]
        players = ["nothing", "generic", "1,500 seen", "a quarter corrupted", "true", "generic + true"]
        assert list(told) == players
        assert told["true"]["all"] >= told["nothing"]["all"]
        assert told["generic + true"]["all"] >= told["generic"]["all"]
        assert set(told["nothing"]) == {"place", "two", "light", "clean", "heat", "cool", "all"}


def test_the_engine_reports_itself_where_textworld_is_not_installed(
    printed_by: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fast_downward" else find_spec(name))
    results = printed_by("household_engine", "--games", 1, "--steps", 10, "--json")["figures"]["results"]
    assert results["own rules"]["native"]["steps_per_second"] > 0
    assert all("ratio" not in engines for engines in results.values())


@pytest.mark.slow
def test_the_engine_reports_its_ratio_to_textworlds(printed_by: Callable[..., dict[str, Any]]) -> None:
    pytest.importorskip("fast_downward")
    printed = printed_by("household_engine", "--games", 1, "--steps", 10, "--reference-steps", 1, "--json")
    assert set(printed["figures"]["results"]["own rules"]["ratio"]) == {"step", "reset", "first_reset"}


def test_our_side_of_the_comparison_with_trl_reports_trls_figures(
    printed_by: Callable[..., dict[str, Any]], peer_model: Path
) -> None:
    figures = printed_by("peer_workload", "--model", peer_model, "--steps", 3)["figures"]
    assert figures["steps_measured"] == 1 and figures["rollouts_per_step"] == 8
    assert figures["logp_diff_max"] < 1e-4
    assert (
        figures["real_tokens_in_loss_forward"]
        == figures["first_prompt_tokens"] * 8 + figures["sampled_tokens_per_step"]
    )
    assert figures["sampled_tok_per_cpu_s_end_to_end"] > 0


@pytest.mark.slow
def test_a_trainer_compared_with_itself_did_the_same_work(
    printed_by: Callable[..., dict[str, Any]], peer_model: Path, tmp_path: Path
) -> None:
    script = tmp_path / "itself.py"
    script.write_text(
        "import contextlib, io, json, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from benchmarks import peer_workload\n"
        "sys.argv[sys.argv.index('--load-model')] = '--model'\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    peer_workload.main()\n"
        "print(json.dumps(json.loads(out.getvalue())['figures']))\n",
        encoding="utf-8",
    )
    words = ("--trl-python", sys.executable, "--peer-script", script, "--model", peer_model)
    figures = printed_by("peer", *words, "--rounds", 2, "--steps", 3, "--json")["figures"]
    assert figures["ours"]["sampled_tokens_per_step"] == figures["trl"]["sampled_tokens_per_step"] > 0
    assert len(figures["ratios"]) == 2 and figures["ratio"] > 0


# What makes the comparison with TRL a fair one.


def test_the_prompts_are_the_very_ids_of_the_template_with_tools(workload: ModuleType, peer_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(peer_model)
    first, transcript = workload.check_rendering(tokenizer)
    assert transcript[: len(first)] == first
    text = tokenizer.decode(transcript)
    assert text.startswith("<|im_start|>system\n# Tools") and text.count("<tool_response>\nTurn") == 2
    assert text.count("<|im_start|>user\n") == 3  # the task and two responses
    tokenizer.chat_template = TOOL_TEMPLATE.replace("user\\n<tool_response>", "tool\\n<tool_response>").replace(
        "message.role == 'tool'", "message.role == 'tool' and loop.last"
    )
    with pytest.raises(ValueError, match="expected to"):
        workload.check_rendering(tokenizer)


def test_the_rooms_are_played_by_tool_calls_and_paid_at_the_end(workload: ModuleType) -> None:
    from benchmarks.countdown import completion_for

    env = workload.CountdownEnv()
    assert env.reset(seed=3) == ("Reach the garden.", {})
    observation, reward, terminated, truncated, _ = env.step(completion_for("east"))
    assert observation.startswith("Turn 1. You walk east    . Doors") and (reward, terminated, truncated) == (
        0.0,
        False,
        False,
    )
    assert env.step('<tool_call>{"name": "fly", "arguments": {}}</tool_call>')[0].startswith("error: expected a call")
    env.step(completion_for("west"))
    env.step(completion_for("east"))
    assert env.step(completion_for("east"))[1:4] == (
        pytest.approx(2 / 3),
        True,
        False,
    )  # the closing turn moves nothing
    env.reset()
    assert env.step("I am done.")[1:4] == (0.0, True, False)
    for hostile in ("<tool_call>", "<tool_call>[1]</tool_call>", "<tool_call>" + "[" * 50_000 + "</tool_call>"):
        env.reset()
        assert env.step(hostile)[2]


def test_the_ratio_is_the_median_of_the_rounds_ratios(peer: ModuleType) -> None:
    def side(rate: float) -> dict[str, Any]:
        other = dict.fromkeys(
            ("trained_real_tok_per_cpu_s", "cpu_s_per_step_median", "real_tokens_in_loss_forward"), 1.0
        )
        return {peer.RATE: rate, "sampled_tokens_per_step": 800, "steps_measured": 10, "threads": 1, **other}

    figures = peer.compare([(side(900.0), side(500.0)), (side(400.0), side(400.0)), (side(800.0), side(500.0))])
    assert figures["ratios"] == [1.8, 1.0, 1.6]
    assert figures["ratio"] == 1.6
    assert figures["ours"][peer.RATE] == 800.0 and figures["trl"][peer.RATE] == 500.0


def test_unlike_work_is_not_compared(peer: ModuleType) -> None:
    ours = {"params": 5, "first_prompt_sha256": "a", "steps_measured": 10, "sampled_tokens_per_step": 800.0}
    peer.check_alike(ours, {**ours, "sampled_tokens_per_step": 700.0})
    for change in ({"params": 6}, {"first_prompt_sha256": "b"}, {"sampled_tokens_per_step": 600.0}):
        with pytest.raises(peer.PeerError, match="expected"):
            peer.check_alike(ours, {**ours, **change})
    with pytest.raises(peer.PeerError, match=r"status 3[\s\S]*no TRL here"):
        peer.run_program([sys.executable, "-c", "import sys; sys.stderr.write('no TRL here'); sys.exit(3)"], 1)
