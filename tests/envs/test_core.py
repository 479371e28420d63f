"""The contract of every text world: one base class keeps it, whatever the world and whatever the agent sends."""

from __future__ import annotations

import json

import gymnasium as gym
import pytest
from hash_seeds import printed_under_hash_seeds
from hypothesis import given
from hypothesis import strategies as st
from toy_world import ToyWorld

from sdar_envs.choices import require_choice, unknown_choice
from sdar_envs.core import INFO_KEYS, SPLIT_ALIASES, clean_action, resolve_split
from sdar_envs.hostile import hostile_actions
from sdar_envs.randomness import counted_generator, key_entropy

ANY_TEXT = st.text(st.characters(codec=None), max_size=700)
MARK = "\N{REPLACEMENT CHARACTER}"


@given(ANY_TEXT)
def test_any_text_is_cleaned_to_one_bounded_encodable_printable_line(text: str):
    cleaned = clean_action(text, 512)
    assert len(cleaned) <= 513
    assert cleaned.isprintable()
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned


@given(ANY_TEXT)
def test_cleaning_is_idempotent_and_never_makes_two_words_of_a_control_character(text: str):
    cleaned = clean_action(text, 10_000)
    assert clean_action(cleaned, 10_000) == cleaned.strip(" ")
    if text.strip(" \t\r\n").isprintable():
        assert cleaned == text.strip(" \t\r\n")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  go to desk 1 \r\n", "go to desk 1"),
        ("look\nlook", f"look{MARK}look"),
        ("look\x00", f"look{MARK}"),
        ("\x1b[31mlook", f"{MARK}[31mlook"),
        ("\ud800", MARK),
        ("caf\xe9", "caf\xe9"),
        ("look\xa0", f"look{MARK}"),  # a no-break space is not a space
        ("a" * 9, "a" * 8 + MARK),
        ("a\n" * 9, f"a{MARK}" * 4 + MARK),
    ],
)
def test_cleaning_by_example(text: str, cleaned: str):
    assert clean_action(text, 8 if text.startswith("a") else 512) == cleaned


def test_every_hostile_text_is_an_ordinary_step():
    env = ToyWorld(horizon=10_000)
    observation, _ = env.reset(seed=0)
    for text in hostile_actions(2_000, legal=["open 1", "open 2"]):
        observation, reward, terminated, truncated, info = env.step(text)
        assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False)
        assert info["is_action_valid"] is False


@pytest.mark.parametrize("value", [None, 3, b"look", ["look"]])
def test_an_action_that_is_not_text_is_a_type_error(value: object):
    env = ToyWorld()
    env.reset(seed=0)
    with pytest.raises(TypeError, match=f"expected to be a str, got {type(value).__name__}"):
        env.step(value)  # type: ignore[arg-type]


def test_the_horizon_truncates_and_does_not_terminate():
    env = ToyWorld(horizon=3)
    env.reset(seed=0)
    ends = [env.step("wait")[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(gym.error.ResetNeeded, match=r"toy/Boxes-v0 expects reset\(\) before step"):
        env.step("wait")


def test_success_at_the_last_step_terminates_and_does_not_truncate():
    env = ToyWorld(horizon=2)
    _, info = env.reset(seed=0)
    env.step(info["privileged"]["next_action"])
    _, reward, terminated, truncated, info = env.step("take coin")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_stepping_before_the_first_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded):
        ToyWorld().step("wait")


def test_info_has_the_same_plain_keys_at_every_call():
    env = ToyWorld()
    _, info = env.reset(seed=0)
    infos = [info] + [env.step(action)[4] for action in ("open 1", "nonsense", "open 2")]
    for info in infos:
        assert info.keys() == INFO_KEYS | {"privileged"}
        assert json.loads(json.dumps(info)) == info
    assert [info["is_action_valid"] for info in infos] == [True, True, False, True]


def test_privileged_information_can_be_switched_off():
    env = ToyWorld(expose_privileged=False)
    assert env.reset(seed=0)[1].keys() == INFO_KEYS
    assert env.step("open 1")[4].keys() == INFO_KEYS


def test_a_task_id_selects_the_task_whatever_the_seed():
    env = ToyWorld()
    first = [env.reset(seed=seed, options={"task_id": "valid:7"}) for seed in (0, 1)]
    assert first[0] == first[1]
    assert first[0][1]["task_id"] == "valid:7"


def test_seeds_draw_tasks_of_the_split():
    env = ToyWorld(split="valid_seen")
    ids = [env.reset(seed=seed)[1]["task_id"] for seed in range(40)]
    assert all(task_id.startswith("valid:") for task_id in ids)
    assert len(set(ids)) > 10
    assert ids[3] == ToyWorld(split="dev").reset(seed=3)[1]["task_id"]


def test_a_task_that_cannot_be_loaded_leaves_no_episode_running():
    env = ToyWorld()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"looks like train:7, got 'nowhere'"):
        env.reset(options={"task_id": "nowhere"})
    with pytest.raises(gym.error.ResetNeeded):
        env.step("wait")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"split": "trian"}, r"unknown split 'trian' for toy/Boxes-v0: .*nearest is \"train\""),
        ({"render_mode": "rgb"}, "unknown render_mode 'rgb'"),
        ({"horizon": 0}, "horizon >= 1, got 0"),
        ({"max_observation_length": 3}, "max_observation_length >= 6, got 3"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        ToyWorld(**kwargs)  # type: ignore[arg-type]


def test_an_unknown_reset_option_is_refused():
    with pytest.raises(ValueError, match=r"unknown reset option 'taskid'.*nearest is \"task_id\""):
        ToyWorld().reset(options={"taskid": "train:1"})


def test_a_split_without_tasks_says_so():
    class Empty(ToyWorld):
        def task_ids(self, split: str | None = None) -> list[str]:
            return []

    with pytest.raises(ValueError, match="at least one task in split 'train'"):
        Empty().reset(seed=0)


def test_a_long_observation_is_cut_with_a_visible_mark():
    env = ToyWorld(max_observation_length=20)
    observation, _ = env.reset(seed=0)
    assert observation == "There are 4 bo [cut]"
    assert observation in env.observation_space


def test_frames_show_the_last_exchange(capsys: pytest.CaptureFixture[str]):
    env = ToyWorld(render_mode="ansi")
    observation, _ = env.reset(seed=0)
    assert env.render() == observation
    env.step("\x1b[31mwait")
    assert env.render() == f"> {MARK}[31mwait\nNothing happens."
    human = ToyWorld(render_mode="human")
    human.reset(seed=0)
    human.step("wait")
    assert capsys.readouterr().out == f"{observation}\n> wait\nNothing happens.\n"


def test_rendering_without_a_mode_warns_and_shows_nothing():
    env = ToyWorld()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="needs render_mode"):
        assert env.render() is None


def test_published_split_names_are_aliases():
    assert {resolve_split(alias, "here") for alias in SPLIT_ALIASES} == {"valid", "test"}
    assert resolve_split("eval_out_of_distribution", "here") == "test"


def test_refusals_list_the_choices_and_the_nearest():
    assert str(unknown_choice("fruit", "aple", ["apple", "pear"], "the bowl")) == (
        "unknown fruit 'aple' for the bowl: choose from apple, pear; the nearest is \"apple\""
    )
    assert "nearest" not in str(unknown_choice("fruit", "zzz", ["apple"], "the bowl"))
    assert require_choice("fruit", "pear", ("apple", "pear"), "the bowl") == "pear"


def test_a_refusal_stays_short_for_any_value_and_any_number_of_choices():
    assert len(str(unknown_choice("task id", "x" * 10**6, map(str, range(10**5)), "the world"))) < 1000


KEYS = st.lists(st.one_of(st.integers(), st.text(st.characters(codec=None), max_size=8)), max_size=4)


@given(KEYS, KEYS)
def test_different_keys_have_different_entropy(one: list[int | str], other: list[int | str]):
    assert (key_entropy(*one) == key_entropy(*other)) is (one == other)


def test_a_trailing_zero_is_part_of_a_key():
    draws = {counted_generator(*key).random() for key in [(5,), (5, 0), (5, 0, 0), ("5",), (-5,), (2**32, 5)]}
    assert len(draws) == 6


def test_a_key_is_integers_and_strings():
    with pytest.raises(TypeError):
        key_entropy(1.5)  # type: ignore[arg-type]


def test_counted_draws_are_the_same_in_any_process():
    code = "from sdar_envs.randomness import counted_generator as g; print(g('a', 1).integers(10**9, size=3).tolist())"
    assert printed_under_hash_seeds(code) == f"{counted_generator('a', 1).integers(10**9, size=3).tolist()}\n"
    # The stream is part of the worlds: if this number changes, so does every task, and `world_version` has to.
    assert counted_generator("a", 1).integers(10**9) == 906058286
