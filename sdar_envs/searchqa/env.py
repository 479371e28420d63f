"""Search and answer as a Gymnasium environment: sdar/SearchQA-v0.

Questions come from generated worlds (`sources`) or from official records (`official`), passages from a retriever; this
file only translates between them and Gymnasium.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .. import SEARCHQA
from ..choices import require_bool, require_choice, require_number
from ..core import PublicFields, TextEnv, Transition, clean_action
from ..privileged import PrivilegedFields, copied_skills
from ..skills import RETRIEVALS
from ..spaces import FreeText
from ..tool_sets import ToolSet
from ..wrong_actions import UNKNOWN, WrongActions, by_plan_lengths
from . import rewards, tables, wording
from .answers import exact_match
from .client import ClientLimits
from .encoder_settings import POOLINGS, EncoderOptions
from .episodes import Episode
from .protocol import READINGS, Fault, Turn, answer_action, read_turn, search_action
from .retriever import MAX_TOPK, Hit, RetrievalError, Retriever, clean_query
from .setup import AUTO, SearchOptions, Setup, make_setup
from .sources import DATASET_SPLITS, TaskSource
from .tools import TOOLS
from .version import world_version

ON_ERROR = ("raise", "truncate")

FilePath = str | os.PathLike[str]

_MAX_ACTION = 32_768
_MAX_OBSERVATION = 131_072
_SHOWN_ACTION = 2_000
# A line break or a no-break space is white space to a model and to `answers`; to the contract's cleaning it is a
# control character. No tag holds white space, so nothing becomes a command by it.
_SPACES = {code: " " for code in range(0x3001) if chr(code) in "\n\r\t" or unicodedata.category(chr(code))[0] == "Z"}


class SearchFields(PublicFields):
    """What anyone may read of an episode of this environment, besides the contract's fields."""

    data_source: str
    query: str
    hit_ids: list[str]
    hit_scores: list[float]
    retrieval_error: str
    turn: int


class SearchQAEnv(TextEnv):
    """Questions to look up and answer: in a generated world, or on the official data.

    A turn is ``<search>query</search>`` or ``<answer>answer</answer>``, with any thinking around it. A search shows the
    best passages between ``<information>`` and ``</information>``; an answer ends the episode. In the last turn nothing
    is looked up any more.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias. No name of a generated world occurs in another split.
        task_type: Restrict `task_ids` to one of ``direct``, ``attribute``, ``compare``, ``multi_hop``.
        size: Of the generated world: ``full``, or ``small`` for tiny models.
        regularity: Probability with which a generated world's sources obey its regularities.
        world_seed: Which regularities the world has.
        stale: Corrupted share: of so many of the skill bank's keys the statements are wrong; the world does not change
            with it.
        stale_seed: Which keys.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        dataset: Questions instead of generated ones: a file in any published layout, or a mapping from split to file.
        dataset_splits: How a single file of questions is split: as ``named`` in its records, where they name none it
            is the split that is asked for; or by ``content`` into train, valid and test (80, 10 and 10 %).
        corpus: Passages as JSONL, e.g. ``wiki-18.jsonl``; comes with `index`.
        index: FAISS index whose rows are the corpus's lines, e.g. ``e5_Flat.index``.
        encoder: ``hashed``, the path of a saved hashed encoder, name or path of a transformers encoder, or ``lexical``,
            which searches a corpus by its words. ``auto`` is ``hashed`` in generated worlds and beside an index of
            vectors, else ``lexical``.
        query_prefix: In front of queries of a transformers encoder; None for the model's own (`encoder_settings`).
        passage_prefix: The same in front of passages.
        pooling: Of such an encoder: ``mean``, ``cls`` or ``pooler``; None for the model's own.
        nprobe: Lists that a search in an IVF file reads; None for four times the square root of their number.
        retriever: A server's address, or several to fail over between, instead of searching here; or an object with
            `Retriever`'s methods.
        topk: Passages per search, 1 to 100.
        max_turns: Turns; 6 for the full generated world, 4 (the official number) for the small one and for a dataset.
        final_answer_turn: Whether the turn in which nothing is looked up comes on top of `max_turns` (Search-R1's
            counting) or is the last of them.
        passage_style: ``search_r1``, ``sdar`` or ``plain``.
        reading: What a turn is that says more than one block, see `protocol`: ``strict`` does not understand it,
            ``cut`` ends it at the first closing tag, as Search-R1 does, ``cut_penalised`` also counts it as invalid, as
            SDAR does. None is ``strict`` for generated questions; for a dataset it goes with `passage_style`: ``cut``
            with ``search_r1``, ``cut_penalised`` with ``sdar``, ``strict`` with ``plain``.
        obs_mode: ``delta`` shows what is new, ``prompt`` a whole prompt with rules and history at every turn.
        history_length: Turns that such a prompt shows.
        reward: ``em``, ``subem``, ``f1``, or ``format_em``, which also pays for the structure of the turns.
        retrieval_score: What `format_em` pays for a wrong answer when a gold one stood in what was found.
        invalid_action_penalty: Taken from the reward of a turn that was not understood.
        on_error: What an outage of the retriever does: ``raise``, or ``truncate`` the episode with a mark in `info`.
            It never becomes text that a model reads.
        connect_timeout: Seconds that a server is given to be reached.
        read_timeout: Seconds that it is given to answer; an index of many gigabytes on a cold disk takes minutes.
        tries: Requests per search before it is an outage.
        pause: Seconds before the second try, doubled each time.
        threads: Of searches in this process.
        cache: Queries whose answers are remembered, in at most 256 MiB.
        expose_privileged: Whether `info` has ``"privileged"``.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice, a number out of range, options that do not go together, or files that do not.
        ImportError: What searching here needs is not installed.
    """

    env_id = SEARCHQA.env_id
    max_action_length: ClassVar[int] = _MAX_ACTION
    rebuilt = frozenset({"_setup", "_searcher"})  # the corpus is large, and others search in it too

    def __init__(
        self,
        split: str = "train",
        task_type: str | None = None,
        size: str = "full",
        regularity: float = 0.85,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        dataset: FilePath | Mapping[str, FilePath] | None = None,
        corpus: FilePath | None = None,
        index: FilePath | None = None,
        encoder: FilePath = "auto",
        retriever: str | Sequence[str] | Retriever | None = None,
        topk: int = 3,
        max_turns: int | None = None,
        final_answer_turn: bool = False,
        passage_style: str = "search_r1",
        reading: str | None = None,
        obs_mode: str = "delta",
        history_length: int = 4,
        reward: str = "em",
        retrieval_score: float = 0.0,
        invalid_action_penalty: float = 0.0,
        on_error: str = "raise",
        threads: int = 1,
        cache: int = 65_536,
        dataset_splits: str = "named",
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        pooling: str | None = None,
        nprobe: int | None = None,
        connect_timeout: float = 2.0,
        read_timeout: float = 30.0,
        tries: int = 3,
        pause: float = 0.2,
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        where = self.env_id
        require_number("topk", topk, where, low=1, high=MAX_TOPK, whole=True)
        require_bool("final_answer_turn", final_answer_turn, where)
        if task_type is not None:
            require_choice("task_type", task_type, tables.TASK_TYPES, where)
        require_choice("size", size, tables.SIZES, where)
        if max_turns is None:
            max_turns = 4 if dataset is not None else tables.SIZE_TABLES[size].max_turns
        # A comparison of three takes three searches and an answer.
        fewest = 1 if dataset is not None else 4 - final_answer_turn
        require_number("max_turns", max_turns, where, low=fewest, whole=True)
        super().__init__(
            split=split,
            horizon=max_turns + final_answer_turn,
            expose_privileged=expose_privileged,
            render_mode=render_mode,
            max_observation_length=_MAX_OBSERVATION,
        )
        self.action_space = FreeText(_MAX_ACTION, samples=_SAMPLES)
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, where)
        self.passage_style = require_choice("passage_style", passage_style, wording.STYLES, where)
        if reading is None:
            reading = _READING_OF_STYLE[passage_style] if dataset is not None else "strict"
        self.reading = require_choice("reading", reading, READINGS, where)
        self.obs_mode = require_choice("obs_mode", obs_mode, wording.OBS_MODES, where)
        require_number("history_length", history_length, where, low=0, whole=True)
        self.history_length = history_length
        self.reward = require_choice("reward", reward, rewards.REWARDS, where)
        require_number("retrieval_score", retrieval_score, where, low=0, high=1)
        self.retrieval_score = retrieval_score
        require_number("invalid_action_penalty", invalid_action_penalty, where, low=0)
        self.invalid_action_penalty = invalid_action_penalty
        self.on_error = require_choice("on_error", on_error, ON_ERROR, where)
        self.size = size
        self.official = dataset is not None
        self.topk = topk
        require_number("world_seed", world_seed, where, whole=True)
        require_number("regularity", regularity, where, low=0, high=1)
        require_number("stale", stale, where, low=0, high=1)
        require_number("stale_seed", stale_seed, where, whole=True)
        require_number("threads", threads, where, low=1, whole=True)
        require_number("cache", cache, where, low=0, whole=True)
        if nprobe is not None:
            require_number("nprobe", nprobe, where, low=1, whole=True)
        if pooling is not None:
            require_choice("pooling", pooling, POOLINGS, where)
        require_choice("dataset_splits", dataset_splits, DATASET_SPLITS, where)
        self._setup: Setup = make_setup(
            split=self.split,
            task_type=task_type,
            size=size,
            regularity=regularity,
            world_seed=world_seed,
            stale=stale,
            stale_seed=stale_seed,
            dataset=(
                {str(split): _path("dataset", file) or "" for split, file in dataset.items()}
                if isinstance(dataset, Mapping)
                else _path("dataset", dataset)
            ),
            corpus=_path("corpus", corpus),
            index=_path("index", index),
            encoder=_path("encoder", encoder) or AUTO,
            retriever=retriever,
            topk=topk,
            searches=self.horizon - 1,
            search=SearchOptions(
                threads=threads,
                room=cache,
                nprobe=nprobe,
                encoder=EncoderOptions(pooling, query_prefix, passage_prefix),
                limits=ClientLimits(connect_timeout, read_timeout, tries, pause),
            ),
            dataset_splits=dataset_splits,
        )
        self.skill_bank = self._setup.tasks.skill_bank()
        self._episode: Episode | None = None
        self._searcher: Retriever | None = None  # of the split that is being played
        self._prepared: dict[str, list[Hit] | RetrievalError] = {}
        self._last_read: tuple[str, Turn, str] | None = None
        self._outage = ""

    @property
    def world_version(self) -> str:  # type: ignore[override]  # of the size and the records, so the class has none
        """Changes with whatever moves a score: see `version`; official records add a hash of their own."""
        version = world_version(self.size)
        return f"{version}-{self._setup.version}" if self._setup.version else version

    @property
    def tasks(self) -> TaskSource:
        """Where the questions come from."""
        return self._setup.tasks

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The task ids of a split, e.g. ``train:000123``; in generated worlds, task types come in turn."""
        return self._setup.tasks.task_ids(self.split if split is None else split)

    def tool_set(self) -> ToolSet:
        """Searching and answering as tools, for agents that call tools."""
        return TOOLS

    def cluster_of(self, task_id: str) -> str:
        """The passages that a task hangs on: success rates of tasks that share them are not independent."""
        return self._setup.tasks.load(task_id).cluster

    # Steps of several environments at once.

    def pending_query(self, action: object) -> str:
        """The query that `action` would send off in the present state; "" for none."""
        if not isinstance(action, str) or self._over or self._episode is None or self._steps >= self.horizon - 1:
            return ""
        return self._read(clean_action(_unfolded(action), self.max_action_length))[1]

    def _read(self, action: str) -> tuple[Turn, str]:
        """What a cleaned action says, and the query in it ("" for none); read once for preparing and playing it."""
        if self._last_read is None or self._last_read[0] != action:
            turn = read_turn(action, self.reading)
            self._last_read = (action, turn, clean_query(turn.content) if turn.kind == "search" else "")
        return self._last_read[1:]

    @staticmethod
    def prepare_steps(envs: Sequence[SearchQAEnv], actions: Sequence[object]) -> None:
        """Look up what all these environments are about to ask: one search for environments that share a retriever.

        Each environment's next `step` then finds its answer ready. An outage is met here once and raised in the steps.
        """
        groups: dict[tuple[int, int], tuple[Retriever, int, list[tuple[SearchQAEnv, str]]]] = {}
        for env, action in zip(envs, actions, strict=True):
            env._prepared.clear()
            query = env.pending_query(action)
            if query:
                retriever = env._retriever
                _, _, asking = groups.setdefault((id(retriever), env.topk), (retriever, env.topk, []))
                asking.append((env, query))
        for retriever, topk, asking in groups.values():
            queries = list(dict.fromkeys(query for _, query in asking))
            found: dict[str, list[Hit] | RetrievalError]
            try:
                found = dict(zip(queries, retriever.search(queries, topk), strict=True))
            except RetrievalError as error:
                found = dict.fromkeys(queries, error)
            for env, query in asking:
                env._prepared[query] = found[query]

    # The contract.

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one turn.

        Raises:
            TypeError: `action` is not a `str`.
            gymnasium.error.ResetNeeded: No episode is running.
            RetrievalError: Retrieval is out of order, with ``on_error="raise"``.
        """
        observation, reward, terminated, truncated, info = super().step(
            _unfolded(action) if isinstance(action, str) else action
        )
        if self._outage:
            truncated = self._over = True
            info["environment_failure"] = f"retrieval is out of order ({self._outage})"
        return observation, reward, terminated, truncated, info

    def _begin(self, task_id: str) -> str:
        task = self._setup.tasks.load(task_id)
        self._searcher = self._setup.retriever(task_id.partition(":")[0])
        self._episode = Episode(task, (self._setup.seed, task_id))
        self._prepared.clear()
        self._outage = ""
        return self._observe("")

    def _resume(self) -> None:
        # The episode knows what was found: nothing is asked again, of a server perhaps.
        if self._task_id is not None and self._episode is not None:
            self._searcher = self._setup.retriever(self._task_id.partition(":")[0])

    def _act(self, action: str) -> Transition:
        transition = self._played_turn(action)
        self._playing.plan_lengths.append(self._playing.plan_length())
        return transition

    def _played_turn(self, action: str) -> Transition:
        episode = self._playing
        turn, query = self._read(action)
        episode.begin_turn(turn)
        action, valid = turn.text, not turn.penalised
        if turn.kind == "answer":
            return self._answer(episode, turn, action)
        if not query:
            fault = Fault.EMPTY_QUERY if turn.kind == "search" else turn.fault
            text = wording.refusal(self.passage_style, fault)
            return self._next(episode, action, text, valid=False)
        if self._steps >= self.horizon - 1:  # the last turn: nothing is looked up any more
            return self._next(episode, action, "", valid=valid)
        try:
            hits = self._look_up(query)
        except RetrievalError as error:
            if self.on_error == "raise":
                raise
            self._outage = episode.outage = type(error).__name__
            return Transition("", 0.0, False, True)
        episode.take(query, hits)
        return self._next(episode, action, wording.information(self.passage_style, hits), valid=valid)

    def _answer(self, episode: Episode, turn: Turn, action: str) -> Transition:
        # The answer was cleaned on its way here, so a gold answer counts in its cleaned form too.
        cleaned = (clean_action(_unfolded(gold), self.max_action_length) for gold in episode.task.answers)
        golds = tuple(dict.fromkeys([*episode.task.answers, *cleaned]))
        value = rewards.answer_reward(
            self.reward,
            turn.content,
            golds,
            structure=episode.well_formed,
            retrieved=self.reward == "format_em" and rewards.holds_answer(episode.shown, golds),
            retrieval_score=self.retrieval_score,
        )
        right = bool(exact_match(turn.content, golds)) or (self.reward == "subem" and value == 1.0)
        episode.finish(success=right, score=value)
        episode.record(action, "")
        valid = not turn.penalised
        return Transition("", value if valid else value - self.invalid_action_penalty, True, valid)

    def _next(self, episode: Episode, action: str, text: str, *, valid: bool) -> Transition:
        episode.record(action[:_SHOWN_ACTION], text)
        return Transition(self._observe(text), 0.0 if valid else -self.invalid_action_penalty, False, valid)

    def _look_up(self, query: str) -> list[Hit]:
        ready = self._prepared.pop(query, None)
        if isinstance(ready, RetrievalError):
            raise ready
        return self._retriever.search([query], self.topk)[0] if ready is None else ready

    def _observe(self, text: str) -> str:
        """The observation after a turn: what came back, or the whole prompt of the next turn."""
        episode = self._playing
        if self.obs_mode == "delta":
            if episode.actions:
                return text
            return f"{'question' if self.size == 'small' else 'Question'}: {episode.task.question}"
        turn = len(episode.actions) + 1
        if turn > self.horizon:  # nobody acts on this one
            return text
        return wording.prompt(
            episode.task.question,
            episode.actions,
            episode.observations,
            turn=turn,
            turns=self.horizon,
            shown=self.history_length,
            last=turn >= self.horizon,
        )

    def _public(self) -> PublicFields:
        episode = self._playing
        fields: SearchFields = {
            "task_type": episode.task.task_type,
            "skill_keys": list(episode.task.skill_keys),
            "instruction": episode.task.question,
            "admissible_actions": list(_TEMPLATES),
            "success": episode.success,
            "score": episode.score,
            "data_source": episode.task.data_source,
            "query": episode.query,
            "hit_ids": [str(hit.passage.id) for hit in episode.hits],
            "hit_scores": [hit.score for hit in episode.hits],
            "retrieval_error": episode.outage,
            "turn": len(episode.actions),
        }
        return fields

    def _wrong_actions(self) -> WrongActions:
        episode = self._playing
        # Of records nothing proves that their passages can be found, and an outage is nobody's mistake.
        if self.official or episode.outage:
            return UNKNOWN
        return by_plan_lengths(episode.plan_lengths, self.horizon)

    def _privileged(self) -> PrivilegedFields:
        episode = self._playing
        task = episode.task
        if episode.skills is None:
            episode.skills = self.skill_bank.retrieve(
                self.retrieval,
                task_type=task.task_type,
                keys=task.skill_keys,
                text=task.question,
                seed_key=episode.seed_key,
            )
        plan = episode.plan(self.horizon)
        return {
            "task_type": task.task_type,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": episode.hints(plan),
            "facts": episode.facts(),
            "skills": copied_skills(episode.skills),
        }

    @property
    def _retriever(self) -> Retriever:
        assert self._searcher is not None
        return self._searcher

    @property
    def _playing(self) -> Episode:
        assert self._episode is not None
        return self._episode


def _path(option: str, value: object) -> str | None:
    """A file's path as text; None stays None.

    Raises:
        ValueError: It is no path.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if path is not None and not isinstance(path, str):
        raise ValueError(f"{SEARCHQA.env_id} expects {option}= to be a path, got {repr(value)[:100]}")
    return path


# As the two published environments read what they show in these styles.
_READING_OF_STYLE = {"search_r1": "cut", "sdar": "cut_penalised", "plain": "strict"}
_TEMPLATES = (search_action("QUERY"), answer_action("ANSWER"))
_SAMPLES = (
    *(search_action(query) for query in ("the register", "who", "era 12", "?", "")),
    *(answer_action(answer) for answer in ("era 12", "")),
    "<think>so</think> <search>the mayor</search>",
    "<search>one</search> <answer>two</answer>",
    "no tags at all",
)


def _unfolded(action: str) -> str:
    """The action on one line; no more is looked at than an action may have."""
    return action[: _MAX_ACTION + 1].translate(_SPACES)
