"""What the source must not say: claims of SECURITY.md and of the information barrier that hold for every line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sdar_envs", "agents", "trainers")
SOURCES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}

# Who may open what only a teacher may read: the teacher, agents that say so, the log that is asked for by name, and
# tools that say so on screen, or show nothing of it (`wrong_actions` asks whether a statement was true).
REVEALERS = {
    "agents/baselines.py",
    "agents/teacher.py",
    "sdar_envs/webshop/storefront.py",
    "trainers/cli/inspection.py",
    "trainers/cli/play.py",
    "trainers/cli/wrong_actions.py",
    "trainers/run/episode_log.py",
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its dotted name, as far as it has one; methods of other things begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, function = [], node.func
            while isinstance(function, ast.Attribute):
                parts.append(function.attr)
                function = function.value
            parts.append(function.id if isinstance(function, ast.Name) else "")
            yield ".".join(reversed(parts)), node


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def forbidden(tree: ast.AST) -> list[str]:
    """What a source says and must not."""
    found = []
    for name, call in calls(tree):
        if name in {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "torch.load", "torch.save"}:
            found.append(name)
        if name in {"random.seed", "np.random.seed", "numpy.random.seed"}:
            found.append(name)
        for keyword in call.keywords:
            # A caller's word on a model's own code is handed on; nowhere in the source is it a yes.
            handed_on = keyword.arg == "trust_remote_code" and isinstance(keyword.value, ast.Name | ast.Attribute)
            if keyword.arg in {"shell", "trust_remote_code", "allow_pickle"} and not (
                handed_on or (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            ):
                # What a person has chosen is handed on by a name; its default is False, as the next test holds.
                if keyword.arg == "trust_remote_code" and not isinstance(keyword.value, ast.Constant):
                    continue
                found.append(f"{name}({keyword.arg}=...)")
    return found


@pytest.mark.parametrize("path", SOURCES)
def test_nothing_is_evaluated_unpickled_or_seeded_globally(path: str):
    assert forbidden(SOURCES[path]) == []


def test_code_of_a_model_runs_only_where_somebody_asks_for_it():
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                positional = node.args.posonlyargs + node.args.args
                defaults = dict(zip(reversed(positional), reversed(node.args.defaults), strict=False))
                defaults |= dict(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
                for argument, default in defaults.items():
                    if argument.arg == "trust_remote_code":
                        assert isinstance(default, ast.Constant) and default.value is False, (path, node.name)


def test_the_privileged_side_is_opened_in_few_places():
    assert {path for path, tree in SOURCES.items() for name, _ in calls(tree) if name.endswith(".reveal")} == REVEALERS


def test_only_checkers_pickle():
    names = {"pickle", "shelve", "joblib", "dill", "cloudpickle", "marshal"}
    users = {path for path, tree in SOURCES.items() if names & set(imports(tree))}
    assert users == {"sdar_envs/conformance/checks.py", "sdar_envs/conformance/games.py"}


def test_models_are_loaded_in_one_place():
    users = {
        path.relative_to(ROOT).as_posix()
        for package in (*PACKAGES, "benchmarks")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "from_pretrained(" in path.read_text(encoding="utf-8")
    }
    # A checkpoint is read by the class of the live model; benchmarks measure other people's loading, too.
    assert {path for path in users if not path.startswith("benchmarks/")} == {
        "sdar_envs/model_files.py",
        "trainers/run/run_state.py",
    }


def test_a_models_own_code_is_never_trusted_by_default():
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                defaults = {
                    argument.arg: default
                    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                }
                default = defaults.get("trust_remote_code")
                assert "trust_remote_code" not in defaults or (
                    isinstance(default, ast.Constant) and default.value is False
                ), path


def test_torch_is_seeded_only_where_its_state_is_put_back():
    for path, tree in SOURCES.items():
        forks = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.With) and any("fork_rng" in ast.unparse(item.context_expr) for item in node.items)
        ]
        inside = {id(call) for fork in forks for _, call in calls(fork)}
        seeded = [call for name, call in calls(tree) if name == "torch.manual_seed" and id(call) not in inside]
        assert not seeded, path


def test_packages_import_themselves_relatively():
    # So that a later move to other names touches few lines.
    for path, tree in SOURCES.items():
        assert path.split("/")[0] not in set(imports(tree)), path


def test_the_scan_sees_what_it_looks_for():
    lines = ["eval('1')", "load(x, trust_remote_code=True)", "go(y, trust_remote_code=trust)", "run(c, shell=False)"]
    tree = ast.parse("\n".join([*lines, "import pickle", "a.b().reveal()"]))
    assert forbidden(tree) == ["eval", "load(trust_remote_code=...)"]
    assert list(imports(tree)) == ["pickle"]
    assert [name for name, _ in calls(tree) if name.endswith(".reveal")] == [".reveal"]
