"""The reference of the Python API: which modules stand on which page. mkdocstrings reads their docstrings."""

from __future__ import annotations

# Page -> title, what stands on it, and its modules.
PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "worlds": (
        "Worlds",
        "What a text world is, how its two sides are divided, and how anyone's world is checked.",
        (
            "sdar_envs",
            "sdar_envs.core",
            "sdar_envs.privileged",
            "sdar_envs.spaces",
            "sdar_envs.skills",
            "sdar_envs.conformance",
            "sdar_envs.demonstrations",
            "sdar_envs.scripted_players",
            "sdar_envs.randomness",
            "sdar_envs.household.env",
            "sdar_envs.household.alfworld",
            "sdar_envs.webshop.env",
            "sdar_envs.searchqa.env",
            "sdar_envs.searchqa.vector",
            "sdar_envs.searchqa.retriever",
        ),
    ),
    "multiagent": (
        "Worlds of several roles",
        "The contract of a game, its adapters for PettingZoo and Gymnasium, and the two games of the suite.",
        (
            "sdar_envs.multiagent.game",
            "sdar_envs.multiagent.player",
            "sdar_envs.multiagent.playing",
            "sdar_envs.multiagent.role",
            "sdar_envs.multiagent.aec",
            "sdar_envs.multiagent.parallel",
            "sdar_envs.multiagent.aec_role",
            "sdar_envs.multiagent.haggle.env",
            "sdar_envs.multiagent.pair.env",
        ),
    ),
    "agents": (
        "Agents",
        "Who acts, what it reads, what the teacher reads, and how tokens are sampled.",
        (
            "agents.base",
            "agents.prompts",
            "agents.parsing",
            "agents.rendering",
            "agents.chat",
            "agents.teacher",
            "agents.baselines",
            "agents.sampling.base",
            "agents.sampling.local",
            "agents.sampling.vllm.sampler",
        ),
    ),
    "trainers": (
        "Training",
        "The trainer, its configuration, evaluation sets and their results, and what is called during a run.",
        (
            "trainers.trainer",
            "trainers.config",
            "trainers.presets",
            "trainers.evaluation.evaluate",
            "trainers.evaluation.evaluation_set",
            "trainers.evaluation.intervals",
            "trainers.run.callbacks",
            "trainers.batch.row",
            "trainers.batch.token_batch",
            "trainers.engine.base",
        ),
    ),
    "options": (
        "Options",
        "Every option of a run, by group. `SDARConfig` has all of them under the same names.",
        (
            "trainers.options.method",
            "trainers.options.policy",
            "trainers.options.optimiser",
            "trainers.options.rollout",
            "trainers.options.evaluation",
            "trainers.options.machine",
            "trainers.options.adapter",
            "trainers.options.server",
            "trainers.options.seats",
            "trainers.options.run",
        ),
    ),
    "methods": (
        "Methods and formulas",
        "An entry of the table of methods, and the pure functions that it is made of.",
        (
            "trainers.methods.method",
            "trainers.methods.table",
            "trainers.methods.apply",
            "trainers.methods.objective",
            "trainers.maths.losses",
            "trainers.maths.signals",
            "trainers.maths.turn_signals",
            "trainers.maths.advantages",
            "trainers.maths.step_groups",
            "trainers.maths.divergences",
            "trainers.maths.importance",
            "trainers.maths.plan_progress",
        ),
    ),
}


def pages() -> dict[str, str]:
    """Path below docs/ -> text."""
    made = {
        f"api/{name}.md": "\n\n".join([f"# {title}", about, *(f"::: {module}" for module in modules)])
        for name, (title, about, modules) in PAGES.items()
    }
    listed = [f"- [{title}]({name}.md): {about}" for name, (title, about, _) in PAGES.items()]
    made["api/index.md"] = "\n\n".join(
        [
            "# Python",
            "These pages are made from the docstrings. Names without a leading underscore are public; what is listed "
            "in `sdar_envs.__all__`, `agents.__all__` and `trainers.__all__` keeps its meaning within a minor release "
            "([versions](../versions.md)).",
            "\n".join(listed),
        ]
    )
    return made
