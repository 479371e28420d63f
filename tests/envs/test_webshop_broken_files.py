"""Official files with faults: broken records are left out and counted, broken files refused by name."""

from __future__ import annotations

import gc
import json
import logging
import random
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import webshop_official

from sdar_envs.webshop import official
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.json_stream import DataFileError, stream_list, stream_object
from sdar_envs.webshop.official_tasks import OfficialTasks
from sdar_envs.webshop.records import read_human, read_product

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return webshop_official.write(tmp_path)


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"asin": None}, "asin is missing"),
        ({"asin": 5}, "asin is missing"),
        ({"asin": "B" * 11}, "asin is 'nan' or longer than 10 characters"),
        ({"asin": "nan"}, "asin is 'nan' or longer than 10 characters"),
    ],
)
def test_what_cannot_be_a_product_is_left_out_and_counted(change: dict[str, Any], trouble: str):
    counted: Counter[str] = Counter()
    assert read_product(webshop_official.items()[0] | change, None, counted) is None
    assert counted == {trouble: 1}
    assert read_product([1, 2], None, counted) is None
    assert counted["record is not an object"] == 1


@pytest.mark.parametrize(
    ("change", "field", "value", "trouble"),
    [
        ({"pricing": "free"}, "pricing", (), "pricing is unreadable"),
        ({"pricing": "$"}, "pricing", (), "pricing is unreadable"),
        ({"pricing": "$1.99.50"}, "pricing", (), "pricing is unreadable"),
        ({"pricing": 12.5}, "pricing", (), "pricing is not a text"),
        ({"pricing": "$" + "9" * 400}, "pricing", (), "pricing is unreadable"),
        ({"pricing": "$1,234.50"}, "pricing", (1234.5,), ""),
        ({"pricing": "$1$2$3"}, "pricing", (1.0, 2.0), ""),
        ({"pricing": None}, "pricing", (), ""),
        ({"images": []}, "image", "", ""),
        ({"images": None}, "image", "", ""),
        ({"images": "x"}, "image", "", "images is not a list"),
        ({"name": None}, "title", "", "name is missing"),
        ({"name": 7}, "title", "", "name is not a text"),
        ({"full_description": None}, "description", "", "full_description is missing"),
        ({"small_description": []}, "bullets", (), ""),
        ({"small_description": None}, "bullets", (), "small_description holds something that is not a text"),
        ({"small_description": ["a", None, "b"]}, "bullets", ("a", "b"), "small_description holds something"),
        ({"customization_options": None}, "options", {}, ""),
        ({"customization_options": ""}, "options", {}, ""),
        ({"customization_options": [1]}, "options", {}, "customization_options is not an object"),
        ({"customization_options": {"Size": None}}, "options", {}, ""),
        ({"customization_options": {"Size": "x"}}, "options", {"size": ()}, "customization_options holds a value"),
        ({"customization_options": {"Size": [{"value": " A/B "}]}}, "options", {"size": ("a | b",)}, ""),
        (
            {"customization_options": {"S": [{"value": None}, {"value": "b"}, {}]}},
            *("options", {"s": ("b",)}, "customization_options holds a value"),
        ),
        (
            {"customization_options": {"S": [{"value": " "}, {"value": "b"}]}},
            "options",
            {"s": ("", "b")},
            "option is empty",
        ),
        ({"name": "a\ud800b"}, "title", "a?b", ""),
        ({"query": " Tea "}, "query", "tea", ""),
    ],
    ids=str,
)
def test_fields_that_say_nothing_are_read_as_missing(change: dict[str, Any], field: str, value: Any, trouble: str):
    counted: Counter[str] = Counter()
    product = read_product(webshop_official.items()[0] | change, None, counted)
    assert product is not None and getattr(product, field) == value
    assert [kind for kind in counted if kind.startswith(trouble)] if trouble else not counted


def test_options_that_cannot_be_chosen_and_products_without_attributes_are_counted(folder: Path):
    trouble = official.load(official.find_files(folder), human=False).trouble
    # Two scents are called like buttons, and one like a colour.
    assert trouble["option is empty, or called like a button or like one of a later group"] == 3
    assert trouble["asin is missing from the attribute file"] == 0
    entries = webshop_official.attributes()
    del entries["B0AAAAAA02"], entries["B0BBBBBB03"]
    (folder / webshop_official.ATTRIBUTES_FILE).write_text(json.dumps(entries), encoding="utf-8")
    trouble = official.load(official.find_files(folder), human=False).trouble
    assert trouble["asin is missing from the attribute file"] == 2


def test_instructions_without_attributes_or_form_are_left_out_and_counted():
    counted: Counter[str] = Counter()
    whole = {"instruction": "b", "instruction_attributes": ["x"], "instruction_options": None}
    entries = [{"instruction": "a"}, 5, whole]
    assert [one.text for one in read_human("B0", entries, counted)] == ["b"]
    assert read_human("B0", "x", counted) == ()
    assert counted["instruction is not an object"] == 2 and counted["record without instruction_attributes"] == 1


def test_troubles_are_said_once(folder: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        official.load(official.find_files(folder), human=False)
    [record] = caplog.records
    assert "3 records left out" in record.getMessage() and "asin occurs before: 1" in record.getMessage()


def test_a_store_plays_on_with_products_that_lack_everything(tmp_path: Path):
    items = [{"asin": f"A{n}", "name": "plain shirt", "query": "shirt"} for n in range(3)]
    entries = {"A1": {"attributes": ["soft"], "instruction": "find a shirt", "instruction_attributes": ["soft"]}}
    (tmp_path / "items_shuffle.json").write_text(json.dumps(items), encoding="utf-8")
    (tmp_path / "items_ins_v2.json").write_text(json.dumps(entries), encoding="utf-8")
    env = WebShopEnv(data_dir=str(tmp_path))
    _, info = env.reset(seed=0)
    assert info["instruction"].startswith("find a shirt, and price lower than 1")
    text = env.step("search[shirt]")[0]
    assert text.count("$100.0") == 3
    env.step("click[a1]")
    for page in ("description", "features", "reviews"):
        assert env.step(f"click[{page}]")[0].endswith("< Prev")
        env.step("click[< prev]")
    assert env.step("click[buy now]")[1] == 1.0


# Files that are broken.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a list of records"),
        (b"   \n", "expected a list of records"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "got '<!DOCTYPE html>"),
        (b'{"asin": "x"}', "expected a list of records"),
        (b'[{"asin": "x"}', "expected a comma or the end"),
        (b'[{"asin": "x"} {"asin": "y"}]', "expected a comma or the end"),
        (b'[{"asin": "x"}, ', "ends within the record"),
        (b'[{"asin": "x', "ends within the record"),
        (b'[{"asin": "x"}] trailing', "expected the end of the file"),
        (b'[{"asin": \xff\xfe}]', "expected UTF-8"),
        (b"[" * 300_000, "nested"),
        (b'[{"asin" "x"}]', "expected JSON"),
        (b"[1, 2, 3]", "of 3 have none"),
    ],
    ids=range(13),
)
def test_a_broken_file_is_refused_with_file_record_and_remedy(tmp_path: Path, content: bytes, said: str):
    webshop_official.write(tmp_path)
    path = tmp_path / webshop_official.ITEMS_FILE
    path.write_bytes(content)
    for in_memory in (1 << 30, -1):
        with pytest.raises(DataFileError, match="items_shuffle_1000") as caught:
            official.load(official.find_files(tmp_path), in_memory=in_memory)
        assert said in str(caught.value) and "setup.sh" in str(caught.value)


def test_the_broken_record_is_counted_the_same_in_a_list_and_in_an_object(tmp_path: Path):
    path = tmp_path / "a.json"
    for stream, text in ((stream_list, '[{"x": 1}, {"x": 2}, {x}]'), (stream_object, '{"a": 1, "b": 2, "c": {x}}')):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataFileError, match="record 2: expected JSON"):
            list(stream(path))


def test_no_file_is_left_open(folder: Path, tmp_path: Path):
    broken = tmp_path / "a.json"
    broken.write_text("[1, x", encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        official.load(official.find_files(folder), num_products=2)
        with pytest.raises(DataFileError):
            list(stream_list(broken))
        gc.collect()
    assert not [one for one in caught if issubclass(one.category, ResourceWarning)]


def test_odd_but_whole_files_are_read(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf [\r\n {"a": NaN, "a": 1} ,\r\n' + b"9" * 5000 + b", [], 12 ]\r\n")
    assert list(stream_list(path)) == [{"a": 1}, None, [], 12]
    path.write_text('{"k": {"x": "' + "y" * 3_000_000 + '"}, "": 2}', encoding="utf-8")
    assert [(key, len(str(value)) > 1) for key, value in stream_object(path)] == [("k", True), ("", False)]
    path.write_text("[]", encoding="utf-8")
    assert list(stream_list(path)) == []
    path.write_text(" { } ", encoding="utf-8")
    assert list(stream_object(path)) == []


def test_three_hundred_mutations_of_the_files_load_or_are_refused_by_name(folder: Path):
    rng = random.Random(5)
    names = [webshop_official.ITEMS_FILE, webshop_official.ATTRIBUTES_FILE, webshop_official.HUMAN_FILE]
    whole = {name: (folder / name).read_bytes() for name in names}
    outcomes: Counter[str] = Counter()
    for number in range(300):
        name = names[number % 3]
        content = bytearray(whole[name])
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content))
            kind = rng.randrange(4)
            if kind == 0:
                del content[at : at + rng.randint(1, 400)]
            elif kind == 1:
                content[at] = rng.randrange(256)
            elif kind == 2:
                content[at:at] = rng.choice([b'"', b"{", b"]", b"null", b"\x00", b"\\ud800", b",,", b"1e999"])
            else:
                content = content[:at] or content
        (folder / name).write_bytes(content)
        try:
            source = OfficialTasks(folder, goals=("human", "synthetic")[number % 2])
            source.task(source.ids("train")[0])
            outcomes["loaded"] += 1
        except DataFileError as error:
            assert str(folder) in str(error)
            outcomes["refused"] += 1
        (folder / name).write_bytes(whole[name])
    assert outcomes["loaded"] > 20 and outcomes["refused"] > 100
