"""What is stated beforehand holds, whatever the number of blocks."""

from __future__ import annotations

from typing import Any

import pytest

from negawatt.compress.bound import bound
from negawatt.models.architecture import blueprint


def llama(hidden: int = 4096, inter: int = 11008, blocks: int = 32, heads: int = 32) -> Any:
    config = {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": hidden,
        "intermediate_size": inter,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": heads if hidden < 8192 else 8,
        "tie_word_embeddings": False,
    }
    return blueprint(config).layers, config


def stated(
    layers: Any, config: Any, tokens: int = 24_576, room: int = 2**40, *, wide: bool = False
) -> Any:
    return bound(layers, config, (tokens, 12_288, 256), room, threads=2, wide=wide)


def test_a_block_is_what_its_matrices_weigh() -> None:
    assert stated(*llama()).block == 2 * (4 * 4096**2 + 3 * 4096 * 11008)


def test_more_blocks_take_no_more() -> None:
    assert stated(*llama(blocks=4)).total == stated(*llama(blocks=32)).total


def test_seven_billion_fit_where_they_must_and_so_do_seventy() -> None:
    assert stated(*llama()).total < 8e9  # of 24 GB
    assert stated(*llama(8192, 28672, 80, 64)).total < 32e9  # of 64 GB


def test_in_32_bits_seven_billion_still_fit() -> None:
    narrow, wide = stated(*llama()), stated(*llama(), wide=True)
    largest = 2 * 32_000 * 4096
    assert wide.block == 2 * narrow.block + largest
    assert wide.states == 2 * narrow.states
    assert wide.inside > narrow.inside
    assert (wide.method, wide.statistics) == (narrow.method, narrow.statistics)
    assert narrow.total < wide.total < 8e9  # of 24 GB
    assert stated(*llama(8192, 28672, 80, 64), wide=True).total < 32e9  # of 64 GB


def test_states_beyond_their_room_go_to_disk() -> None:
    layers, config = llama(blocks=2)
    all_here = stated(layers, config)
    some = stated(layers, config, room=10**6)
    assert all_here.spilled == 0
    assert some.states == 10**6
    assert some.states + some.spilled == all_here.states == 2 * 24_576 * 4096
    assert some.total == all_here.total - some.spilled
    assert "disk" in some.told(10**9)
    assert "disk" not in all_here.told(10**9)


@pytest.mark.parametrize("larger", [{"hidden": 5120}, {"inter": 13_824}])
def test_wider_blocks_take_more(larger: dict[str, int]) -> None:
    assert stated(*llama(**larger)).total > stated(*llama()).total
