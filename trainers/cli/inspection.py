"""One row as student and teacher read it: built by a run's own code, with a script in the place of the sampler.

Not here: how it is shown (`inspect`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from agents.hindsight import HINDSIGHTS, WRITTEN
from agents.sampling.scripted import ScriptedSampler
from agents.teacher import split_privilege
from sdar_envs.model_files import load_tokenizer

from .inspected_writer import Writer, said_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from agents.base import Action, Turn, View
    from agents.chat import ChatAgent
    from agents.sampling.base import Sampler
    from agents.teacher import Teacher, TeacherReading
    from sdar_envs.privileged import Privileged, StudentView

    from ..config import SDARConfig
    from ..rollout.collect import Rollout
    from ..rollout.environments import EnvironmentSource
    from ..rollout.policies import Policies, TeacherContext

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a row's text.

    `privileged` where it is the privileged context, `placeholder` where it stands for a model's answer and no model
    wrote it.
    """

    text: str
    privileged: bool = False
    placeholder: bool = False


@dataclass(frozen=True, slots=True)
class TeacherPrompt:
    """The row as one reading of the teacher has it; `name` is the privilege that it shows."""

    name: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """One row as both sides read it.

    `parts` are (name, student's tokens, the tokens of each of `teachers`); `notes` say what was cut or is missing.
    `teachers` has one prompt per joined privilege, and is empty where the environment has no privileged view. `asked`
    is what the policy is asked before its teacher reads, where the teacher reads what the policy writes.
    """

    student: tuple[Segment, ...]
    teachers: tuple[TeacherPrompt, ...]
    parts: tuple[tuple[str, int, tuple[int, ...]], ...]
    notes: tuple[str, ...]
    turns: int
    asked: str = ""


def tokenizer_of(
    model: str, config: SDARConfig, source: EnvironmentSource, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer that `model` stands for; ``tiny`` is ``chatml`` where an environment has no demonstrations.

    Raises:
        ValueError: There is no such model.
    """
    from .players import is_run_directory, read_run, require_model

    if model == "chatml":
        return chatml_tokenizer()
    if model == "tiny":
        from sdar_envs.demonstrations import SCRIPTS

        return tiny_tokenizer(config, source) if source.name in SCRIPTS else chatml_tokenizer()
    if is_run_directory(model):
        return load_tokenizer(read_run(model).model_dir, trust_remote_code=trust_remote_code)
    require_model(model, "tiny, chatml, a run directory, or a model directory or name")
    return load_tokenizer(model, trust_remote_code=trust_remote_code)


def tiny_tokenizer(config: SDARConfig, source: EnvironmentSource) -> PreTrainedTokenizerBase:
    """A tokenizer as the warm start makes it, from fewer demonstrations: counts differ from a run's by little."""
    from ..warm_start.demonstrations import WorldScript, play_demonstrations
    from ..warm_start.tiny_build import tokenizer_from, wording_policies
    from ..warm_start.warm_start import WarmStartConfig

    warm = WarmStartConfig()
    script = WorldScript(source.name, config.environment_kwargs)
    worded = wording_policies(config, source, list(script.texts()))
    played = play_demonstrations(script, 200, warm.hinted_share, seed=config.seed)
    return tokenizer_from(played, script, worded, warm.model.vocab_size)


def chatml_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of single bytes with a ChatML template: shows any prompt without any model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={character: i for i, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = (
        "{%- for message in messages -%}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    )
    return fast


class Demonstrator:
    """Plays given actions, then the plan, else the first admissible action; the student's agent builds the prompts."""

    reads_privileged = True

    def __init__(
        self, student: ChatAgent, script: ScriptedSampler, actions: Sequence[str], *, whole_info: bool = False
    ) -> None:
        self._student = student
        self._script = script
        self._actions = list(actions)
        self._whole_info = whole_info  # what is sealed is the whole info and not its privileged part

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """One action for the one view."""
        known = privileged[0] if privileged else None
        fields: Mapping[str, Any] = {} if known is None else known.reveal()
        if self._whole_info:
            fields = fields.get("privileged") or {}
        planned = fields.get("next_action", "")
        listed = views[0].admissible_actions
        action = self._actions.pop(0) if self._actions else planned or (listed[0] if listed else "look")
        completion = self._student.style.completion_for(action, views[0])
        self._script.add(self._student.renderer.encode_completion(completion))
        return self._student.act(views)


def inspect_prompts(
    source: EnvironmentSource,
    tokenizer: PreTrainedTokenizerBase,
    config: SDARConfig,
    split: str,
    task_id: str,
    turns: int,
    actions: Sequence[str] = (),
    *,
    teacher_context: TeacherContext | None = None,
    model: Any = None,
) -> Inspection:
    """Play `turns` turns of a task and read the last row as student and as teacher.

    Args:
        source: The environment.
        tokenizer: Counts tokens, and has the chat template.
        config: Prompts, lengths, privilege.
        split: The split of the task.
        task_id: Which task.
        turns: How many turns; the prompt of the last one is shown.
        actions: What is done first; then the plan, else the first admissible action.
        teacher_context: A user's own function from info to what the teacher is shown.
        model: Writes what its teacher reads, where `writes_for_teacher`; None puts a placeholder there.

    Raises:
        ValueError: Unknown split or task, or a prompt that does not fit at all.
    """
    from agents.sampling.scripted import ScriptedSampler

    from ..methods import METHODS, get_method
    from ..rollout.batch_env import LoopBatchEnv
    from ..rollout.collect import TaskDraw, collect
    from ..rollout.hindsight import hindsight_of
    from ..rollout.policies import make_policies
    from ..rollout.reflecting import Reflector
    from ..rollout.rows import build_rows

    script = ScriptedSampler()
    method = get_method(config.method)
    read = ({*split_privilege(config.privilege)}, {*method.teacher_views} or {"teacher"})
    of_episodes = any(names <= {*HINDSIGHTS} for names in read)
    if not (source.has_privileged or teacher_context is not None or of_episodes):
        method = METHODS["grpo"]  # there is no other side to show
    elif not method.teacher_views:  # what a teacher would read who reads `privilege`
        method = METHODS["sdar"]
    policies = make_policies(None, tokenizer, config, method, source, teacher_context, sampler=script)
    env = LoopBatchEnv.of(source, split, 1)
    try:
        agent = Demonstrator(policies.evaluator, script, actions, whole_info=policies.seals_info)
        task = TaskDraw(task_id, ("inspect",))
        rollout = collect(agent, env, [task], max_turns=turns, seal_info=policies.seals_info)[0]
        others: list[Rollout] = []
        if any(teacher.hindsight for teacher in policies.readers.values()):
            # Another attempt of the group, played to its end, so that there may be a success to tell of.
            agent = Demonstrator(policies.evaluator, script, (), whole_info=policies.seals_info)
            sibling = TaskDraw(task_id, ("inspect", "sibling"), member=1)
            others = collect(agent, env, [sibling], max_turns=config.max_turns, seal_info=policies.seals_info)
    finally:
        env.close()
    if rollout.failure is not None:
        raise ValueError(f"the environment could not play it: {rollout.failure}")
    if not rollout.episode.turns:
        raise ValueError(f"no prompt fits max_prompt_length {config.max_prompt_length}: raise it")
    asked = ""
    if policies.reflection is not None:
        writer = Writer(policies, model, config)
        reflector = Reflector.of(cast("Sampler", writer), policies.readers, config, policies.reflection)
        assert reflector is not None, "limits are made where a teacher reads what the policy writes"
        reflector.write([rollout, *others], 0)
        if writer.asked:  # the note on the episode that is shown comes first, a guide last
            asked = _decoder(tokenizer)(writer.asked[0 if "reflection" in reflector.teachers else -1])
    row = build_rows([rollout])[-1]
    shown = [rollout.episode.turns[number] for number in row.row_turns]
    # One reading per joined privilege: "teacher", or "teacher:skill", "teacher:plan".
    readers = {name.rpartition(":")[2]: teacher for name, teacher in policies.readers.items()}
    known = {
        name: [hindsight_of([rollout, *others], teacher.privilege)[0]] * len(shown)
        if teacher.hindsight
        else [rollout.privileged[number] for number in row.row_turns]
        for name, teacher in readers.items()
    }
    readings = {name: teacher.read(shown, known[name]) for name, teacher in readers.items()}
    decode = _decoder(tokenizer)
    return Inspection(
        student=_student_segments(row.student, decode),
        teachers=tuple(
            TeacherPrompt(name, _segments(readers[name], reading, shown, known[name], decode))
            for name, reading in readings.items()
        ),
        parts=_parts(policies, shown, len(row.student.ids), list(readings.values())),
        notes=(
            *_notes(config, rollout.episode.turns, row.row_turns, readings),
            *_of_episodes(readers, known, len(rollout.episode.turns), written=model is not None),
        ),
        turns=len(rollout.episode.turns),
        asked=asked,
    )


def _decoder(tokenizer: PreTrainedTokenizerBase) -> Decode:
    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    return decode


def _marked(
    ids: Sequence[int], privileged: Sequence[bool], placeholder: set[int], decode: Decode
) -> tuple[Segment, ...]:
    """Ids as text, cut where what they are changes."""
    kinds = [(secret, place in placeholder) for place, secret in enumerate(privileged)]
    bounds = [0, *(place for place in range(1, len(ids)) if kinds[place] != kinds[place - 1]), len(ids)]
    return tuple(Segment(decode(ids[start:end]), *kinds[start]) for start, end in pairwise(bounds) if start < end)


def _student_segments(view: View, decode: Decode) -> tuple[Segment, ...]:
    """The student's ids as text, the script's completions apart."""
    return _marked(view.ids, [False] * len(view.ids), set(view.loss_positions), decode)


def _segments(
    teacher: Teacher, reading: TeacherReading, turns: Sequence[Turn], known: Sequence[Privileged | None], decode: Decode
) -> tuple[Segment, ...]:
    """The teacher's ids as text, blocks and completions apart; blocks are found by their ids, in order."""
    ids, start = reading.view.ids, 0
    privileged = [False] * len(ids)
    texts = [teacher.episode_block(secret, turn.view) or "" for turn, secret in zip(turns, known, strict=True)]
    blocks = [teacher.block_ids(text) for text in texts]
    for block in blocks if teacher.every_turn else blocks[:1]:
        at = next((i for i in range(start, len(ids)) if block and ids[i : i + len(block)] == block), None)
        if at is not None:
            start = at + len(block)
            privileged[at:start] = [True] * len(block)
    return _marked(ids, privileged, set(reading.view.loss_positions), decode)


def _parts(
    policies: Policies, turns: Sequence[Turn], total: int, readings: Sequence[TeacherReading]
) -> tuple[tuple[str, int, tuple[int, ...]], ...]:
    """Tokens by part; what no message and no completion accounts for is the chat template's own."""
    count = policies.renderer.encode_text
    messages = [message for turn in turns for message in turn.action.messages]
    roles = {"system": ("system",), "user": ("user", "tool")}
    sizes = {
        name: sum(len(count(m["content"])) for m in messages if m["role"] in these) for name, these in roles.items()
    }
    sampled = sum(len(turn.action.tokens.completion_ids) for turn in turns if turn.action.tokens)
    earlier = sum(len(count(m["content"])) for m in messages if m["role"] == "assistant")
    template = total - sum(sizes.values()) - sampled - earlier
    blocks = [reading.block_tokens for reading in readings]
    wholes = [len(reading.view.ids) for reading in readings]

    def seen(size: int) -> tuple[int, ...]:
        return (size,) * len(readings)

    # History is what a teacher's prompt gives up first; it stands in the messages of the user.
    user = tuple(sizes["user"] - (total + block - whole) for block, whole in zip(blocks, wholes, strict=True))
    return (
        ("system message", sizes["system"], seen(sizes["system"])),
        ("privileged context", 0, tuple(blocks)),
        ("user messages", sizes["user"], user),
        ("completions", sampled + earlier, seen(sampled + earlier)),
        ("chat template", template, seen(template)),
        ("total", total, tuple(wholes)),
    )


def _of_episodes(
    readers: Mapping[str, Teacher], known: Mapping[str, Sequence[Privileged | None]], turns: int, *, written: bool
) -> list[str]:
    """How texts that are made of episodes came about here, where no run has played any.

    Args:
        readers: The teacher's readers by name.
        known: What each is told, turn by turn.
        turns: Turns that were played.
        written: Whether a model wrote what a policy writes, and not a placeholder.
    """
    notes = []
    for name, teacher in readers.items():
        if not teacher.hindsight:
            continue
        told = known[name][0]
        if teacher.privilege in WRITTEN:
            notes.append(said_of(teacher.privilege, {} if told is None else told.reveal(), turns, written))
        elif told is None:
            notes.append(
                f"NO TEXT: {teacher.privilege} has nothing to tell here, since a second attempt by the environment's "
                "plan was no success; in a run such an episode has no teacher"
            )
        elif "sibling" in told.reveal():
            notes.append(
                "the sibling's success is a second attempt by the environment's plan; in a run the policy's own"
            )
        else:
            notes.append(f"the verdict is on these {turns} turns; in a run it is on the whole episode")
    return notes


def _notes(
    config: SDARConfig, turns: Sequence[Turn], row_turns: Sequence[int], readings: Mapping[str, TeacherReading]
) -> list[str]:
    notes = []
    if row_turns[0] > 0 and config.context == "transcript":
        notes.append(f"the student's chat was begun anew at turn {row_turns[0] + 1}; earlier turns may be cut from it")
    first = turns[row_turns[0]].action.messages
    longest = min(config.history_length, row_turns[0]) if config.context == "window" else 0
    # A window is one message that knows its shorter forms, or, of an agent that calls tools, a chat.
    chat = sum(message["role"] == "assistant" for message in first)
    left = max(len(getattr(first[-1]["content"], "shorter", ())), chat)
    if left < longest:
        notes.append(f"CUT: {longest - left} of {longest} turns of the student's history, to fit max_prompt_length")
    if not readings:
        notes.append("this environment's info has no privileged view: there is no teacher's prompt")
        return notes
    for name, reading in readings.items():
        which = f" of {name}" if len(readings) > 1 else ""
        if reading.history_cut:
            notes.append(
                f"CUT: {reading.history_cut} turns of the teacher's history, to make room for the privileged context"
                f"{which}"
            )
        if reading.block_tokens == 0:
            notes.append(f"the privileged context{which} is EMPTY: teacher and student read the same")
        elif not reading.complete:
            notes.append(
                f"INCOMPLETE: the privileged context{which} has {reading.block_tokens} tokens, teacher_budget is "
                f"{config.teacher_budget}; what does not fit is left out of the distillation. Raise teacher_budget or "
                "max_prompt_length"
            )
    return notes or ["nothing was cut"]
