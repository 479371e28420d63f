"""Who acts and who reads in a run: student, evaluator, privileged-prompt policy, and the readers of rows.

All of them are the same parameters given different prompts, and share one sampler; `make_policies` builds them from the
options.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.base import Turn, View
from agents.chat import ChatAgent, end_ids, style_of
from agents.hindsight import HINDSIGHTS, WRITTEN
from agents.relabel import plain_view
from agents.rendering import ChatRenderer
from agents.sampling.base import Sampler
from agents.sampling.local import BatchSampler
from agents.teacher import EVERY_TURN, Teacher, split_privilege
from sdar_envs.privileged import Privileged, StudentView
from sdar_envs.references import load_object

from ..methods.method import Method
from ..options import Options
from .environments import EnvironmentSource
from .generation_server import make_server_sampler
from .reflecting import ReflectionLimits
from .teacher_views import TEACHER, readings_of

# Where a privilege is read from, if not from "skills".
_KEY_OF = {name: name for name in ("plan", "next_action", "facts", "hints")}

TeacherContext = Callable[[dict[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Policies:
    """The agents of a run.

    Attributes:
        student: Collects training episodes.
        evaluator: Plays evaluation sets under the plain prompt.
        privileged_policy: Plays evaluation sets under the privileged prompt, with the first of several joined
            privileges; None where the environment has no privileged information, or the teacher's is made of episodes
            that have ended.
        readers: The teacher's readers of rows, by the name of the reading (`teacher_views`); empty without privileged
            information.
        teacher: Builds privileged prompts; None where neither privileged information nor a plan is known.
        renderer: Renders the prompts of all.
        sampler: Samples for all.
        privileged_turns: When environments must fill in the privileged information.
        seals_info: Whether the whole `info` is sealed, for a user's own ``teacher_context``.
        reflection: Limits of what the policy writes for its teacher (`reflecting`); None where it writes nothing.
    """

    student: ChatAgent
    evaluator: ChatAgent
    privileged_policy: ChatAgent | None
    readers: Mapping[str, Teacher]
    teacher: Teacher | None
    renderer: ChatRenderer
    sampler: Sampler
    privileged_turns: str
    seals_info: bool
    reflection: ReflectionLimits | None = None

    def plain(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> View | None:
        """A row given the plain prompt (`selection.PlainReading`); None where it holds a whole privileged context."""
        if self.teacher is not None and self.teacher.quotes(turns, privileged):
            return None
        return plain_view(self.renderer, turns)

    def plan_length(self, privileged: Privileged | None) -> int | None:
        """Actions that the shortest known plan still needs (`selection.PlanLength`)."""
        return None if self.teacher is None else self.teacher.plan_length(privileged)


def privileged_turns(privileges: Collection[str], teacher_context: TeacherContext | None) -> str:
    """When privileged information is read, of `batch_env.PRIVILEGED_TURNS`: what does not change, once per episode."""
    if teacher_context is not None or EVERY_TURN & set(privileges):
        return "every"
    return "never" if privileges and set(privileges) <= set(HINDSIGHTS) else "first"


def make_policies(
    model: Any,
    tokenizer: Any,
    options: Options,
    method: Method,
    source: EnvironmentSource,
    teacher_context: TeacherContext | None,
    *,
    teaches: bool = True,
    skill_choice: Callable[[StudentView], str] | None = None,
    sampler: Sampler | None = None,
) -> Policies:
    """Build the agents of a run.

    Args:
        model: Prepared by the engine.
        tokenizer: With a chat template.
        options: Prompts, lengths, temperatures, privilege.
        method: Names the prompt that the student acts under, the teacher's readings, and what else must be known.
        source: The environment.
        teacher_context: A user's own function from `info` to what the teacher is shown.
        teaches: Whether the method's coefficient lets what it knows beyond the student matter at all.
        skill_choice: Names the skill that ``privilege=skill`` shows for an episode (`skill_bandit`); None for what the
            environment retrieved.
        sampler: Samples for all of them; None makes the one of the options, of the model, which is needed then.

    Raises:
        ValueError: The method reads privileged information and the environment has none, or not the part asked for.
    """
    # What the readings show, and whether the environment has all of it.
    # A method whose teacher has views of its own alone does not read `privilege`.
    reads_own = not method.teacher_views or TEACHER in method.teacher_views
    own = split_privilege(options.privilege) if reads_own else ()
    readings = _readings(method, options, teacher_context)
    shown = {*own, *readings.values()}
    of_episodes = shown <= set(HINDSIGHTS)
    needed = sorted({_KEY_OF.get(privilege, "skills") for privilege in shown - {"none", *HINDSIGHTS}})
    can_teach = (
        teacher_context is not None
        or of_episodes
        or (source.has_privileged and all(key in source.privileged_keys for key in needed))
    )
    of_groups = [privilege for privilege in ("sibling", "group_reflection") if privilege in readings.values()]
    if options.num_generations < 2 and of_groups and teacher_context is None:
        raise ValueError(
            f"privilege={of_groups[0]!r} is made of other episodes of the same group: expected num_generations of at "
            f"least 2, got {options.num_generations}"
        )
    acts_under_it = "privileged" in (method.student_view, *method.eval_views)
    if not can_teach and ((teaches and "privileged" in method.needs) or acts_under_it):
        raise ValueError(without_privileged(method, options, source, needed))
    if teaches and "plan" in method.needs and "plan" not in source.privileged_keys:
        raise ValueError(without_plan(method, source))
    tools = source.tool_set if options.prompt_style == "tools" else None
    renderer = ChatRenderer(
        tokenizer,
        enable_thinking=options.enable_thinking,
        append_history=options.append_history,
        tools=None if tools is None else tools.schemas(),
    )
    wording = style_of(options.prompt_style, renderer, tools)

    def teacher_of(privilege: str) -> Teacher:
        return Teacher(
            renderer,
            wording,
            privilege=privilege,
            position=options.position,
            budget_tokens=options.teacher_budget,
            max_length=_longest(model, options),
            teacher_context=teacher_context,
            skill_bank=source.skill_bank,
            skill_choice=skill_choice,
        )

    # The teacher; where it has nothing to show, one that shows nothing still knows the length of the plan.
    teacher = None
    if can_teach or "plan" in source.privileged_keys:
        teacher = teacher_of(own[0] if can_teach and own else "none")
    readers: dict[str, Teacher] = {}
    if teacher is not None and can_teach:
        readers = {
            name: teacher if shows == teacher.privilege else teacher_of(shows) for name, shows in readings.items()
        }
    # Nothing can be played under a context that is made when the episode is over.
    playable = can_teach and teacher is not None and bool(own) and not teacher.hindsight

    # One sampler for all agents, with room for the longest prompt that any of them has.
    # What the policy writes for its teacher has lengths of its own.
    reflection = None
    if teacher_context is None and {*readings.values()} & {*WRITTEN}:
        reflection = ReflectionLimits.of(options, _positions(model))
    if sampler is None:
        longest = max(options.max_prompt_length, _longest(model, options) if can_teach else 0)
        ends, room = end_ids(renderer, model), longest + options.max_completion_length
        if reflection is not None:
            room = max(room, reflection.prompt + reflection.tokens)
        if options.rollout == "vllm":
            sampler = make_server_sampler(model, tokenizer, options, end_ids=ends, max_context=room)
        else:
            sampler = BatchSampler(
                model,
                end_ids=ends,
                pad_id=renderer.pad_id,
                max_completion_length=options.max_completion_length,
                max_context=room,
                longest_completion=None if reflection is None else reflection.tokens,
                decode=renderer.decode,
                layout=options.sampler_layout,
                cache_gib=options.sampler_cache_gib,
                prompt_lookup_num_tokens=options.prompt_lookup_num_tokens,
            )

    def chat(temperature: float, with_teacher: bool) -> ChatAgent:
        return ChatAgent(
            model,
            tokenizer,
            style=options.prompt_style,
            context=options.context,
            history_length=options.history_length,
            temperature=temperature,
            max_completion_length=options.max_completion_length,
            max_prompt_length=options.max_prompt_length,
            enable_thinking=options.enable_thinking,
            ask_for_thinking=options.ask_for_thinking,
            list_actions=options.list_actions,
            teacher=teacher if with_teacher else None,
            append_history=options.append_history,
            when_full=options.when_full,
            stop=options.stop,
            sampler=sampler,
            tools=tools,
        )

    return Policies(
        student=chat(options.temperature, method.student_view == "privileged"),
        evaluator=chat(options.eval_temperature, False),
        privileged_policy=chat(options.eval_temperature, True) if playable else None,
        readers=readers,
        teacher=teacher,
        renderer=renderer,
        sampler=sampler,
        privileged_turns=privileged_turns(shown, teacher_context),
        seals_info=teacher_context is not None,
        reflection=reflection,
    )


def _readings(method: Method, options: Options, teacher_context: TeacherContext | None) -> dict[str, str]:
    """The readings of the run by name, with the privilege of each; a user's own context is one reading."""
    if teacher_context is None:
        return readings_of(method, options)
    if others := [view for view in method.teacher_views if view != TEACHER]:
        raise ValueError(
            f"method {method.name!r} also reads {', '.join(others)} of the environment's own privileged information, "
            "and teacher_context= takes its place: leave it out, or choose a method with one teacher"
        )
    return {view: split_privilege(options.privilege)[0] for view in method.teacher_views}


def _longest(model: Any, options: Options) -> int:
    """Tokens of a privileged prompt at most: the plain prompt's and the context's, within the model's positions."""
    wanted = options.max_prompt_length + options.teacher_budget
    positions = _positions(model)
    return wanted if positions is None else min(wanted, positions - options.max_completion_length)


def _positions(model: Any) -> int | None:
    """Tokens that a model reads at most; None where there is no model, or no limit."""
    return None if model is None else getattr(model.config.get_text_config(), "max_position_embeddings", None)


def without_plan(method: Method, source: EnvironmentSource) -> str:
    """The message for a method that needs the length of the remaining plan, where the environment has no plan."""
    got = ", ".join(source.privileged_keys) or "none"
    return (
        f"method {method.name!r} learns from the length of the remaining plan, and {source.name} gives none: expected "
        f"info['privileged']['plan'], the optimal actions that are left, at every reset and step; got the keys {got}. "
        "Add it to the environment, or choose a method that needs no plan, such as method='grpo'"
    )


def without_privileged(method: Method, options: Options, source: EnvironmentSource, needed: Sequence[str]) -> str:
    """The message for a method whose privileged information the environment lacks: what is expected, and remedies."""
    got = f"got the keys {', '.join(source.privileged_keys)}" if source.has_privileged else "got none"
    if source.offered_privileges:
        got += f". {another_privilege(options, source)}; or add it"
    else:
        got += ". Add it"
    return (
        f"method {method.name!r} learns from a teacher that reads what the student may not, and {source.name} gives it "
        "nothing to read. Expected a mapping under info['privileged'] at every reset and step, with the keys "
        "task_type, plan, next_action, hints, facts and skills (sdar_envs.privileged.PrivilegedFields; "
        f"privilege={options.privilege!r} reads {', '.join(map(repr, needed))}); {got} to the environment, "
        "pass teacher_context= (--teacher-context module:function), your own function from info to text, or choose a "
        "method without a teacher, such as method='grpo'"
    )


def another_privilege(options: Options, source: EnvironmentSource) -> str:
    """What to take in the place of a privileged context that is empty: what the environment offers, or where it could.

    Args:
        options: The privilege that is read now.
        source: The environment.
    """
    others = [name for name in source.offered_privileges if name not in split_privilege(options.privilege)]
    if others:
        return f"{source.name} offers {', '.join(others)}: take privilege={others[0]} (--privilege {others[0]})"
    return (
        f"{source.name} offers nothing else: fill info['privileged'], pass teacher_context= (--teacher-context "
        "module:function), your own function from info to text, or take a method without a teacher (--method grpo)"
    )


def load_teacher_context(reference: str) -> TeacherContext:
    """A user's own teacher context by ``module:function``; a file in the current folder is found, too.

    Raises:
        ValueError: There is no such module or function, or it cannot be called.
    """
    found = load_object(reference, "teacher context")
    if not callable(found):
        raise ValueError(f"teacher context {reference!r}: expected a function from info to text, got {found!r}")
    context: TeacherContext = found
    return context
