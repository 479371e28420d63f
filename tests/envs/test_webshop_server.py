"""The store for people: the same purchases score the same, and visits are secret, end, and are only so many."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("starlette", reason='serving needs the extra: pip install "sdar-gym[web]"')

import httpx2
from served_store import ORIGIN, asking, client_of, make_visits, plan_of, visitor_of
from starlette.testclient import TestClient
from store_visitor import Visitor

from sdar_envs.loopback import LONGEST_FORM, MOST_FIELDS
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.server import NOT_UNDERSTOOD, OLD_PAGE, StoreOptions, make_app, make_busy
from sdar_envs.webshop.visits import StoreFullError, Visit, Visits

CANARY = "canary-that-only-teachers-know"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def detour(plan: list[str]) -> list[str]:
    """The plan with a look at a sub-page and a search that leads nowhere, and a purchase without the last option."""
    return [
        "search[nothing of the kind]",
        "click[back to search]",
        *plan[:2],
        "click[reviews]",
        "click[< prev]",
        plan[-1],
    ]


# --- the same store ---


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("change", [list, detour], ids=["the plan", "a detour"])
def test_a_purchase_through_the_forms_is_the_environments_own_step_by_step(
    number: int, change: Callable[..., list[str]]
):
    task_id = f"valid:{number:06d}"
    actions = change(plan_of(task_id))
    env = WebShopEnv("valid", size="small", num_products=300, horizon=20, expose_privileged=False)
    rich = WebShopEnv("valid", size="small", num_products=300, horizon=20, observation_mode="text_rich")
    ended: list[Visit] = []
    visits = Visits(lambda: env, lambda: task_id, ended=ended.append)
    visitor = visitor_of(visits)
    twin = WebShopEnv("valid", size="small", num_products=300, horizon=20)
    observation, _ = twin.reset(options={"task_id": task_id})
    marked, _ = rich.reset(options={"task_id": task_id})
    total = 0.0
    for action in actions:
        assert visitor.main.text == observation
        assert visitor.main.rich_text == marked
        visitor.play(action)
        observation, reward, terminated, _, info = twin.step(action)
        marked = rich.step(action)[0]
        total += reward
    assert terminated and visitor.status == 200
    assert visitor.main.text == observation
    (visit,) = ended
    assert [exchange.action for exchange in visit.exchanges] == actions
    assert sum(exchange.reward for exchange in visit.exchanges) == total == visit.score
    assert visit.success == info["success"]
    assert visitor.soup.select_one("#reward pre").get_text() == str(total)
    assert (change is list) == (total == 1.0)


def test_an_option_is_chosen_with_one_press_and_shown_as_chosen():
    visitor = visitor_of(make_visits())
    *way, chosen, _ = plan_of("valid:000000")
    for action in way:
        visitor.play(action)
    assert visitor.soup.select('[aria-pressed="true"]') == []
    visitor.play(chosen)
    (pressed,) = visitor.soup.select('[aria-pressed="true"]')
    assert f"click[{pressed['value']}]" == chosen


def test_a_visit_whose_steps_are_used_up_is_over_and_scores_nothing():
    ended: list[Visit] = []
    visits = Visits(
        lambda: WebShopEnv("valid", size="small", num_products=300, horizon=2),
        lambda: "valid:000000",
        ended=ended.append,
    )
    visitor = visitor_of(visits)
    for _ in range(2):
        assert "Out of steps" not in visitor.html
        visitor.play("search[shirt]") if visitor.main.has_search_bar else visitor.play("click[back to search]")
    assert "Out of steps" in visitor.html
    assert [(visit.terminated, visit.over, visit.score) for visit in ended] == [(False, True, 0.0)]
    visitor.send(visitor.soup.find("form"), {})  # the next errand
    assert visitor.main.has_search_bar


def test_pressing_twice_or_on_a_page_from_the_browsers_history_plays_nothing():
    visits = make_visits()
    visitor = visitor_of(visits)
    search = visitor.soup.find("form", id="search")
    visitor.send(search, {"query": "shirt"})
    first = visitor.main.text
    visitor.send(search, {"query": "lamp"})
    assert OLD_PAGE in visitor.html and visitor.main.text == first
    visit = visits.find(visitor.address.rpartition("/")[2])
    assert visit is not None and [exchange.action for exchange in visit.exchanges] == ["search[shirt]"]


def test_loading_a_page_again_plays_nothing():
    visitor = visitor_of(make_visits())
    visitor.play("search[shirt]")
    before = visitor.html
    visitor.go(visitor.address)
    assert visitor.html == before


def test_what_is_not_understood_is_said_and_counts():
    visits = make_visits()
    visitor = visitor_of(visits)
    form = visitor.soup.find("form", id="search")
    visitor.send(form, {"action": "dance"})
    assert NOT_UNDERSTOOD in visitor.html and "Step 2 of" in visitor.html
    visitor.play("search[shirt]")
    assert NOT_UNDERSTOOD not in visitor.html


def test_many_people_shop_at_once_and_none_meets_another():
    ended: list[Visit] = []
    visits = make_visits(ended=ended.append)
    app = make_app(visits, StoreOptions())

    async def shop(client: httpx2.AsyncClient) -> None:
        # As `Visitor`, but giving way to the others at every question.
        page = await client.post("/start", follow_redirects=True)
        visit = visits.find(page.url.path.rpartition("/")[2])
        assert visit is not None
        for step, action in enumerate(plan_of(visit.task_id)):
            await asyncio.sleep(0)
            page = await client.post(page.url.path, data={"step": str(step), "action": action}, follow_redirects=True)

    async def everybody() -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url=ORIGIN, headers={"origin": ORIGIN}
        ) as client:
            await asyncio.gather(*(shop(client) for _ in range(20)))

    asyncio.run(everybody())
    assert len({visit.task_id for visit in ended}) == len(ended) == 20
    assert all(visit.score == 1.0 for visit in ended)


def test_behind_a_purchase_people_read_what_was_missed_beside_the_page_and_not_before():
    plan = plan_of("valid:000000")
    visitor = visitor_of(make_visits())
    for action in plan[:-1]:
        assert visitor.soup.select_one(".verdict") is None
        if action in plan[:2]:
            visitor.play(action)
    visitor.play(plan[-1])
    lines = [line.get_text() for line in visitor.soup.select(".after .verdict li")]
    assert [line.partition(":")[0] for line in lines] == ["Kind of thing", "Attributes", "Options", "Price"]
    assert "missed" in lines[2] and "missed" not in visitor.main.text
    visitor = visitor_of(make_visits())
    for action in plan:
        visitor.play(action)
    assert "missed" not in visitor.soup.select_one(".after").get_text()


def test_where_the_page_itself_explains_it_is_not_said_twice():
    plan = plan_of("valid:000000")
    numbers = iter(range(9))
    visits = Visits(
        lambda: WebShopEnv("valid", size="small", num_products=300, done_page="explained"),
        lambda: f"valid:{next(numbers):06d}",
    )
    visitor = visitor_of(visits)
    for action in plan:
        visitor.play(action)
    assert "Kind of thing: what was wanted" in visitor.main.text and visitor.soup.select_one(".verdict") is None


def test_brackets_that_people_type_are_blanks_in_the_search():
    visits = make_visits()
    visitor = visitor_of(visits)
    visitor.play("search[shirt [wide] or [long]]")
    (visit,) = visits._visits.values()
    assert visit.exchanges[-1].action == "search[shirt  wide  or  long ]" and visit.exchanges[-1].is_action_valid


# --- secrets, ends and bounds ---


def test_ids_of_visits_are_long_random_and_all_different():
    visits = make_visits(most=64)
    ids = {visits.open() for _ in range(64)}
    assert len(ids) == 64
    assert all(re.fullmatch(r"[\w-]{32}", visit_id) for visit_id in ids)
    assert not ids & {make_visits().open() for _ in range(8)}  # a server that starts again tells nothing


def test_a_visit_ends_when_it_rests_too_long_and_asking_for_it_is_no_rest():
    clock = Clock()
    visits = make_visits(rest=100.0, clock=clock)
    kept, left = visits.open(), visits.open()
    for _ in range(5):
        clock.now += 60
        assert visits.find(kept) is not None
    assert visits.find(left) is None
    assert len(visits) == 1
    visitor = Visitor(asking(client_of(visits)))
    visitor.go(f"/visit/{left}")
    assert visitor.status == 404
    visitor.send(visitor.soup.find("form"), {})
    assert visitor.main.has_search_bar


def test_there_are_only_so_many_visits_and_only_finished_ones_make_room():
    clock = Clock()
    visits = make_visits(most=3, rest=100.0, clock=clock)
    ids = [visits.open() for _ in range(3)]
    with pytest.raises(StoreFullError, match="all 3 places are taken"):
        visits.open()
    response = client_of(visits).post("/start")
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
    assert "all 3 places are taken" in response.text
    finished = visits.find(ids[1])
    assert finished is not None
    for action in plan_of(finished.task_id):
        visits.act(finished, action)
    newest = visits.open()
    assert visits.find(ids[1]) is None
    assert all(visits.find(visit_id) for visit_id in (ids[0], ids[2], newest))
    clock.now += 101
    assert visits.open() and len(visits) == 1


def test_a_busy_store_says_on_a_page_when_to_come_again():
    response = TestClient(make_busy(), base_url=ORIGIN).get("/")
    assert (response.status_code, response.headers["retry-after"], response.headers["connection"]) == (
        503,
        "2",
        "close",
    )
    assert "The store is busy" in response.text and "default-src 'none'" in response.headers["content-security-policy"]


def test_who_only_takes_errands_keeps_nobody_out_for_longer_than_a_minute():
    clock = Clock()
    visits = make_visits(most=3, rest=1800.0, clock=clock)
    played = visits.open()
    for _ in range(2):
        visit = visits.find(played)
        assert visit is not None
        visits.act(visit, "search[socks]")
    idle = [visits.open() for _ in range(2)]
    clock.now += 61
    assert visits.open() and visits.find(idle[0]) is None
    assert visits.find(played) is not None and visits.find(idle[1]) is not None
    clock.now += 119  # three minutes for a visit of two steps, one for one of none
    assert [visits.open() for _ in range(2)]
    with pytest.raises(StoreFullError):
        visits.open()
    assert visits.find(played) is not None


@pytest.mark.parametrize(
    "address",
    [
        *("/visit/", "/visit/0", "/visit/" + "A" * 32, "/visit/" + "A" * 5000, "/visit/%00", "/visit/../etc/passwd"),
        *("/visit/..%2f..%2fetc%2fpasswd", "/..%2f..%2fetc/passwd", "/store.css/../../pages/base.html", "/store.css/"),
        *("//etc/passwd", "/pages/base.html", "/assets/webshop/store.css", "/%2e%2e/pyproject.toml", "/.git/config"),
        *("/favicon.ico", "/robots.txt", "/start/x", "/visit/<script>alert(1)</script>", "/visit/a/b"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_no_address_but_the_stores_own(address: str, method: str):
    response = client_of(make_visits()).request(method, address, data={"step": "0"} if method == "POST" else None)
    assert response.status_code in (404, 405)
    assert "root:" not in response.text and "<script" not in response.text and "Traceback" not in response.text


def test_methods_are_what_they_are_for():
    visits = make_visits()
    client = client_of(visits)
    address = f"/visit/{visits.open()}"
    for method, path in (("GET", "/start"), ("PUT", address), ("DELETE", address), ("POST", "/"), ("PATCH", "/start")):
        assert client.request(method, path).status_code == 405
    assert client.head("/").status_code == 200
    assert len(visits) == 1  # looking opens no visit


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", ""])
def test_a_foreign_host_name_is_refused(host: str):
    # A name that its owner points at this machine would make this server same-origin with its pages.
    client = client_of(make_visits())
    assert client.get("/", headers={"host": host}).status_code == 400
    assert client.post("/start", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:3000", "localhost", "localhost:8080"])
def test_this_machines_names_are_taken_with_any_port(host: str):
    assert client_of(make_visits()).get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": ORIGIN},
    ],
    ids=str,
)
def test_forms_of_other_sites_are_refused(headers: dict[str, str]):
    visits = make_visits()
    assert client_of(visits).post("/start", headers=headers).status_code == 403
    assert len(visits) == 0


@pytest.mark.parametrize(
    "headers",
    [{"origin": ORIGIN}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "same-origin", "origin": ORIGIN}],
    ids=str,
)
def test_own_forms_are_taken(headers: dict[str, str]):
    client = client_of(make_visits())
    del client.headers["origin"]
    assert client.post("/start", headers=headers).status_code == 200


def test_a_form_that_does_not_say_where_it_is_from_is_refused():
    visits = make_visits()
    client = client_of(visits)
    del client.headers["origin"]
    assert client.post("/start").status_code == 403
    assert len(visits) == 0


def test_forms_are_short_and_are_forms():
    visits = make_visits()
    address = f"/visit/{visits.open()}"
    client = client_of(visits)

    def status(content: bytes, kind: str = "application/x-www-form-urlencoded") -> int:
        return client.post(address, content=content, headers={"content-type": kind}, follow_redirects=False).status_code

    assert status(b"step=0&query=" + b"a" * LONGEST_FORM) == 413
    assert status(b"&".join(b"f%d=1" % number for number in range(MOST_FIELDS + 1))) == 400
    assert status(b'{"step": 0}', "application/json") == 415
    assert status(b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x") == 415
    visit = visits.find(address.rpartition("/")[2])
    assert visit is not None and visit.steps == 0
    assert status(b"step=0&query=%ff%fe%00") == 303  # bytes that are no text are a search for nothing
    assert visit.steps == 1


def test_every_answer_forbids_scripts_frames_and_foreign_sources():
    visits = make_visits()
    client = client_of(visits)
    address = f"/visit/{visits.open()}"
    answers = [client.get(path) for path in ("/", address, "/store.css", "/icon.svg", "/nothing")]
    answers += [client.get("/", headers={"host": "evil.example"}), client.put("/")]
    answers += [client.post("/start", headers={"origin": "http://evil.example"})]
    answers += [client.post(address, data={"step": "0"}, follow_redirects=False)]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "script-src" not in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers


def test_a_defect_shows_no_traceback():
    class BrokenEnv(WebShopEnv):
        def _act(self, action: str) -> Any:
            raise RuntimeError(CANARY)

    visits = make_visits(BrokenEnv)
    client = client_of(visits, raise_server_exceptions=False)
    visitor = Visitor(asking(client))
    visitor.start()
    visitor.play("search[shirt]")
    assert visitor.status == 500
    assert CANARY not in visitor.html and "Traceback" not in visitor.html
    assert "content-security-policy" in client.post(visitor.address, data={"step": "0"}).headers
