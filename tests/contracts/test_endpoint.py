"""What every server's adapter must do; the suite runs on all under `negawatt.endpoints`.

The servers are stand-ins on loopback that speak as the real ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from vllm_server import MOST, WORDS, VllmServer

from negawatt.core import registry
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import Endpoint

SERVERS = {"vllm": VllmServer}
PROMPT = [1, 7, 5, 30]


@pytest.fixture(params=registry.names(registry.ENDPOINTS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Iterator[VllmServer]:
    # what a model's folder recommends must not be taken for greedy decoding
    made = SERVERS[kind](repetition_penalty=1.1, temperature=0.7)
    yield made
    made.close()


@pytest.fixture
def endpoint(kind: str, server: VllmServer) -> Endpoint:
    made: Endpoint = registry.build(registry.ENDPOINTS, kind, server.address)
    return made


def opened(kind: str, server: VllmServer, **options: Any) -> Endpoint:
    made: Endpoint = registry.build(registry.ENDPOINTS, kind, server.address, **options)
    return made


def test_it_says_who_answers(endpoint: Endpoint, kind: str) -> None:
    assert (endpoint.name, endpoint.model, endpoint.context) == (kind, "small", MOST)
    assert endpoint.version == "0.11.0"


def test_stream_is_greedy_decoding(endpoint: Endpoint, server: VllmServer) -> None:
    expected = server.table.greedy(PROMPT, 20)
    assert list(endpoint.stream(PROMPT, max_new=20)) == expected
    assert list(endpoint.stream(PROMPT, max_new=0)) == []
    stop = expected[4]
    assert (
        list(endpoint.stream(PROMPT, max_new=20, stop=[stop])) == expected[: expected.index(stop)]
    )


def test_nothing_is_asked_before_the_first_token_is(endpoint: Endpoint, server: VllmServer) -> None:
    before = len(server.asked)
    stream = endpoint.stream(PROMPT, max_new=4)
    assert len(server.asked) == before
    next(stream)
    assert len(server.asked) == before + 1
    stream.close()  # type: ignore[attr-defined]  # every endpoint hands out a generator


def test_closing_a_stream_ends_the_work(endpoint: Endpoint, server: VllmServer) -> None:
    stream = endpoint.stream(PROMPT, max_new=50)
    taken = [next(stream), next(stream)]
    stream.close()  # type: ignore[attr-defined]
    assert server.hung_up.wait(5)
    assert server.written < 50
    assert list(endpoint.stream(PROMPT, max_new=2)) == taken  # and it can be used again


def test_likelihoods_are_those_of_the_text(endpoint: Endpoint, server: VllmServer) -> None:
    text = np.random.default_rng(3).integers(0, WORDS, 40)
    found = endpoint.likelihoods(text.tolist())
    rows = server.table.log_probs[text[:-1]]
    np.testing.assert_allclose(found.log_probs, rows[np.arange(39), text[1:]], atol=1e-12)
    np.testing.assert_array_equal(found.tops, rows.argmax(-1))


@pytest.mark.parametrize("tokens", [[], [3]])
def test_too_little_text_is_refused(endpoint: Endpoint, tokens: list[int]) -> None:
    with pytest.raises(UsageError, match="likelihood"):
        endpoint.likelihoods(tokens)


def test_an_empty_prompt_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises(UsageError, match="prompt"):
        endpoint.stream([], max_new=3)


def test_a_text_too_long_is_refused_in_the_servers_words(endpoint: Endpoint) -> None:
    with pytest.raises(UsageError, match="maximum context length is 64"):
        endpoint.likelihoods([1] * (MOST + 1))
    with pytest.raises(UsageError, match="maximum context length is 64"):
        next(endpoint.stream(PROMPT, max_new=MOST))


def test_a_token_of_another_vocabulary_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises(UsageError, match="vocabulary"):
        endpoint.likelihoods([1, WORDS])


def test_a_key_is_asked_for_and_taken(kind: str) -> None:
    server = SERVERS[kind](key="s3cret")
    try:
        with pytest.raises(RuntimeUnavailable, match="401") as refused:
            opened(kind, server)
        assert "NEGAWATT_ENDPOINT_KEY" in refused.value.fix
        assert "s3cret" not in str(refused.value)
        assert len(list(opened(kind, server, key="s3cret").stream(PROMPT, max_new=3))) == 3
    finally:
        server.close()


def test_of_several_models_one_has_to_be_named(kind: str) -> None:
    server = SERVERS[kind](names=("small", "other"))
    try:
        with pytest.raises(UsageError, match="serves 2 models"):
            opened(kind, server)
        with pytest.raises(UsageError, match="no model 'third'"):
            opened(kind, server, model="third")
        assert opened(kind, server, model="other").model == "other"
    finally:
        server.close()


def test_a_final_v1_may_be_there(kind: str, server: VllmServer) -> None:
    made: Endpoint = registry.build(registry.ENDPOINTS, kind, f"{server.address}/v1/")
    assert made.model == "small"


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x", "http://", ""])
def test_what_is_no_address_is_said_so(kind: str, address: str) -> None:
    with pytest.raises(UsageError, match="address"):
        registry.build(registry.ENDPOINTS, kind, address)


def test_nobody_there_is_said_so(kind: str, server: VllmServer) -> None:
    address = server.address
    server.close()
    with pytest.raises(RuntimeUnavailable, match="cannot be reached"):
        registry.build(registry.ENDPOINTS, kind, address)


def test_waiting_ends(kind: str, server: VllmServer) -> None:
    endpoint = opened(kind, server, timeout_s=0.2)
    server.silent_s = 1.0
    with pytest.raises(RuntimeUnavailable, match="no answer in time"):
        endpoint.likelihoods([1, 2, 3])


def test_a_stream_that_breaks_off_is_no_short_answer(
    endpoint: Endpoint, server: VllmServer
) -> None:
    server.breaks_after = 3
    stream = endpoint.stream(PROMPT, max_new=9)
    assert [next(stream) for _ in range(3)] == server.table.greedy(PROMPT, 3)
    with pytest.raises(RuntimeUnavailable, match="half a stream"):
        next(stream)


def test_a_failure_in_the_stream_is_told(endpoint: Endpoint, server: VllmServer) -> None:
    server.fails_after = 2
    with pytest.raises(RuntimeUnavailable, match="EngineCore died"):
        list(endpoint.stream(PROMPT, max_new=9))


def test_a_server_without_the_additions_is_named(endpoint: Endpoint, server: VllmServer) -> None:
    server.says_tokens = server.says_likelihoods = False
    with pytest.raises(RuntimeUnavailable, match="does not say which tokens"):
        list(endpoint.stream(PROMPT, max_new=2))
    with pytest.raises(RuntimeUnavailable, match="no likelihoods of a prompt"):
        endpoint.likelihoods([1, 2, 3])
