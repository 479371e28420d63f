"""Reports say what the records hold, say what is missing, show the same episodes every time, and stay small."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from made_up_run import write_run
from made_up_study import GAINS, make_up_study
from page_structure import Structure

from trainers.cli import main
from trainers.report.document import (
    Cell,
    Column,
    DetailsBlock,
    Document,
    Paragraph,
    Section,
    TableBlock,
    VerdictBlock,
    figures_of,
)
from trainers.report.markdown import render_markdown
from trainers.report.number_format import points
from trainers.report.page import render_page
from trainers.report.run_document import run_document
from trainers.report.run_records import read_run
from trainers.report.study_document import deciding_claim, study_document, study_view
from trainers.report.study_figures import TOGETHER, axes_of
from trainers.report.write import one_seed, write_report
from trainers.run.directory import RunDirectoryError
from trainers.study.analysis import analyse
from trainers.study.plan_records import StudyError
from trainers.study.records import Study, load_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_up_study(tmp_path_factory.mktemp("study"), seeds=(0, 1, 2), iterations=20)


@pytest.fixture(scope="module")
def document(study: Study) -> Document:
    return study_document(study_view(study))


def tables(document: Document) -> dict[str, TableBlock]:
    blocks = [block for section in document.sections for block in section.blocks]
    return {block.caption or block.columns[0].label: block for block in blocks if isinstance(block, TableBlock)}


# --- a study ---


def test_the_table_shows_the_analysis_to_a_tenth_of_a_point(study: Study, document: Document):
    table = analyse(study)
    (block,) = [block for caption, block in tables(document).items() if caption.startswith("Means over seeds")]
    names = [column.label for column in block.columns]
    for row, cells in zip(table.arms, block.rows, strict=True):
        shown = dict(zip(names, cells, strict=True))
        assert shown["success, %"].text == row.label
        assert shown["area to B"].text == f"{100 * row.endpoints['area'].mean:.1f}"
        assert shown["test"].text == f"{100 * row.endpoints['test'].mean:.1f}"
        low, high = row.endpoints["test"].low, row.endpoints["test"].high
        assert shown["test"].sub == f"{100 * max(low, 0):.1f} to {100 * min(high, 1):.1f}, n {row.test['overall'].n}"
        for name, part in (("true", "fresh"), ("wrong", "stale")):
            assert shown[f"test, {name} statements"].sub.endswith(f"n {row.test[part].n}") and row.test[part].n > 0
    on_test = [each for each in table.contrasts if each.terms[0].endpoint == "test"]
    differences = {each.terms[0].arm: each.estimate.mean for each in on_test}
    for cells in block.rows:
        mean = differences.get(cells[0].text)
        wanted = "" if mean is None else f"{100 * mean:+.1f}".replace("-", "\N{MINUS SIGN}")
        assert dict(zip(names, cells, strict=True))["test, difference"].text == wanted


def test_the_report_says_how_far_each_arm_leads_by_iteration(study: Study, document: Document):
    curves = {curve.arm: curve for curve in analyse(study).curves}
    [section] = [section for section in document.sections if section.key == "curves"]
    [details] = [
        block for block in section.blocks if isinstance(block, DetailsBlock) and "by iteration" in block.summary
    ]
    [block] = details.blocks
    assert isinstance(block, TableBlock) and set(curves) == {"opsd", "grpo+opsd", "sdar"}
    assert [column.label for column in block.columns] == ["lead at iteration", "10", "20"]
    for cells in block.rows:
        for cell, estimate in zip(cells[1:], curves[cells[0].text].estimates, strict=True):
            assert cell.text == f"{100 * estimate.mean:+.1f}".replace("-", "\N{MINUS SIGN}")
            assert cell.strong == (estimate.low > 0 or estimate.high < 0)


def test_verdicts_stand_first_and_are_those_of_the_analysis(study: Study, document: Document):
    found = [block for block in document.sections[0].blocks if isinstance(block, VerdictBlock)]
    judged = analyse(study).verdicts
    assert [(block.id, block.verdict, block.statement) for block in found] == [
        (verdict.id, verdict.verdict, verdict.statement) for verdict in judged
    ]
    assert all("Provisional" in block.reason for block in found)  # three seeds


def test_a_report_opens_with_the_answers_and_not_with_counts(study: Study, document: Document):
    judged = analyse(study).verdicts
    assert [(answer.word, answer.statement) for answer in document.answers] == [
        (f"{verdict.verdict} so far", f"{verdict.id}: {verdict.statement.rstrip('.')}") for verdict in judged
    ]
    for answer, verdict in zip(document.answers, judged, strict=True):
        claim = deciding_claim(verdict)
        assert answer.numbers.startswith(f"{claim.name}: {points(claim.estimate.mean)} points, 95 % interval")
    page, text = render_page(document), render_markdown(document)
    for written in (page, text):
        assert written.index(judged[0].statement.rstrip(".")) < written.index(document.lead[:40])
    assert not {"supported", "refuted", "undecided"} & {headline.label for headline in document.headlines}


def test_without_hypotheses_the_answers_are_the_largest_leads(study: Study):
    document = study_document(
        study_view(dataclasses.replace(study, plan=dataclasses.replace(study.plan, hypotheses=())))
    )
    leads = {row.label: row.endpoints["area"].mean for row in analyse(study).arms if row.key != study.plan.reference}
    expected = sorted(leads, key=lambda label: -leads[label])
    assert [answer.statement.split(" against ")[0] for answer in document.answers] == expected
    assert {answer.word for answer in document.answers} <= {"ahead", "behind", "undecided"}


def test_long_tables_are_folded_and_short_ones_are_not():
    def page(rows: int) -> str:
        columns = (Column("name", number=False), Column("value"))
        block = TableBlock(columns, tuple((Cell(f"row {n}"), Cell("1")) for n in range(rows)), "Many")
        return render_page(Document("t", "k", "lead", (), (Section("s", "S", (block,)),)))

    assert "<summary>Many: 13 rows</summary>" in page(13) and "row 12" in page(13)
    assert "<summary>" not in page(12) and "<caption>Many</caption>" in page(12)


def test_all_that_a_reader_was_promised_is_there(document: Document):
    figures = {figure.key: figure for figure in figures_of(document)}
    promised = ("curves", "each-arm", "differences", "claims", "task-types", "weights", "policy", "teacher", "cost")
    assert set(promised) <= set(figures)
    titles = [panel.title for panel in figures["curves"].panels]
    assert titles[1].startswith("Against CPU-seconds") and "wrong" in titles[3]
    assert all(line.band for panel in figures["curves"].panels for line in panel.lines)
    assert all(line.thin for panel in figures["each-arm"].panels for line in panel.lines if line.label == panel.title)
    captions = tables(document)
    assert {"Trials", "Collapses", "Arms"} <= set(captions)
    assert any(caption.startswith("Warm starts") for caption in captions)
    # opsd was made up to collapse, in every seed.
    assert [row[0].text for row in captions["Collapses"].rows] == ["opsd"] * 3


def test_an_arm_has_one_colour_in_every_figure_and_the_reference_has_ink(study: Study, document: Document):
    colours: dict[str, set[int]] = {}
    for figure in figures_of(document):
        for panel in figure.panels:
            for drawn in getattr(panel, "lines", None) or getattr(panel, "bars", None) or panel.stacks:
                if drawn.label in GAINS:
                    colours.setdefault(drawn.label, set()).add(drawn.colour)
    assert all(len(numbers) == 1 for numbers in colours.values())
    assert colours[study.plan.reference] == {0}
    assert len(set.union(*colours.values())) == len(GAINS)


def test_the_axis_of_a_curve_is_what_was_trained_and_all_panels_have_one_height(document: Document):
    (curves,) = [figure for figure in figures_of(document) if figure.key == "curves"]
    assert [x for x, _ in curves.panels[0].lines[0].points] == [0, 1280, 2560]
    assert curves.panels[0].marks[0].x == 10 * 128
    assert len({panel.y.high for panel in curves.panels}) == 1


def test_a_study_with_runs_missing_has_a_report_that_says_which(tmp_path: Path):
    study = make_up_study(
        tmp_path, methods=("grpo", "sdar"), seeds=(0, 1), iterations=10, missing=[("sdar", 1), ("sdar", 0)]
    )
    document = study_document(study_view(study))
    assert "2 runs are missing: sdar, seeds 0-1." in document.warnings[0]
    write_report(tmp_path, images=False)
    page = Structure((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "This study is not complete" in page.text
    assert [arm["label"] for arm in page.data["arms"]] == ["grpo"]


def test_the_numbers_of_a_report_stand_beside_it_as_csv(tmp_path: Path):
    folder = tmp_path / "study"
    make_up_study(folder, methods=("grpo", "sdar"), seeds=(0, 1), iterations=10, missing=[("sdar", 1)])
    assert not (folder / "results.csv").exists()  # as a study is that was broken off
    written = write_report(folder, output=tmp_path / "elsewhere" / "house.html", images=False)
    assert tmp_path / "elsewhere" / "results.csv" in written.files
    lines = list(csv.DictReader((tmp_path / "elsewhere" / "results.csv").open(encoding="utf-8")))
    assert {(line["arm"], line["seed"]) for line in lines} == {("grpo", "0"), ("grpo", "1"), ("sdar", "0")}
    last = lines[-1]
    panel = load_study(folder).of("sdar")[0].after
    assert panel is not None
    assert (int(last["test_stale_wins"]), int(last["test_stale_n"])) == (panel.stale.wins, panel.stale.n)
    assert int(last["test_stale_n"]) + int(last["test_fresh_n"]) == int(last["test_n"])

    run = write_run(tmp_path / "run")
    assert run / "metrics.csv" in write_report(run, images=False).files
    lines = list(csv.DictReader((run / "metrics.csv").open(encoding="utf-8")))
    metrics = read_run(run).metrics
    assert [int(line["step"]) for line in lines] == [line["step"] for line in metrics]
    assert all(
        float(line["success"] or "nan") == m["success"]
        for line, m in zip(lines, metrics, strict=True)
        if "success" in m
    )


def test_a_study_before_its_first_result_has_a_report(tmp_path: Path):
    make_up_study(tmp_path, methods=("grpo", "sdar"), seeds=(0,), missing=[("grpo", 0), ("sdar", 0)])
    written = write_report(tmp_path)
    assert "This study is not complete" in written.files[0].read_text(encoding="utf-8")


def test_the_report_says_where_tuned_values_came_from_or_that_there_are_none(study: Study):
    def said(changed: Study) -> tuple[str, str]:
        document = study_document(study_view(changed))
        (start,) = [section for section in document.sections if section.key == "start"]
        return document.lead, " ".join(block.text for block in start.blocks if isinstance(block, Paragraph))

    arms = tuple(dataclasses.replace(arm, tuned=arm.method) for arm in study.plan.arms)
    brought = dataclasses.replace(study.plan, arms=arms, tuned={"sdar": {"beta": 0.03}})
    for values, plan, untuned, expected in [
        (study.tuned, brought, False, "The same number of configurations per arm"),
        (None, brought, False, "The tuned values came with the plan. sdar: beta 0.03."),
        (None, study.plan, True, "No arm was tuned for this study"),
    ]:
        lead, start = said(dataclasses.replace(study, tuned=values, plan=plan))
        assert ("No arm was tuned, so a lead may be" in lead) is untuned and expected in start


def test_many_arms_share_panels_with_those_that_the_hypotheses_speak_of(tmp_path: Path):
    methods = ("grpo", *(f"method-{number}" for number in range(12)), "sdar", "opsd")
    study = make_up_study(tmp_path, methods=methods, seeds=(0, 1), iterations=10)
    view = study_view(study)
    assert len(view.leading) == TOGETHER
    assert {"grpo", "sdar", "opsd"} <= {arm.key for arm in view.leading}
    (each,) = [figure for figure in figures_of(study_document(view)) if figure.key == "each-arm"]
    assert len(each.panels) == len(methods) - 1


def test_axes_are_shown_value_by_value(tmp_path: Path):
    study = make_up_study(
        tmp_path, methods=("grpo", "sdar"), seeds=(0, 1), iterations=10, privileges=("skill", "wrong_skill", "none")
    )
    assert axes_of(study.plan.arms) == {"privilege": ["skill", "wrong_skill", "none"]}
    (axes,) = [figure for figure in figures_of(study_document(study_view(study))) if figure.key == "axes"]
    assert [bar.label for bar in axes.panels[0].bars] == ["skill", "wrong_skill", "none"]


def test_the_viewer_has_every_arm_with_one_seed_so_that_tasks_compare(study: Study, tmp_path: Path):
    assert [(result.arm, result.seed) for result in one_seed(study)] == [(arm, 0) for arm in GAINS]
    write_report(study.path, output=tmp_path / "page.html", images=False)
    data = Structure((tmp_path / "page.html").read_text(encoding="utf-8")).data
    last = [{e["task"] for e in data["episodes"] if e["arm"] == arm and e["phase"] == "test"} for arm in range(4)]
    assert last[0] == last[1] == last[2] == last[3] and len(last[0]) == 24
    # The reference reads no claims; whether a task has a stale one is known from the study.
    kinds = {e["task"]: e["claims"] for e in data["episodes"] if e["arm"] == 0 and e["phase"] == "test"}
    assert [kinds[f"test:{number:06d}"] for number in range(4)] == ["true", "true", "true", "stale"]


# --- a run ---


def test_a_runs_report_holds_its_summary(tmp_path: Path):
    document = run_document(read_run(write_run(tmp_path / "run")))
    assert [headline.value for headline in document.headlines] == ["16.7 %", "50.0 %", "+33.3", "58.3 %"]
    (table,) = tables(document).values()
    assert [cell.text for cell in table.rows[0]] == ["all tasks", "48", "16.7", "50.0", "+33.3"]
    figures = {figure.key: figure for figure in figures_of(document)}
    assert figures["curves"].panels[0].lines[0].points == ((0.0, 1000 / 60), (640.0, 25.0), (1280.0, 2000 / 60))
    assert {"weights", "policy", "task-types", "cost"} <= set(figures)


def test_a_run_without_a_teacher_has_no_figure_of_weights(tmp_path: Path):
    document = run_document(read_run(write_run(tmp_path / "run", method="grpo")))
    assert "weights" not in {figure.key for figure in figures_of(document)}


def test_a_run_that_goes_on_has_a_report_that_says_so(tmp_path: Path):
    run = write_run(tmp_path / "run")
    (run / "summary.json").unlink()
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 11, "succ')  # the line that is being written
    with (run / "episodes.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"schema": "sdar/ep')
    document = run_document(read_run(run))
    assert "has not finished" in document.warnings[0]
    assert write_report(run, images=False).files[0].stat().st_size > 10_000


def test_a_collapsed_teacher_is_said_on_top(tmp_path: Path):
    run = write_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 11, "success": 0.1, "teacher/collapsed": 1.0}\n')
    assert "collapsed: from iteration 11 on" in run_document(read_run(run)).warnings[0]


def test_what_is_neither_a_study_nor_a_run_or_is_damaged_is_named(tmp_path: Path):
    with pytest.raises(RunDirectoryError, match=r"study\.json in it.*run\.json in it"):
        write_report(tmp_path)
    run = write_run(tmp_path / "run", iterations=1)
    (run / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"summary\.json: expected JSON"):
        write_report(run)
    (run / "summary.json").unlink()
    (run / "episodes.jsonl").write_text('{"schema": "other/1", "turns": []}\n', encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"byte 0: expected an episode of schema sdar/episode/1, got 'other/1'"):
        write_report(run)
    (run / "episodes.jsonl").write_text("no json\n", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="byte 0: expected a JSON record"):
        write_report(run)
    (tmp_path / "study.json").write_text("[]", encoding="utf-8")
    with pytest.raises(StudyError, match=r"study\.json"):
        write_report(tmp_path)


# --- the command ---


def test_the_command_writes_page_markdown_and_images(tmp_path: Path, capsys):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "report.html" in printed and "KiB" in printed
    pictures = {path.stem for path in (run / "figures").glob("*.png")}
    assert pictures == {figure.key for figure in figures_of(run_document(read_run(run)))}
    markdown = (run / "report.md").read_text(encoding="utf-8")
    assert all(f"](figures/{key}.png)" in markdown for key in pictures)


def test_the_command_takes_a_place_and_a_number_of_episodes(tmp_path: Path, capsys):
    run = write_run(tmp_path / "run", iterations=4)
    target = tmp_path / "elsewhere" / "page.html"
    assert main(["report", str(run), "--output", str(target), "--episodes", "7", "--no-images"]) == 0
    assert len(Structure(target.read_text(encoding="utf-8")).data["episodes"]) == 7
    assert not (run / "report.html").exists() and (target.parent / "page.md").is_file()
    assert main(["report", str(run), "--episodes", "-1"]) == 2
    assert "--episodes" in capsys.readouterr().err


def test_without_matplotlib_the_page_is_written_and_the_remedy_said(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    run = write_run(tmp_path / "run")
    monkeypatch.setattr("trainers.report.png.find_spec", lambda name: None)
    assert main(["report", str(run)]) == 0
    assert 'pip install "sdar-gym[report]"' in capsys.readouterr().out
    assert (run / "report.html").is_file() and not (run / "figures").exists()
    assert "](figures/" not in (run / "report.md").read_text(encoding="utf-8")


def test_the_command_names_what_it_expected(tmp_path: Path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "study.json" in error and error.count("\n") == 1


def test_a_report_is_the_same_every_time(tmp_path: Path):
    run = write_run(tmp_path / "run")
    write_report(run, images=False)
    first = (run / "report.html").read_bytes()
    write_report(run, images=False)
    assert (run / "report.html").read_bytes() == first
