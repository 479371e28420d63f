"""A generation server as a sampler: ids in, ids and log-probs out, and never a sample of unknown weights."""

from __future__ import annotations

import copy
import logging
import math
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CHATML, make_model, make_tokenizer, save_tiny
from vllm_protocol_server import (
    SERVED,
    ProtocolServer,
    answers_500,
    breaks_off,
    changed,
    drops,
    slow,
)

from agents.sampling.base import Sample, Sampler, SampleRequest, SampleStream
from agents.sampling.vllm import probe
from agents.sampling.vllm.client import GenerationServerError, ServerClient
from agents.sampling.vllm.protocol import seed_of
from agents.sampling.vllm.sampler import VllmSampler
from agents.sampling.vllm.weights import CheckpointReload

TOKENIZER = make_tokenizer(CHATML)
ENDS = tuple(range(5, len(TOKENIZER), 9))  # random completions end after some nine tokens
PROMPT = [20, 21, 22, 23, 24]
SLOW = slow(2.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("served"), "qwen3", CHATML)


@pytest.fixture
def server(folder: Path) -> Iterator[ProtocolServer]:
    server = ProtocolServer(folder).start()
    yield server
    server.stop()


def model_of(seed: int = 1) -> Any:
    """Another model of the same shape than the one that the server starts with."""
    return make_model("qwen3", len(TOKENIZER), seed=seed)


def client_of(server: ProtocolServer, **options: Any) -> ServerClient:
    return ServerClient(server.url, **{"timeout": 60.0, "tries": 3, "wait": 60.0, "pause": 0.01, **options})


def sampler_of(server: ProtocolServer, tmp_path: Path, *, client: Any = None, **options: Any) -> VllmSampler:
    asked = client or client_of(server)
    transport = CheckpointReload(asked, SERVED, tmp_path / "weights", lambda model, path: model.save_pretrained(path))
    settings: dict[str, Any] = {"max_completion_length": 12, "max_context": 400, "end_ids": ENDS, "concurrency": 8}
    return VllmSampler(
        asked,
        transport,
        encode=lambda text: TOKENIZER.encode(text, add_special_tokens=False),
        vocabulary=len(TOKENIZER),
        **{**settings, **options},
    )


def requests(count: int, *, turn: int = 0, **options: Any) -> list[SampleRequest]:
    return [SampleRequest(slot, PROMPT, turn > 0, ("test", slot, turn), **options) for slot in range(count)]


def trainers_logprobs(model: Any, prompt: list[int], sample: Sample, temperature: float = 1.0) -> list[float]:
    rows = probe.next_logprobs(model, [*prompt, *sample.ids], temperature)[len(prompt) - 1 :]
    return [float(row[token]) for row, token in zip(rows, sample.ids, strict=False)]


# What a sampler promises.


def test_it_is_a_sampler_whose_draws_are_its_own(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    assert isinstance(sampler, Sampler) and isinstance(sampler.stream(), SampleStream)
    assert sampler.exact_draws is False
    with pytest.raises(ValueError, match="call sync_weights before anything is sampled"):
        sampler.sample(requests(1))
    assert sampler.sample([]) == []


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_logprobs_are_the_trainers_at_the_temperature_of_the_request(
    server: ProtocolServer, tmp_path: Path, temperature: float
) -> None:
    model, sampler = model_of(), sampler_of(server, tmp_path)
    sampler.sync_weights(model, 3)
    for sample in sampler.sample(requests(6, temperature=temperature)):
        own = trainers_logprobs(model, PROMPT, sample, temperature or 1.0)
        assert sample.logprobs == pytest.approx(own, abs=1e-4)
        assert sample.version == 3 and len(sample.ids) == len(sample.logprobs) == len(sample.entropies)
        assert sample.truncated == (sample.ids[-1] not in ENDS)


def test_every_member_has_a_seed_of_its_own_that_its_draw_names(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)
    before = len(server.completions())
    first = sampler.sample(requests(8))
    seeds = [body["seed"] for body in server.completions()[before:]]
    assert len(set(seeds)) == 8 and set(seeds) == {seed_of(("test", slot, 0)) for slot in range(8)}
    assert len({sample.ids for sample in first}) > 1  # members of a group say different things
    sampler.release(range(8))
    assert [sample.ids for sample in sampler.sample(requests(8))] == [sample.ids for sample in first]


def test_a_later_turn_sends_the_whole_prompt_and_the_slot_grows(server: ProtocolServer, tmp_path: Path) -> None:
    model, sampler = model_of(), sampler_of(server, tmp_path)
    sampler.sync_weights(model, 0)
    (first,) = sampler.sample(requests(1))
    assert sampler.length(0) == len(PROMPT) + len(first.ids)
    (second,) = sampler.sample(requests(1, turn=1))
    whole = [*PROMPT, *first.ids, *PROMPT]
    assert server.completions()[-1]["prompt"] == whole
    assert second.logprobs == pytest.approx(trainers_logprobs(model, whole, second), abs=1e-4)
    assert sampler.length(0) == len(whole) + len(second.ids)
    sampler.release([0])
    assert sampler.length(0) == 0
    with pytest.raises(ValueError, match="slot 0 is expected to hold an earlier turn to continue"):
        sampler.sample(requests(1, turn=1))


def test_requests_that_cannot_be_answered_are_refused_before_they_are_sent(
    server: ProtocolServer, tmp_path: Path
) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)
    asked = len(server.log)
    for wrong, message in (
        ([*requests(1), *requests(1)], "each slot once per call"),
        ([SampleRequest(0, [], False, ("x",))], "expected to begin with a prompt"),
        ([SampleRequest(0, [20] * 400, False, ("x",))], "leave no room to answer within max_context=400"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.sample(wrong)
    assert len(server.log) == asked


def test_the_room_that_is_left_bounds_a_completion(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path, end_ids=())
    sampler.sync_weights(model_of(), 0)
    (sample,) = sampler.sample([SampleRequest(0, [20] * 397, False, ("x",))])
    assert len(sample.ids) == 3 and sample.truncated


def test_a_request_may_name_a_length_of_its_own(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path, end_ids=(len(TOKENIZER) + 5,))  # an id that no model samples
    sampler.sync_weights(model_of(), 0)
    asked = [requests(1)[0], requests(2, max_tokens=20)[1], requests(3, max_tokens=2)[2]]
    assert [len(sample.ids) for sample in sampler.sample(asked)] == [12, 20, 2]
    with pytest.raises(ValueError, match="slot 0 is expected to ask for at least 1 token, got 0"):
        sampler.sample(requests(1, max_tokens=0))


def test_a_stop_text_ends_a_completion_and_stands_in_it(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path, end_ids=())
    sampler.sync_weights(model_of(), 0)
    samples = sampler.sample(requests(12, stop=("a", "e")))
    stopped = [sample for sample in samples if not sample.truncated]
    assert stopped
    for sample in stopped:
        assert set("ae") & set(TOKENIZER.decode(sample.ids))
        assert not set("ae") & set(TOKENIZER.decode(sample.ids[:-1]))


def test_entropies_are_exact_where_the_server_gives_the_whole_vocabulary_and_unknown_otherwise(
    folder: Path, tmp_path: Path
) -> None:
    model = model_of()
    for limit in (20, -1):
        server = ProtocolServer(folder, max_logprobs=limit).start()
        sampler = sampler_of(server, tmp_path)
        sampler.sync_weights(model, 0)
        (sample,) = sampler.sample(requests(1))
        server.stop()
        if limit == 20:
            assert all(map(math.isnan, sample.entropies))
            continue
        rows = probe.next_logprobs(model, [*PROMPT, *sample.ids])[len(PROMPT) - 1 : -1]
        expected = [float(torch.special.entr(row.exp()).sum()) for row in rows]
        assert sample.entropies == pytest.approx(expected, abs=1e-4)


# Weights.


def test_after_every_change_the_server_samples_from_what_is_trained(server: ProtocolServer, tmp_path: Path) -> None:
    model, sampler = model_of(), sampler_of(server, tmp_path)
    for version in range(3):
        sampler.sync_weights(model, version)
        assert sampler.last_sync is not None
        assert sampler.last_sync.version == version and sampler.last_sync.apart.largest < 1e-4
        for sample in sampler.sample(requests(3)):
            assert sample.version == version
            assert sample.logprobs == pytest.approx(trainers_logprobs(model, PROMPT, sample), abs=1e-4)
        sampler.release(range(3))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    paths = server.paths()
    assert paths.count("/collective_rpc") == 3
    for at, path in enumerate(paths):
        if path == "/collective_rpc":  # never under the name of a version while it is half loaded, and no old prefixes
            assert paths[at - 1 : at + 3] == [
                "/update_weight_version",
                "/collective_rpc",
                "/reset_prefix_cache",
                "/update_weight_version",
            ]
    kept = [path.name for path in (tmp_path / "weights").iterdir()]
    assert kept == ["v000002"]
    sampler.close()
    assert not (tmp_path / "weights").exists()


def test_a_server_that_restarts_between_two_calls_is_sent_the_weights_again(
    server: ProtocolServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, sampler = model_of(), sampler_of(server, tmp_path)
    sampler.sync_weights(model, 7)
    (before,) = sampler.sample(requests(1))
    server.restart()
    with caplog.at_level(logging.WARNING):
        (after,) = sampler.sample(requests(1))
    # The completion of the weights that it started with was thrown away, and drawn again.
    assert after == before and sampler.restored == 1
    assert "no longer holds the weights of version 7 (it holds the weights that it was started with)" in caplog.text


def test_a_server_that_goes_away_in_the_middle_is_waited_for_and_asked_again(
    server: ProtocolServer, tmp_path: Path
) -> None:
    lines: list[str] = []
    model, sampler = model_of(), sampler_of(server, tmp_path, client=client_of(server, say=lines.append))
    sampler.sync_weights(model, 0)
    before = sampler.sample(requests(4))

    def dies(body: dict[str, Any], answer: dict[str, Any]) -> Any:
        server.restart()
        return answer

    server.faults.append(dies)
    assert sampler.sample(requests(4)) == before and sampler.restored == 1
    assert len([line for line in lines if "is lost" in line]) <= 2  # said once, not by every thread


def test_weights_that_somebody_else_sends_are_noticed_whether_or_not_they_are_named(
    server: ProtocolServer, tmp_path: Path
) -> None:
    model, other = model_of(), model_of(2)
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model, 0)
    (before,) = sampler.sample(requests(1))
    other.save_pretrained(tmp_path / "other")
    stranger = client_of(server)
    reload = {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path / "other")}}
    for number, name in enumerate((None, "another run's version 0"), 1):
        stranger.post("/collective_rpc", reload)
        stranger.post("/reset_prefix_cache")
        if name is not None:
            stranger.post("/update_weight_version", {"new_version": name})
        (after,) = sampler.sample(requests(1))
        assert after.ids == before.ids and after.logprobs == pytest.approx(before.logprobs, abs=1e-5)
        assert sampler.restored == number


def test_a_server_that_loses_its_weights_again_and_again_ends_the_run(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)

    def strange(body: dict[str, Any], answer: dict[str, Any]) -> Any:
        server.version = "somebody else's"
        return answer

    server.faults.extend([strange] * 10)
    with pytest.raises(GenerationServerError, match="lost the weights of version 0 after each of 3 times"):
        sampler.sample(requests(1))


def test_a_server_that_ignores_what_it_is_sent_is_refused(server: ProtocolServer, tmp_path: Path) -> None:
    model, sampler = model_of(), sampler_of(server, tmp_path, tolerance=5.0)
    sampler.sync_weights(model, 0)
    server.ignores_reload = True
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    # A tolerance that lets everything pass does not let this pass.
    with pytest.raises(GenerationServerError, match="the server ignores what is sent to it"):
        sampler.sync_weights(model, 1)


def test_prefixes_of_older_weights_are_noticed(server: ProtocolServer, tmp_path: Path) -> None:
    model, sampler = model_of(), sampler_of(server, tmp_path)
    sampler.sync_weights(model, 0)
    server.ignores_reset = True
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    with pytest.raises(GenerationServerError, match=r"does not sample from the weights|ignores what is sent"):
        sampler.sync_weights(model, 1)


def test_weights_of_another_shape_are_refused_by_name(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    with pytest.raises(
        GenerationServerError, match=r"did not load the weights from .* and serve the same architecture"
    ):
        sampler.sync_weights(make_model("qwen2", len(TOKENIZER)), 0)


# Bad answers.


@pytest.mark.parametrize(
    "fault",
    [
        answers_500,
        breaks_off,
        drops,
        SLOW,
        changed(token_ids=lambda ids: ids[:-1]),
        changed(token_ids=None),
        changed(prompt_token_ids=lambda ids: [0, *ids]),
        changed(finish_reason="abort"),
        changed(finish_reason="length", token_ids=[30], logprobs={"token_logprobs": [-1.0]}),
        changed(finish_reason="stop", token_ids=[30], logprobs={"token_logprobs": [-1.0]}),
        changed(logprobs=None),
        changed(logprobs=lambda table: {**table, "token_logprobs": [math.nan] * len(table["token_logprobs"])}),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again_and_changes_nothing(
    server: ProtocolServer, tmp_path: Path, fault: Any
) -> None:
    sampler = sampler_of(server, tmp_path, client=client_of(server, timeout=60.0))
    sampler.sync_weights(model_of(), 0)
    (expected,) = sampler.sample(requests(1))
    if fault is SLOW:
        sampler.client.timeout = 2.0
    asked = len(server.completions())
    server.faults.append(fault)
    assert sampler.sample(requests(1)) == [expected]
    assert len(server.completions()) == asked + 2 and not server.faults


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (answers_500, "3 tries failed, the last: HTTP 500.*EngineCore.*Look at the server's log"),
        (SLOW, "3 tries failed, the last: no answer within 0.3 s.*vllm_timeout"),
        (changed(token_ids=lambda ids: ids[:-1]), "3 answers to the same request were no completions of it"),
    ],
)
def test_a_fault_that_stays_ends_with_what_came_and_what_to_do(
    server: ProtocolServer, tmp_path: Path, fault: Any, message: str
) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)
    if fault is SLOW:
        sampler.client.timeout = 0.3
    server.faults.extend([fault] * 20)
    with pytest.raises(GenerationServerError, match=message):
        sampler.sample(requests(2))


def test_a_server_that_stays_away_is_waited_for_so_long_and_then_named(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path, client=client_of(server, wait=0.2))
    sampler.sync_weights(model_of(), 0)
    server.stop()
    with pytest.raises(GenerationServerError, match=r"is lost, and was not back within 0.2 s \(vllm_wait\)"):
        sampler.sample(requests(3))


# The start.


def test_a_closed_port_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = ServerClient(f"http://127.0.0.1:{port}", wait=60.0)
    with pytest.raises(GenerationServerError, match=rf"no generation server answers at http://127.0.0.1:{port}"):
        client.require_answer()  # at once, not after the time that a lost server is waited for


@pytest.mark.parametrize(
    "url", ["ftp://host", "http://user:secret@host:1", "http://", "http://host:port", "http://h?x=1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="vllm_url: expected the address of a generation server"):
        ServerClient(url)


def test_addresses_may_end_in_v1_or_lack_their_scheme() -> None:
    assert (
        ServerClient("127.0.0.1:8000").url == ServerClient("http://127.0.0.1:8000/v1/").url == "http://127.0.0.1:8000"
    )


def test_a_server_with_another_tokenizer_is_refused_with_both_hashes(server: ProtocolServer, tmp_path: Path) -> None:
    server.tokenizer.add_tokens(["hot apples"])
    with pytest.raises(
        GenerationServerError, match=r"has another tokenizer .* ids, hash \w{12}, and expected are \d+ ids"
    ):
        sampler_of(server, tmp_path)


def test_a_server_with_too_little_room_is_refused_with_the_flag(folder: Path, tmp_path: Path) -> None:
    server = ProtocolServer(folder, max_model_len=200).start()
    with pytest.raises(GenerationServerError, match=r"up to 200 tokens, and the run needs 400.*--max-model-len 400"):
        sampler_of(server, tmp_path)
    server.stop()


def test_a_server_that_cannot_say_what_it_holds_is_refused_with_its_version(folder: Path, tmp_path: Path) -> None:
    server = ProtocolServer(folder, dev=False).start()
    with pytest.raises(GenerationServerError, match=r"\(vLLM 0.32.0\) has no /weight_info.*VLLM_SERVER_DEV_MODE=1"):
        sampler_of(server, tmp_path)
    server.stop()


def test_logprobs_before_the_temperature_are_found_out_at_the_first_sync(folder: Path, tmp_path: Path) -> None:
    server = ProtocolServer(folder, processed=False).start()
    sampler = sampler_of(server, tmp_path)
    with pytest.raises(
        GenerationServerError, match=r"log-probs before the temperature.*--logprobs-mode processed_logprobs"
    ):
        sampler.sync_weights(model_of(), 0)
    server.stop()


# Streams.


def test_a_stream_answers_every_ticket_once_as_single_calls_would(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 2)
    expected = sampler.sample(requests(6))
    sampler.release(range(6))
    stream = sampler.stream()
    for each in requests(6):
        stream.submit(100 + each.slot, each)
    with pytest.raises(ValueError, match="one request per slot and ticket at a time"):
        stream.submit(100, requests(1)[0])
    with pytest.raises(ValueError, match="expects no requests under way, got 6"):
        sampler.sync_weights(model_of(), 3)
    answered = dict(finished(stream))
    assert [answered[100 + slot] for slot in range(6)] == expected
    assert sampler.length(0) == len(PROMPT) + len(expected[0].ids)
    assert stream.pending == 0 and stream.advance() == []


def test_a_slot_that_is_released_drops_its_request(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)
    stream = sampler.stream()
    server.faults.append(slow(0.3))
    for each in requests(3):
        stream.submit(each.slot, each)
    sampler.release([1])
    assert stream.pending == 2
    assert sorted(ticket for ticket, _ in finished(stream)) == [0, 2] and sampler.length(1) == 0


def test_what_a_stream_was_answered_by_a_restarted_server_is_drawn_again(
    server: ProtocolServer, tmp_path: Path
) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)
    expected = sampler.sample(requests(3))
    server.restart()
    stream = sampler.stream()
    for each in requests(3):
        stream.submit(each.slot, each)
    answered = dict(finished(stream))
    assert [answered[slot] for slot in range(3)] == expected and sampler.restored >= 1


def finished(stream: SampleStream) -> list[tuple[int, Sample]]:
    """All that a stream answers."""
    found: list[tuple[int, Sample]] = []
    while stream.pending:
        found += stream.advance()
    return found


# Sleep.


def test_a_server_on_the_trainers_card_sleeps_and_wakes_with_the_newest_weights(
    server: ProtocolServer, tmp_path: Path
) -> None:
    freed: list[int] = []
    model = model_of()
    sampler = sampler_of(server, tmp_path, sleeps=True, before_waking=lambda: freed.append(1))
    sampler.sync_weights(model, 0)
    (before,) = sampler.sample(requests(1))
    sampler.rest()
    assert server.asleep == {"weights", "kv_cache"}
    sampler.rest()  # it sleeps already
    assert server.paths().count("/sleep") == 1
    assert server.log[-1][1]["query"] == {"level": ["2"], "mode": ["wait"]}
    # Sampled without new weights: those that it has forgotten are sent again.
    (again,) = sampler.sample(requests(1))
    assert again == before and not server.asleep and freed == [1]
    sampler.rest()
    changed_model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in changed_model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    sampler.sync_weights(changed_model, 1)
    (after,) = sampler.sample(requests(1))
    assert after.logprobs == pytest.approx(trainers_logprobs(changed_model, PROMPT, after), abs=1e-4)
    order = [path for path in server.paths() if path in ("/sleep", "/wake_up", "/collective_rpc")]
    assert order == ["/collective_rpc", *["/sleep", "/wake_up", "/collective_rpc", "/wake_up"] * 2]
    woken = [body["query"]["tags"] for path, body in server.log if path == "/wake_up"]
    assert woken == [["weights"], ["kv_cache"]] * 2


def test_a_server_with_a_card_of_its_own_never_sleeps(server: ProtocolServer, tmp_path: Path) -> None:
    sampler = sampler_of(server, tmp_path)
    sampler.sync_weights(model_of(), 0)
    sampler.rest()
    assert "/sleep" not in server.paths()
