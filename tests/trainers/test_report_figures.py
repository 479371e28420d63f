"""Figures: scales that show all data at round ticks, labels apart, marks where the numbers are, one palette for all."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.evaluation.intervals import wilson
from trainers.report.document import FigureBlock
from trainers.report.figure import (
    Axis,
    Bar,
    BarPanel,
    Figure,
    IntervalPanel,
    Line,
    LinePanel,
    Mark,
    Stack,
    StackPanel,
    make_figure,
)
from trainers.report.page import panel_numbers
from trainers.report.palette import DARK, LIGHT, colour_index, dash_of
from trainers.report.scales import make_scale, number_text, spread, text_width, tick_step
from trainers.report.series import count_line, interpolate, mean_line
from trainers.report.svg import WIDTH, draw
from trainers.study.result_records import Count

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


# --- scales ---


@given(st.lists(FINITE, min_size=1, max_size=20), st.integers(2, 8))
def test_a_scale_shows_every_value_between_its_ends(values: list[float], ticks: int):
    scale = make_scale(values, 0.0, 100.0, ticks=ticks)
    slack = 1e-9 * max(1.0, abs(scale.low), abs(scale.high))
    assert scale.low - slack <= min(values) and max(values) <= scale.high + slack
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value in values)
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in scale.ticks)
    assert len(scale.ticks) <= 2 * ticks + 3


@given(st.floats(1e-6, 1e9), st.integers(1, 10))
def test_tick_steps_are_round_and_cut_a_span_into_about_as_many_parts(span: float, ticks: int):
    step = tick_step(span, ticks)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - nice) for nice in (1, 2, 2.5, 5, 10)) < 1e-6
    assert span / step <= ticks * (1 + 1e-9) <= 2.6 * span / step


def test_whole_numbers_get_whole_ticks():
    assert make_scale([0, 3], 0, 1, integer=True).ticks == (0, 1, 2, 3)
    assert tick_step(12, 5, integer=True) == 5  # never 2.5


def test_an_end_that_is_given_is_kept_as_long_as_no_value_lies_beyond():
    scale = make_scale([3, 97], 0, 1, low=0, high=100)
    assert (scale.low, scale.high) == (0, 100)
    assert make_scale([-3, 97], 0, 1, low=0).low <= -3


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0], [math.nan], [7.0, math.inf]])
def test_a_scale_of_nothing_or_of_one_value_has_a_width(values: list[float]):
    scale = make_scale(values, 0.0, 10.0)
    assert scale.low < scale.high


def test_numbers_are_said_with_commas_a_minus_sign_and_no_dust():
    assert [number_text(x) for x in (0.1 + 0.2, 12345.6, -0.0, 1e-12 - 1e-12, -3.5)] == [
        "0.3", "12,346", "0", "0", "\N{MINUS SIGN}3.5",
    ]  # fmt: skip
    assert number_text(math.nan) == "-"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.floats(1, 12))
def test_labels_are_apart_in_bounds_and_in_the_order_of_what_they_name(wanted: list[float], gap: float):
    places = spread(wanted, gap, 0.0, 100.0)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    ordered = [place for _, _, place in sorted(zip(wanted, range(len(wanted)), places, strict=True))]
    room = min(gap, 100.0 / max(len(wanted) - 1, 1))
    assert all(after - before >= room - 1e-6 for before, after in itertools.pairwise(ordered))


def test_labels_with_room_stay_where_they_are():
    assert spread([10.0, 50.0, 90.0], 15.0, 0.0, 100.0) == [10.0, 50.0, 90.0]
    # Two that touch are moved by the same little.
    assert spread([50.0, 52.0], 10.0, 0.0, 100.0) == [46.0, 56.0]


def test_wide_text_is_thought_wider():
    assert text_width("WWW", 12) > text_width("aaa", 12) > text_width("iii", 12)


# --- lines from measurements ---


def test_the_band_is_the_t_interval_over_seeds_by_hand():
    paths = [[(0.0, 10.0), (5.0, 30.0)], [(0.0, 20.0), (5.0, 30.0)], [(0.0, 30.0), (5.0, 30.0)]]
    line = mean_line("x", 1, paths)
    assert line is not None
    assert line.points == ((0.0, 20.0), (5.0, 30.0))
    half = 4.302652729911275 * 10 / math.sqrt(3)  # t(0.975, 2 degrees of freedom), sd 10, three seeds
    assert line.band[0] == pytest.approx((0.0, 20 - half, 20 + half))
    assert line.band[1] == pytest.approx((5.0, 30.0, 30.0))
    assert line.thin == tuple(map(tuple, paths))
    bounded = mean_line("x", 1, paths, low=0.0, high=40.0)
    assert bounded is not None and bounded.band[0][1:] == (0.0, 40.0)


def test_one_and_two_seeds_have_no_band():
    path = [(0.0, 1.0), (1.0, 2.0)]
    one, two = mean_line("x", 1, [path]), mean_line("x", 1, [path, path])
    assert one is not None and two is not None
    assert one.band == two.band == ()
    assert (len(one.thin), len(two.thin)) == (0, 2)
    assert mean_line("x", 1, []) is mean_line("x", 1, [[]]) is None


def test_seeds_that_differ_in_x_are_compared_where_all_of_them_are():
    slow, fast = [(0.0, 0.0), (10.0, 100.0)], [(0.0, 0.0), (5.0, 100.0)]
    line = mean_line("x", 1, [slow, fast])
    assert line is not None and not line.measured
    assert line.points[-1] == (5.0, 75.0)
    assert line.points[0] == (0.0, 0.0)


def test_between_points_is_a_straight_line_and_beyond_them_nothing_new():
    path = [(0.0, 0.0), (10.0, 50.0)]
    assert [interpolate(path, x) for x in (-1.0, 5.0, 99.0)] == [0.0, 25.0, 50.0]


def test_a_single_run_has_wilsons_band():
    line = count_line("x", 1, [(0.0, Count(3, 10)), (5.0, Count(0, 0))])
    assert line is not None
    low, high = wilson(3, 10)
    assert line.points == ((0.0, 30.0),)
    assert line.band == ((0.0, 100 * low, 100 * high),)


# --- drawing ---

LINES = LinePanel(
    "curves",
    Axis("episodes", low=0.0, integer=True),
    Axis("success, %", low=0.0),
    (
        Line("grpo", 0, ((0.0, 10.0), (100.0, 40.0)), ((0.0, 5.0, 15.0), (100.0, 30.0, 50.0))),
        Line("sdar", 1, ((0.0, 10.0), (100.0, 41.0)), thin=(((0.0, 9.0), (100.0, 44.0)),), dashed=True),
    ),
    (Mark(50.0, "B"),),
    baseline=20.0,
)
BARS = BarPanel(
    "bars", Axis("success, %", low=0.0, high=100.0), (Bar("sdar", 1, 42.0, 30.0, 50.0, (40.0, 44.0), 12.0),)
)
INTERVALS = IntervalPanel("differences", Axis("points"), (Bar("sdar", 1, 4.0, -1.0, 9.0), Bar("none", 2, None)))
STACKS = StackPanel("time", Axis("seconds"), ("rollout", "update"), (Stack("sdar", 1, (1.0, 0.5)),))


def elements(panel: LinePanel | BarPanel | IntervalPanel | StackPanel, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(str(draw(panel)))
    return [node for node in root.iter() if kind in (node.get("class") or "").split()]


@pytest.mark.parametrize("panel", [LINES, BARS, INTERVALS, STACKS], ids=lambda panel: panel.title)
def test_a_panel_is_well_formed_and_says_in_words_what_it_shows(panel):
    root = ElementTree.fromstring(str(draw(panel)))
    assert root.get("role") == "img"
    assert panel.title in root.get("aria-label") and "sdar" in root.get("aria-label")
    texts = [node.text for node in root.iter("text")]
    assert panel.x.label in texts
    assert "style" not in str(draw(panel))
    places = [float(node.get(name)) for node in root.iter() for name in ("x", "cx", "x1", "x2") if node.get(name)]
    assert all(-1 <= place <= WIDTH for place in places)


def test_points_lie_where_their_values_are():
    dots = elements(LINES, "dot")
    xs, ys = [float(dot.get("cx")) for dot in dots], [float(dot.get("cy")) for dot in dots]
    assert xs[0] == xs[2] < xs[1] == xs[3]
    assert ys[1] - ys[0] == pytest.approx((ys[3] - ys[2]) * 30 / 31, abs=0.05)
    assert "95 % interval 30 to 50" in dots[1].find("title").text
    assert len(elements(LINES, "band")) == 1
    assert len(elements(LINES, "thin")) == 1
    names = elements(LINES, "name")
    assert [name.text for name in names] == ["grpo", "sdar"]
    assert abs(float(names[0].get("y")) - float(names[1].get("y"))) >= 14.9


def test_bars_are_as_long_as_their_values():
    (bar,), (low, high) = elements(BARS, "bar"), [float(r.get("x1")) for r in elements(BARS, "whisker")[1:]]
    start, width = float(bar.get("x")), float(bar.get("width"))
    assert (low - start) / width == pytest.approx(30 / 42, abs=0.01)
    assert (high - start) / width == pytest.approx(50 / 42, abs=0.01)
    (faint,) = elements(BARS, "faint")
    assert (float(faint.get("x")) + 1 - start) / width == pytest.approx(12 / 42, abs=0.01)


def test_what_has_no_value_is_not_drawn_and_an_empty_figure_is_none():
    assert len(elements(INTERVALS, "estimate")) == 1
    empty = IntervalPanel("", Axis(""), (Bar("none", 2, None),))
    assert make_figure("x", "", "", empty) is None
    figure = make_figure("x", "", "", empty, INTERVALS)
    assert figure is not None and figure.panels == (INTERVALS,)


def test_parts_of_a_stack_add_up():
    first, second = elements(STACKS, "part")[2:]
    assert float(first.get("x")) + float(first.get("width")) == pytest.approx(float(second.get("x")), abs=0.02)
    assert float(first.get("width")) == pytest.approx(2 * float(second.get("width")), abs=0.02)


def test_the_numbers_of_a_figure_are_the_numbers_drawn():
    columns, rows = panel_numbers(LINES)
    assert [column.label for column in columns] == ["episodes", "grpo", "sdar"]
    assert [[cell.text for cell in row] for row in rows] == [["0", "10", "10"], ["100", "40", "41"]]
    assert rows[1][1].sub == "30 to 50"
    long = LinePanel("", Axis(""), Axis(""), (Line("x", 1, tuple((float(i), 0.0) for i in range(500))),))
    places = [row[0].text for row in panel_numbers(long)[1]]
    assert len(places) < 30 and (places[0], places[-1]) == ("0", "499")
    assert [cell.text for cell in panel_numbers(STACKS)[1][0]] == ["sdar", "1", "0.5"]


# --- colours ---


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(c * weight for c, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize(("colours", "scheme"), [(LIGHT, 0), (DARK, 1)])
def test_every_arm_has_contrast_to_the_paper(colours: tuple[str, ...], scheme: int):
    from sdar_envs.assets import asset_text

    papers = re.findall(r"--paper: (#\w{6}|#\w{3});", asset_text("report", "report.css"))
    assert all(contrast(colour, papers[scheme]) >= 3.0 for colour in colours)
    assert len(set(colours)) == len(LIGHT) == len(DARK)


# Projections of linear RGB for eyes without red or without green receptors (Viénot, Brettel and Mollon, 1999), and
# Ottosson's OKLab (2020), in which distances are about those that one sees.
EYES = {
    "all": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def times(matrix: tuple[tuple[float, ...], ...], vector: list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def seen(colour: str, eye: str) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    projected = [max(c, 0.0) for c in times(EYES[eye], linear)]
    return times(TO_LAB, [cone ** (1 / 3) for cone in times(TO_CONES, projected)])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_arms_are_told_apart_by_every_kind_of_eye(colours: tuple[str, ...], eye: str):
    for count, distance in ((7, 0.12), (len(colours), 0.08)):
        for one, other in itertools.combinations(colours[:count], 2):
            assert math.dist(seen(one, eye), seen(other, eye)) > distance, (one, other)


def test_the_reference_keeps_its_colour_and_a_second_round_has_another_dash():
    count = len(LIGHT) - 1
    assert colour_index(0) == 0 and dash_of(0) == ""
    assert [colour_index(1), colour_index(count), colour_index(count + 1)] == [1, count, 1]
    assert dash_of(1) == dash_of(count) == "" != dash_of(count + 1)


def test_images_are_drawn_from_the_same_descriptions(tmp_path):
    pytest.importorskip("matplotlib")
    from trainers.report.png import save_figures

    figure = Figure("all", "All kinds", "", (LINES, BARS, INTERVALS, STACKS))
    assert FigureBlock(figure).figure is figure
    (path,) = save_figures([figure], tmp_path / "figures")
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG") and len(first) > 10_000
    save_figures([figure], tmp_path / "figures")
    assert path.read_bytes() == first  # no time, no chance in it


@pytest.mark.parametrize("integer", [True, False])
def test_a_drawn_axis_of_turns_has_ticks_at_whole_numbers_only(integer: bool) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure as Canvas

    from trainers.report.png import draw as draw_axes

    points = ((0.0, 0.8), (1.0, 0.5), (2.0, 0.9))
    panel = LinePanel("t", Axis("turn", integer=integer), Axis("area", low=0.0, high=1.0), (Line("a", 1, points),))
    axes = Canvas(figsize=(5, 4)).subplots()
    draw_axes(panel, axes)
    assert all(float(tick).is_integer() for tick in axes.get_xticks()) is integer
