"""Teacher texts that the policy writes itself, when the episodes of an iteration have been played.

``reflection``: on each episode a note, which the teacher of that episode reads (SEED). ``group_reflection``: of the
notes on a group in which some episodes succeeded and some did not one guide, which the teachers of all its episodes
read (GRSD; without the reward that trains its notes). The policy is the one that has just acted, with its sampler and
its temperature, and draws by counted keys, so that a text depends neither on worker processes nor on a restart. What it
writes is not learned from. It is shown what the student has seen and done, and the outcome.

A text that is of no use (`agents.reflection.FLAWS`), too long for the teacher's budget, or that could not be asked for
because nothing of the episode fits, is replaced by what the policy was told of the outcome (``reflection_fallback``),
and counted. Not here: the wording (`agents.reflection`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.base import Episode, Message
from agents.hindsight import WRITTEN, Hindsight, verdict
from agents.reflection import FLAWS, actions_of, episode_messages, flaw_of, guide_messages, written_text
from agents.sampling.base import Sampler, SampleRequest
from agents.teacher import Teacher
from sdar_envs.privileged import Privileged

from ..engine.base import Ranks, owns
from ..options import Options
from .collect import Rollout
from .hindsight import place_of

NOTE, GUIDE = WRITTEN
# Further reasons than `FLAWS` why a teacher gets no text of the policy's.
TOO_LONG, NO_ROOM, CONTROL = "too_long", "no_room", "control"


@dataclass(frozen=True, slots=True)
class ReflectionLimits:
    """Tokens of what the policy is shown, and of what it may write, at most."""

    prompt: int
    tokens: int

    @classmethod
    def of(cls, options: Options, positions: int | None) -> ReflectionLimits:
        """The limits of a run.

        Args:
            options: The options named for it, and those that stand in for them.
            positions: Of the model; None for no limit.

        Raises:
            ValueError: They do not fit the model's positions.
        """
        tokens = options.reflection_tokens or options.max_completion_length
        wanted = options.reflection_prompt_length
        prompt = options.max_prompt_length + options.teacher_budget if wanted is None else wanted
        if positions is None:
            return cls(prompt, tokens)
        if wanted is None:
            prompt = min(prompt, positions - tokens)
        if prompt < 1 or prompt + tokens > positions:
            raise ValueError(
                f"reflection_prompt_length and reflection_tokens are expected to be within the model's {positions} "
                f"positions together, got {prompt if wanted is None else wanted} and {tokens}: lower one of them"
            )
        return cls(prompt, tokens)


@dataclass(frozen=True, slots=True)
class _Question:
    """What the policy is asked: messages by how much is left out of them (up to `most`), and the key of the draws.

    `episodes` are those that the answer is about; what can be done in them is no answer. `fits` says whether a text is
    within the budget of the teachers that are to read it.
    """

    messages: Callable[[int], list[Message]]
    most: int
    draw: tuple[int | str, ...]
    episodes: Sequence[Episode]
    fits: Callable[[str], bool]


class Reflector:
    """Has the policy write the texts of a run's teachers.

    Args:
        sampler: Of the policy.
        teachers: The teachers that read such texts, by their privilege, of `agents.hindsight.WRITTEN`; at least one.
        options: Temperature, what is told, what is told instead.
        limits: Of prompts and texts.
        ranks: The processes of the run, each of which asks about its own groups; None for one.

    Raises:
        ValueError: The teacher's budget has no room for a text.
    """

    def __init__(
        self,
        sampler: Sampler,
        teachers: Mapping[str, Teacher],
        options: Options,
        limits: ReflectionLimits,
        ranks: Ranks | None = None,
    ) -> None:
        self.sampler = sampler
        self.teachers = dict(teachers)
        self.options = options
        self.ranks = ranks
        first = next(iter(self.teachers.values()))
        self.renderer, self.style = first.renderer, first.style
        # What stands in front of a text counts towards the budget, too; the shortest text shows how much that is.
        around = max(self._block_tokens(privilege, ".") for privilege in self.teachers)
        room = options.teacher_budget - around
        if room < 1:
            raise ValueError(
                f"teacher_budget={options.teacher_budget} is expected to have room for what the policy writes, and "
                f"what stands around it takes {around} tokens: raise teacher_budget"
            )
        self.limits = ReflectionLimits(limits.prompt, min(limits.tokens, room))

    @classmethod
    def of(
        cls,
        sampler: Sampler,
        readers: Mapping[str, Teacher],
        options: Options,
        limits: ReflectionLimits | None,
        ranks: Ranks | None = None,
    ) -> Reflector | None:
        """The reflector of a run; None where no teacher reads what the policy writes.

        Args:
            sampler: Of the policy.
            readers: All readers of the run, by the name of the reading.
            options: As for the class.
            limits: As for the class; None where no teacher reads such a text.
            ranks: As for the class.
        """
        teachers = {each.privilege: each for each in readers.values() if each.hindsight and each.privilege in WRITTEN}
        return cls(sampler, teachers, options, limits, ranks) if teachers and limits is not None else None

    def write(self, rollouts: Sequence[Rollout], step: int) -> dict[str, float]:
        """Ask about the episodes of an iteration, put what their teachers are told into them, and return metrics.

        All processes call this, with the same episodes.

        Args:
            rollouts: All episodes of the iteration; their `written` is replaced.
            step: Iteration, from 0: part of the key of the draws.
        """
        counts: Counter[str] = Counter()
        own: dict[int, dict[str, Hindsight]] = {}
        for privilege, texts in self._texts(rollouts, step, counts).items():
            for number, text in texts.items():
                if told := self._told(privilege, text, rollouts[number].episode, counts):
                    own.setdefault(number, {})[privilege] = told
        # With those of the other processes.
        everywhere = [(own, counts)] if self.ranks is None else self.ranks.gather((own, counts))
        found = {number: told for of_rank, _ in everywhere for number, told in of_rank.items()}
        for number, rollout in enumerate(rollouts):
            rollout.written = {privilege: Privileged(told) for privilege, told in found.get(number, {}).items()}
        total: Counter[str] = Counter()
        for _, counted in everywhere:
            total.update(counted)
        return _metrics(total)

    def _texts(self, rollouts: Sequence[Rollout], step: int, counts: Counter[str]) -> dict[str, dict[int, str]]:
        """By privilege and number of the episode what the policy wrote; ``""`` where it is of no use.

        Episodes for which no text is due are left out: those of a broken environment, of a role without a teacher, of
        another process, and for a guide those of a group with one outcome.
        """
        taught = [
            number
            for number, rollout in enumerate(rollouts)
            if rollout.episode.turns
            and not rollout.episode.failed
            and self.options.teaches(rollout.episode.role)
            and (self.ranks is None or owns(self.ranks, rollout.task.group))
        ]
        mixed = _of_both_outcomes(rollouts, taught)
        noted = taught if NOTE in self.teachers else sorted(number for group in mixed for number in group)
        answers = self._answers([self._on_episode(rollouts[number], step) for number in noted], counts)
        notes = dict(zip(noted, answers, strict=True))
        texts = {NOTE: notes} if NOTE in self.teachers else {}
        if GUIDE in self.teachers:
            guides = self._guides(mixed, rollouts, notes, step, counts)
            texts[GUIDE] = {number: guide for group, guide in zip(mixed, guides, strict=True) for number in group}
        return texts

    def _guides(
        self,
        groups: Sequence[Sequence[int]],
        rollouts: Sequence[Rollout],
        notes: Mapping[int, str],
        step: int,
        counts: Counter[str],
    ) -> list[str]:
        """A guide per group; ``""`` without a note on both outcomes that is of use."""
        questions: dict[int, _Question] = {}
        for place, group in enumerate(groups):
            won = [notes[number] for number in group if notes[number] and rollouts[number].episode.success]
            lost = [notes[number] for number in group if notes[number] and not rollouts[number].episode.success]
            if won and lost:
                questions[place] = self._on_group([rollouts[number] for number in group], won, lost, step)
        answers = dict(zip(questions, self._answers(list(questions.values()), counts), strict=True))
        return [answers.get(place, "") for place in range(len(groups))]

    # Questions and answers.

    def _on_episode(self, rollout: Rollout, step: int) -> _Question:
        episode, wrong_turn = rollout.episode, self.options.reflection_reads == "verdict"
        return _Question(
            lambda cut: episode_messages(self.style, episode, wrong_turn=wrong_turn, left_out=cut),
            len(episode.turns) - 1,
            (*rollout.task.draw, NOTE, step),
            (episode,),
            lambda text: NOTE not in self.teachers or self._fits(NOTE, text, episode),
        )

    def _on_group(self, group: Sequence[Rollout], won: Sequence[str], lost: Sequence[str], step: int) -> _Question:
        first = group[0]
        return _Question(
            lambda cut: guide_messages(self.style, first.episode.turns[0].view.instruction, *_fewer(won, lost, cut)),
            len(won) + len(lost) - 2,
            (*first.task.draw, GUIDE, step),
            [rollout.episode for rollout in group],
            lambda text: self._fits(GUIDE, text, first.episode),
        )

    def _answers(self, questions: Sequence[_Question], counts: Counter[str]) -> list[str]:
        """What the policy writes, in the order of the questions; ``""`` for what is of no use, which is counted."""
        answers = [""] * len(questions)
        prompts = {place: ids for place, question in enumerate(questions) if (ids := self._prompt(question, counts))}
        counts["asked"] += len(questions)
        counts[NO_ROOM] += len(questions) - len(prompts)
        places = list(prompts)
        for start in range(0, len(places), self.options.episodes_together):
            asked = places[start : start + self.options.episodes_together]
            samples = self.sampler.sample(
                [
                    SampleRequest(
                        slot,
                        prompts[place],
                        continues=False,
                        draw=questions[place].draw,
                        temperature=self.options.temperature,
                        max_tokens=self.limits.tokens,
                    )
                    for slot, place in enumerate(asked)
                ]
            )
            self.sampler.release(range(len(asked)))
            for place, sample in zip(asked, samples, strict=True):
                counts["read"] += len(prompts[place])
                counts["sampled"] += len(sample.ids)
                counts["truncated"] += sample.truncated
                text = written_text(self.renderer.decode(sample.ids))
                flaw = flaw_of(text, actions_of(self.style, questions[place].episodes))
                if not flaw and self.renderer.names_control(text):  # the chat went on inside of the answer
                    flaw = CONTROL
                if not flaw and not questions[place].fits(text):
                    flaw = TOO_LONG
                counts[flaw or "usable"] += 1
                answers[place] = "" if flaw else text
        return answers

    def _prompt(self, question: _Question, counts: Counter[str]) -> list[int] | None:
        """The ids of a question with as little left out as fits; None where nothing fits."""

        def ids(left_out: int) -> list[int]:
            return self.renderer.begin(question.messages(left_out))

        low, high = 0, question.most
        whole = ids(low)
        if len(whole) <= self.limits.prompt:
            return whole
        if len(shortest := ids(high)) > self.limits.prompt:
            return None
        while high - low > 1:  # what is left out at `low` is too little, at `high` enough
            middle = (low + high) // 2
            if len(shorter := ids(middle)) <= self.limits.prompt:
                high, shortest = middle, shorter
            else:
                low = middle
        counts["left_out"] += high
        return shortest

    # What teachers are told.

    def _told(self, privilege: str, text: str, episode: Episode, counts: Counter[str]) -> Hindsight:
        """What the teacher of an episode is told: the policy's text, else its alternative, else nothing."""
        counts["due"] += 1
        if text:
            return {"reflection": text} if privilege == NOTE else {"group_reflection": text}
        counts["replaced"] += 1
        if self.options.reflection_fallback == "none":
            return {}
        sentences = verdict(episode, wrong_turn=self.options.reflection_reads == "verdict")
        return {"feedback": sentences} if sentences else {}

    def _fits(self, privilege: str, text: str, episode: Episode) -> bool:
        """Whether a text is within the budget of the teacher that reads it."""
        return self._block_tokens(privilege, text, episode) <= self.options.teacher_budget

    def _block_tokens(self, privilege: str, text: str, episode: Episode | None = None) -> int:
        """Tokens of the privileged context that a text becomes."""
        teacher = self.teachers[privilege]
        view = None if episode is None else episode.turns[0].view
        return len(teacher.block_ids(teacher.block(Privileged({privilege: text}), view)))


def _of_both_outcomes(rollouts: Sequence[Rollout], numbers: Sequence[int]) -> list[list[int]]:
    """The groups among some episodes in which some succeeded and some did not, each as the numbers of its episodes."""
    groups: dict[tuple[int, str], list[int]] = {}
    for number in numbers:
        groups.setdefault(place_of(rollouts[number]), []).append(number)
    return [group for group in groups.values() if len({rollouts[number].episode.success for number in group}) == 2]


def _fewer(won: Sequence[str], lost: Sequence[str], left_out: int) -> tuple[Sequence[str], Sequence[str]]:
    """Both lists without so many of their last notes, from the longer one first; at least one of each stays."""
    kept = [len(won), len(lost)]
    for _ in range(left_out):
        kept[kept[0] < kept[1]] -= 1
    return won[: max(kept[0], 1)], lost[: max(kept[1], 1)]


def _metrics(counts: Counter[str]) -> dict[str, float]:
    """Shares of what was asked and of what was due, and tokens."""
    asked, due = max(counts["asked"], 1), max(counts["due"], 1)
    return {
        "reflection/asked": float(counts["asked"]),
        "reflection/usable": counts["usable"] / asked,
        **{f"reflection/unusable_{flaw}": counts[flaw] / asked for flaw in (*FLAWS, CONTROL, TOO_LONG, NO_ROOM)},
        "reflection/truncated": counts["truncated"] / asked,
        "reflection/left_out": counts["left_out"] / asked,
        "reflection/replaced": counts["replaced"] / due,
        "tokens/reflection": float(counts["sampled"]),
        "tokens/reflection_prompts": float(counts["read"]),
    }
