"""Fifteen broken environments of other people, each found by exactly its check; three clean ones are clean."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import json
import lzma
import pickle
import random
import re
import sqlite3
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from strangers import ACTIONS, BROKEN, CLEAN, OPENING, Listed, OneForAll, Unwinnable, Vault, answers, solve

from sdar_envs.__main__ import main
from sdar_envs.commands.check import read_pairs
from sdar_envs.conformance import (
    CheckResult,
    ConformanceError,
    ConformanceReport,
    Status,
    check_text_env,
    run_checks,
)
from sdar_envs.conformance.disguises import find
from sdar_envs.conformance.scan import scan
from sdar_envs.conformance.scores import wilson_high

QUICK = {"episodes": 4, "hostile_actions": 80, "step_seconds": 5.0, "sessions": 8}


def checked(kind: type[Vault]):
    return run_checks(kind, secret=answers, variants=lambda v: kind(exchange=v), oracle=solve, **QUICK)


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_environment_is_found_by_exactly_its_check(kind: type[Vault]):
    report = checked(kind)
    assert [result.name for result in report.failures] == [BROKEN[kind]], str(report)
    assert all(result.remedy for result in report.failures)


@pytest.mark.parametrize("kind", CLEAN, ids=lambda kind: kind.__name__)
def test_a_clean_environment_is_clean(kind: type[Vault]):
    report = checked(kind)
    assert report.failures == [] and report.by_status(Status.WARNED) == [], str(report)
    assert {"declared_secret", "counterfactual", "oracle", "floor_gap", "sessions"} <= set(
        report.by_status(Status.HELD)
    )


def test_what_nobody_looked_at_is_never_said_to_hold():
    report = run_checks(Vault, **QUICK)
    skipped = {result.name: result.skipped for result in report.results if result.skipped}
    assert {"canary", "declared_secret", "counterfactual", "oracle", "floor_gap", "plan"} <= skipped.keys()
    assert "nothing is known" in skipped["declared_secret"] and all(skipped.values())


def test_all_faults_are_reported_and_the_first_is_raised():
    class Worse(Unwinnable):
        def __repr__(self) -> str:
            return self.password

    options = {"secret": answers, "oracle": solve, **QUICK}
    assert [result.name for result in run_checks(Worse, **options).failures] == ["declared_secret", "oracle"]
    with pytest.raises(ConformanceError, match=r"\[declared_secret\] .*1 more failed: oracle") as caught:
        check_text_env(Worse, **options)
    assert [result.name for result in caught.value.report.failures] == ["declared_secret", "oracle"]


def test_an_environment_that_cannot_be_played_fails_one_check_and_the_others_say_why():
    class Raising(Vault):
        def step(self, action):
            raise RuntimeError("out of order")

    report = run_checks(Raising, **QUICK)
    assert [(result.name, result.status) for result in report.failures] == [("plays", Status.ERROR)]
    assert "out of order" in report.failures[0].what
    assert all("plays failed" in result.skipped for result in report.results[1:])


def test_a_promise_of_this_suite_alone_is_a_warning_elsewhere():
    class Lax(Vault):
        def begin(self, number, options):
            super().begin(number, None)

    assert run_checks(Lax, **QUICK).by_status(Status.WARNED) == ["unknown_option"]
    strict = run_checks(Lax, profile="contract", **QUICK)
    assert [result.name for result in strict.failures] == ["unknown_option"]


def test_a_hidden_part_that_is_the_seeds_and_not_the_tasks_is_a_warning_elsewhere():
    class SeededPassword(Listed):
        def begin(self, number, options):
            super().begin(self.draw(), options)

    report = run_checks(SeededPassword, oracle=solve, **QUICK)
    assert report.failures == [] and report.by_status(Status.WARNED) == ["group_shares_task"], str(report)
    (told,) = [result for result in report.results if result.name == "group_shares_task"]
    assert "one of which has another seed" in told.what and "whatever the seed" in told.remedy
    strict = run_checks(SeededPassword, profile="contract", only=("plays", "group_shares_task"), **QUICK)
    assert [result.name for result in strict.failures] == ["group_shares_task"]


def test_members_are_counted_and_tasks_that_look_alike_are_no_fault_where_nobody_can_win():
    (held,) = run_checks(Listed, only=("group_shares_task",), **QUICK).results
    assert held.status is Status.HELD and held.measured["tasks"] >= 2 and held.measured["members"] >= 3
    assert held.measured["told apart"] == held.measured["tasks"] and held.blind
    (unknown,) = run_checks(OneForAll, only=("group_shares_task",), **QUICK).results
    assert unknown.status is Status.HELD and unknown.measured["told apart"] == 0
    (nameless,) = run_checks(Vault, only=("group_shares_task",), **QUICK).results
    assert "no task_id" in nameless.skipped


def test_an_environment_that_draws_from_the_streams_of_the_process_is_told_so():
    class Disturbing(Vault):
        def step(self, action):
            random.random()
            return super().step(action)

    report = run_checks(Disturbing, **QUICK)
    assert report.failures == [] and report.by_status(Status.WARNED) == ["global_random"], str(report)
    strict = run_checks(Disturbing, profile="contract", only=("plays", "global_random"), **QUICK)
    assert [result.name for result in strict.failures] == ["global_random"]
    assert "random" in strict.failures[0].what and "numpy" not in strict.failures[0].what


def test_a_number_that_python_does_not_read_is_an_ordinary_action():
    class Counting(Vault):
        def step(self, action):
            if isinstance(action, str) and action.strip("[]").isdecimal():
                action = str(int(action.strip("[]")))
            return super().step(action)

    failed = run_checks(Counting, **QUICK).failures
    assert [result.name for result in failed] == ["hostile_actions"] and "5,000 digits" in failed[0].what


def test_an_environment_that_never_comes_back_is_reported_with_the_action_and_the_checks_before_it():
    class Endless(Vault):
        def step(self, action):
            if isinstance(action, str) and action.startswith("\\boxed"):
                reported.wait(30)
            return super().step(action)

    reports: list[ConformanceReport] = []
    reported = threading.Event()

    def hangs(report: ConformanceReport) -> None:
        reports.append(report)
        reported.set()

    run_checks(Endless, only=("plays", "text", "hostile_actions"), hang_seconds=0.4, on_hang=hangs, **QUICK)
    assert [(result.name, result.status) for result in reports[0].results] == [
        ("plays", Status.HELD),
        ("text", Status.HELD),
        ("hostile_actions", Status.FAILED),
    ]
    assert "boxed" in reports[0].failures[0].what and len(reports) == 1


SECRET = "cobalt harbour"
WRITTEN: dict[str, tuple[str, ...]] = {
    "plain": ("the answer is Cobalt Harbour.",),
    "spelled": ("c-o-b-a-l-t h a r b o u r",),
    "zero width": ("co\u200bbalt har\u200bbour",),
    "reversed": ("it reads ruobrah tlaboc",),
    "words turned": ("harbour cobalt",),
    "hexadecimal": (f"0x{SECRET.encode().hex()}!",),
    "base64": ("id=" + "eA" + __import__("base64").b64encode(SECRET.encode()).decode(),),
    "rot13": ("pbonyg uneobhe",),
    "percent": ("cobalt%20harbour",),
    "escapes": ("".join(f"\\u{ord(c):04x}" for c in SECRET),),
    "codes": (" ".join(str(ord(c)) for c in SECRET),),
    "two fields": ("first: cobalt ", "harbour is the second"),
    # In other words: beyond what reading can find.
    "acrostic": ("Cats often bring a little treat, hoping Anna returns before Oscar understands rats.",),
    "number": (f"{len(SECRET)} letters",),
}
BEYOND = {"acrostic", "number"}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_secret_is_found_as_it_is_and_in_disguise(how: str):
    assert (find([SECRET], WRITTEN[how]) is not None) == (how not in BEYOND)


def test_texts_that_only_speak_of_the_same_things_hold_no_secret():
    texts = [
        "The harbour is blue, a kind of cobalt.",
        "4d7953656372657454657874",
        "aGVsbG8gdGhlcmUgZ2VuZXJhbA==",
        "1 2 3",
    ]
    assert find([SECRET, "short"], texts) is None


def write_plain(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_gzip(path: Path, text: str) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(text)


def write_zip(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/log.jsonl", text)


def write_parquet(path: Path, text: str) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"prompt": text.split("\n")}), path)


def write_xz(path: Path, text: str) -> None:
    path.write_bytes(lzma.compress(text.encode()))


def write_bzip2(path: Path, text: str) -> None:
    path.write_bytes(bz2.compress(text.encode()))


def write_sqlite(path: Path, text: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("create table logs (line text)")
        base.executemany("insert into logs values (?)", [[line] for line in text.split("\n")])


def write_pickle(path: Path, text: str) -> None:
    path.write_bytes(pickle.dumps({"prompts": text.split("\n")}))


def write_torch(path: Path, text: str) -> None:
    pytest.importorskip("torch").save({"prompts": text.split("\n")}, path)


def write_tensorboard(path: Path, text: str) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("torch")
    writing = pytest.importorskip("torch.utils.tensorboard")
    with writing.SummaryWriter(str(path) + "-events") as writer:
        for step, line in enumerate(text.split("\n")[1400:1600]):
            writer.add_text("prompt", line, step)
    (events,) = Path(str(path) + "-events").iterdir()
    events.rename(path)
    events.parent.rmdir()


WRITERS = [
    write_plain,
    write_gzip,
    write_xz,
    write_bzip2,
    write_zip,
    write_parquet,
    write_sqlite,
    write_pickle,
    write_torch,
    write_tensorboard,
]


@pytest.mark.parametrize("write", WRITERS, ids=lambda f: f.__name__)
def test_a_scan_finds_a_planted_secret_in_the_files_of_a_run(tmp_path: Path, write: Callable[[Path, str], None]):
    lines = [json.dumps({"prompt": f"look {number}"}) for number in range(2000)]
    write(tmp_path / "clean", "\n".join(lines))
    write(tmp_path / "leaky", "\n".join([*lines[:1500], json.dumps({"prompt": SECRET[::-1]}), *lines[1500:]]))
    result = scan(tmp_path, [SECRET])
    assert [(place.path.partition("!")[0], place.disguise) for place in result.found] == [("leaky", "reversed")]
    assert result.left == {} and result.files >= 2
    if write is write_plain:
        assert result.found[0].line == 1501


def test_a_scan_finds_what_lies_between_two_pieces(tmp_path: Path):
    (tmp_path / "log").write_text("x " * (2**19 - 3) + SECRET + " y" * 9, encoding="utf-8")
    assert [place.disguise for place in scan(tmp_path, [SECRET]).found] == ["plain"]


def test_a_scan_names_what_it_did_not_look_into(tmp_path: Path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    (tmp_path / "link").symlink_to(tmp_path / "broken.zip")
    (tmp_path / "closed.zst").write_bytes(b"\x28\xb5\x2f\xfd and more")
    left = scan(tmp_path, [SECRET]).left
    assert left.keys() == {"broken.zip", "link", "closed.zst"} and "zstandard" in left["closed.zst"]
    with pytest.raises(ValueError, match="at least 8 letters"):
        scan(tmp_path, ["abc"])


def test_parquet_without_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1" + bytes(40))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = scan(tmp_path, [SECRET])
    assert result.left == {"rows.parquet": "parquet, and pyarrow is not installed"} and result.files == 0


@pytest.mark.parametrize("option", ["episodes", "sessions", "split_tasks"])
def test_nothing_to_play_is_refused_and_no_fault_of_the_environment(option: str):
    with pytest.raises(ValueError, match=f"expects {option} >= 1"):
        run_checks(Vault, **{**QUICK, option: 0})


def test_a_report_names_the_environment_and_its_arguments():
    make = functools.partial(gym.make, "sdar/Household-v0", size="small")
    assert run_checks(make, only=("unknown_option",), **QUICK).env == "sdar/Household-v0 size=small"
    assert run_checks(functools.partial(Vault, exchange=1), only=("unknown_option",), **QUICK).env == "Vault exchange=1"


def test_values_on_the_command_line_are_json_or_pythons_own_words():
    words = ["a=1", "b=0.5", "c=true", "d=False", "e=None", "f=small", "g=[1, 2]", "h=x=y"]
    read = {"a": 1, "b": 0.5, "c": True, "d": False, "e": None, "f": "small", "g": [1, 2], "h": "x=y"}
    assert read_pairs(words) == read


def test_the_command_ends_with_a_status_that_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    common = ["--episodes", "2", "--hostile-actions", "40", "--sessions", "4", "--oracle", "strangers:solve"]
    assert main(["check", "strangers:Vault", *common]) == 0
    assert re.search(r"\d+ held, \d+ skipped", capsys.readouterr().out)
    out = tmp_path / "report.json"
    words = ["check", "strangers:LeakyInfo", *common, "--secret", "strangers:answers", "--format", "json"]
    assert main([*words, "--output", str(out)]) == 1
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["verdict"] == "fail"
    assert [r["name"] for r in written["results"] if r["status"] == "failed"] == ["declared_secret"]
    capsys.readouterr()
    for words, said in (
        (["check", "strangers:Valt"], "Vault"),
        (["check", "sdar/Household-v1"], "sdar/Household"),
        (["check"], "expected a TARGET"),
        (["check", "strangers:Vault", "--only", "canry"], 'the nearest is "canary"'),
        (["chek"], 'the nearest is "check"'),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "secrets").write_text(f"{SECRET}\n", encoding="utf-8")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "log").write_text(f"prompt: {SECRET}\n", encoding="utf-8")
    assert main(["check", "--scan", str(tmp_path / "runs"), "--secrets", str(tmp_path / "secrets")]) == 1
    assert "log:1: 'cobalt harbour' (plain)" in capsys.readouterr().out


def test_an_interval_for_the_floor_is_wilsons():
    # Wilson (1927): for 0 of n the upper end is z^2 / (n + z^2).
    assert wilson_high(0.0, 20) == pytest.approx(1.96**2 / (20 + 1.96**2))
    assert wilson_high(1.0, 20) == pytest.approx(1.0)


def test_arguments_of_the_environment_reach_it():
    report = run_checks(functools.partial(Vault, exchange=1), only=("plays",), **QUICK)
    assert report.failures == []


# What only a teacher is told is a secret, too.


def told(info: dict[str, Any]) -> str:
    """A teacher's context that reads an entry of `info` of the stranger's own."""
    return f"This door has a password.\nIt is the {info['hidden']}, and nothing else opens it."


class Hiding(Vault):
    """Its privileged side is an entry of `info` that no prompt shows."""

    def info(self, won: bool) -> dict[str, Any]:
        return {**super().info(won), "hidden": self.password}


class LeakyOpening(Hiding):
    def opening(self) -> str:
        return f"{OPENING} {told({'hidden': self.password})}"


class LeakyEntry(Hiding):
    def info(self, won: bool) -> dict[str, Any]:
        return {**super().info(won), "debug": told({"hidden": self.password})[::-1]}


class LeakyRefusal(Hiding):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action not in (*ACTIONS, f"say {self.password}"):
            super().step(action)
            return self.ends(f"No. It is the {self.password}, and nothing else opens it.", False)
        return super().step(action)


class Telling(Hiding):
    """The note says in the teacher's own words what it says: whoever reads it has earned it."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action == "read the note":
            self.taken += 1
            return self.ends(told({"hidden": self.password}), False)
        return super().step(action)


def looked(kind: type[Vault], context: Callable[[dict[str, Any]], Any] = told) -> CheckResult:
    report = run_checks(kind, teacher_context=context, only=("plays", "declared_secret"), **QUICK)
    return report.results[-1]


@pytest.mark.parametrize("kind", [LeakyOpening, LeakyEntry, LeakyRefusal], ids=lambda kind: kind.__name__)
def test_a_sentence_of_the_teachers_context_is_found_on_the_agents_side(kind: type[Vault]):
    result = looked(kind)
    assert result.status is Status.FAILED and "declared secret" in result.what, result
    assert ("reversed" in result.what) == (kind is LeakyEntry)


@pytest.mark.parametrize("kind", [Hiding, Telling], ids=lambda kind: kind.__name__)
def test_a_context_that_only_the_teacher_has_or_that_was_earned_is_no_leak(kind: type[Vault]):
    result = looked(kind)
    assert result.status is Status.HELD and (result.measured or {})["secrets"] >= 2, result


def test_a_context_that_gives_no_text_is_named_as_such():
    raising = looked(Vault)
    assert raising.status is Status.FAILED and "given info at reset, got KeyError: 'hidden'" in raising.what
    assert "got NoneType None" in looked(Hiding, lambda info: None).what
    short = looked(Hiding, lambda info: "go")
    assert short.status is Status.SKIPPED and "fewer than 8 letters" in short.skipped


def test_the_command_takes_a_teacher_context_as_training_does(capsys: pytest.CaptureFixture[str]):
    words = ["check", "test_check_strangers:LeakyOpening", "--only", "declared_secret", "--episodes", "2"]
    assert main(words) == 0 and "--teacher-context" in capsys.readouterr().out
    assert main([*words, "--teacher-context", "test_check_strangers:told"]) == 1
    assert "'This door has a password.' nowhere on the agent's side at reset" in capsys.readouterr().out
    assert main([*words, "--teacher-context", "test_check_strangers:toll"]) == 2
    assert "told" in capsys.readouterr().err
