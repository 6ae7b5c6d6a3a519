"""Which formats a limit on bytes brings into the search."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from negawatt.actions.optimize.prices import Prices
from negawatt.core.records import Format, Layer

WIDE, FINE, UNEVEN = Format(8, 32), Format(5, 32), Format(4, 32, levels="nl")
TIGHT = Format(4, 32, levels="nl", nested=8)
ERROR = {WIDE: 1e-5, FINE: 2e-3, UNEVEN: 5.8e-3, TIGHT: 5.9e-3}


def small(error: dict[Format, float], *cols: int) -> list[Format]:
    """What is searched beside 8 and uneven 4 bits, in a model with rows of these widths."""
    layers = tuple(Layer(f"layer{at}", "linear", 64, width) for at, width in enumerate(cols))
    shop = SimpleNamespace(call=lambda *_given: error)
    tools: Any = SimpleNamespace(workshop=shop, runtime=SimpleNamespace(formats=tuple(error)))
    order: Any = SimpleNamespace(effort=SimpleNamespace(formats=2))
    source: Any = SimpleNamespace(layers=layers)
    prices = Prices(order, tools, source)
    wanted: Any = SimpleNamespace(formats=(Format(16), *error))
    return prices.small(wanted, [WIDE, UNEVEN])


@pytest.mark.parametrize(
    ("cols", "found"),
    [((96, 256), [FINE, TIGHT]), ((96, 96), [FINE]), ((256,), [FINE, TIGHT])],
    ids=["some layers", "no layer", "every layer"],
)
def test_a_format_that_saves_bytes_in_some_layers_is_searched(
    cols: tuple[int, ...], found: list[Format]
) -> None:
    assert small(ERROR, *cols) == found


def test_one_that_saves_them_at_too_large_an_error_is_not() -> None:
    assert TIGHT not in small(ERROR | {TIGHT: 1.7 * ERROR[UNEVEN]}, 96, 256)
