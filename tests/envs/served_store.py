"""The store for people inside the process: visits to a small store, and a client that shops there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

pytest.importorskip("starlette", reason='serving needs the extra: pip install "sdar-gym[web]"')

from starlette.testclient import TestClient
from store_visitor import Ask, Visitor

from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.server import StoreOptions, make_app
from sdar_envs.webshop.visits import Visits

ORIGIN = "http://127.0.0.1"


def make_visits(env_class: type[WebShopEnv] = WebShopEnv, *, first: int = 0, exposed: bool = False, **how: Any):
    numbers = count(first)
    return Visits(
        lambda: env_class("valid", size="small", num_products=300, expose_privileged=exposed),
        lambda: f"valid:{next(numbers):06d}",
        **how,
    )


def client_of(visits: Visits, options: StoreOptions | None = None, **how: Any) -> TestClient:
    return TestClient(make_app(visits, options or StoreOptions()), base_url=ORIGIN, headers={"origin": ORIGIN}, **how)


def asking(client: TestClient) -> Ask:
    def ask(method: str, address: str, fields: Mapping[str, str] | None) -> tuple[int, str, str]:
        response = client.request(method, address, data=fields)
        return response.status_code, response.url.path, response.text

    return ask


def visitor_of(visits: Visits, options: StoreOptions | None = None) -> Visitor:
    visitor = Visitor(asking(client_of(visits, options)))
    visitor.start()
    return visitor


def plan_of(task_id: str) -> list[str]:
    env = WebShopEnv("valid", size="small", num_products=300)
    plan: list[str] = env.reset(options={"task_id": task_id})[1]["privileged"]["plan"]
    return plan
