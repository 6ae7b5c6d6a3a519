from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_sample import BF16, INT4, INT8, PricedRuntime, lawful

from negawatt.core.errors import UsageError
from negawatt.core.records import Format
from negawatt.energy.costs import (
    CostRow,
    CostTable,
    Shape,
    Wanted,
    kept_at,
    load_table,
    measure_costs,
    save_table,
    undominated,
)

SQUARE, WIDE = Shape(64, 64), Shape(64, 96)
EMPTY = CostTable("here", "priced 1.0", ())


def want(
    *shapes: Shape, formats: Sequence[Format] = (BF16, INT8, INT4), threads: int = 1
) -> Wanted:
    return Wanted(shapes, tuple(formats), threads, tokens=(1, 128))


def row(fmt: Format, cpu_s: float, *, shape: Shape = SQUARE, tokens: int = 1) -> CostRow:
    return CostRow(shape, fmt, 1, tokens, cpu_s, cpu_s, cpu_s)


def test_a_table_holds_the_time_of_one_product_however_often_it_was_run() -> None:
    runtime = PricedRuntime(lawful)
    table = measure_costs(runtime, want(SQUARE), EMPTY, clock=runtime.clock)
    assert len(table.rows) == 6
    for found in table.rows:
        true = lawful(64, 64, found.format, found.tokens)
        assert (found.low, found.cpu_s, found.high) == pytest.approx((true, true, true))


def test_the_median_is_kept_and_the_spread_told() -> None:
    calls = iter(range(1_000_000))
    runtime = PricedRuntime(lambda *_: 1.0 + (next(calls) % 7 == 6) * 9.0)
    wanted = Wanted((SQUARE,), (INT8,), 1, tokens=(1,))
    (found,) = measure_costs(runtime, wanted, EMPTY, clock=runtime.clock).rows
    assert (found.low, found.cpu_s, found.high) == pytest.approx((1.0, 1.0, 10.0))


def test_small_matrices_are_copied_until_a_run_is_long_enough_to_time() -> None:
    runtime = PricedRuntime(lawful)
    large = Shape(8192, 4096)
    wanted = want(Shape(1024, 1024), large, formats=[INT8])
    measure_costs(runtime, wanted, EMPTY, clock=runtime.clock)
    copies = {(rows, cols): n for rows, cols, _, n, _ in runtime.built}
    assert copies[1024, 1024] * 1024 * 1024 >= 16 * 2**20
    assert copies[8192, 4096] == 1


def test_only_what_is_missing_is_measured() -> None:
    runtime = PricedRuntime(lawful)
    first = measure_costs(runtime, want(SQUARE), EMPTY, clock=runtime.clock)
    runtime.built.clear()
    again = measure_costs(runtime, want(SQUARE), first, clock=runtime.clock)
    assert (again, runtime.built) == (first, [])
    more = measure_costs(runtime, want(SQUARE, threads=2), first, clock=runtime.clock)
    assert len(more.rows) == 12
    assert {options.threads for *_, options in runtime.built} == {2}


def test_a_format_newer_than_the_table_is_timed_beside_the_others() -> None:
    """Alone it would be timed in another mood of the machine, and its price would hold that."""
    uneven = Format(4, 32, levels="nl")
    mood = [1.0]

    def price(*product: Any) -> float:
        return mood[0] * lawful(*product)

    runtime = PricedRuntime(price)
    old = measure_costs(runtime, want(SQUARE), EMPTY, clock=runtime.clock)
    runtime.built.clear()
    mood[0] = 3.0  # slower by now
    new = measure_costs(runtime, want(SQUARE, formats=[uneven]), old, clock=runtime.clock)
    assert {fmt for _, _, fmt, *_ in runtime.built} == {BF16, INT8, INT4, uneven}
    for found in new.rows:
        assert found.cpu_s == pytest.approx(3.0 * lawful(64, 64, found.format, found.tokens))


def test_shapes_that_lack_nothing_keep_their_times() -> None:
    runtime = PricedRuntime(lawful)
    old = measure_costs(runtime, want(SQUARE), EMPTY, clock=runtime.clock)
    runtime.built.clear()
    measure_costs(runtime, want(SQUARE, WIDE), old, clock=runtime.clock)
    assert {(rows, cols) for rows, cols, *_ in runtime.built} == {(WIDE.rows, WIDE.cols)}


def test_tables_whose_newest_format_was_timed_alone_are_not_believed(tmp_path: Path) -> None:
    """Up to version 4 a format that came later was added to a table on its own."""
    path = tmp_path / "costs.json"
    save_table(path, EMPTY.with_rows([row(INT8, 1.0)]))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 4}))
    assert load_table(path, machine="here", runtime="priced 1.0") == EMPTY


def test_a_format_whose_groups_do_not_fit_is_left_out() -> None:
    runtime = PricedRuntime(lawful)
    table = measure_costs(runtime, want(WIDE), EMPTY, clock=runtime.clock)
    assert {found.format for found in table.rows} == {BF16, INT8}


def test_every_shape_is_told_when_it_is_done() -> None:
    runtime, told = PricedRuntime(lawful), list[tuple[int, int]]()
    measure_costs(
        runtime, want(SQUARE, WIDE), EMPTY, clock=runtime.clock,
        on_shape=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(1, 2), (2, 2)]


def test_a_product_measured_again_replaces_the_old_row() -> None:
    table = EMPTY.with_rows([row(INT8, 1.0), row(INT4, 2.0)]).with_rows([row(INT8, 3.0)])
    assert len(table.rows) == 2
    assert table.find(SQUARE, INT8, threads=1, tokens=1).cpu_s == 3.0
    with pytest.raises(KeyError, match="was not measured"):
        table.find(SQUARE, INT8, threads=2, tokens=1)
    assert not table.has(WIDE, INT8, threads=1, tokens=1)


def test_a_table_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    runtime = PricedRuntime(lawful)
    table = measure_costs(runtime, want(SQUARE, WIDE), EMPTY, clock=runtime.clock)
    path = tmp_path / "deep" / "costs.json"
    save_table(path, table)
    assert load_table(path, machine="here", runtime="priced 1.0") == table
    assert [file.name for file in path.parent.iterdir()] == ["costs.json"]


@pytest.mark.parametrize(("machine", "runtime"), [("there", "priced 1.0"), ("here", "priced 2.0")])
def test_a_table_of_another_machine_or_engine_is_not_believed(
    tmp_path: Path, machine: str, runtime: str
) -> None:
    path = tmp_path / "costs.json"
    save_table(path, EMPTY.with_rows([row(INT8, 1.0)]))
    assert load_table(path, machine=machine, runtime=runtime).rows == ()


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "7", '"rows"', "[]", "{}", '{"machine": "here", "rows": 3}', "\x00\xff"],
)
def test_a_damaged_file_is_an_empty_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text, encoding="latin-1")
    assert load_table(path, machine="here", runtime="priced 1.0") == EMPTY


def test_a_table_cut_short_or_of_an_older_procedure_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    save_table(path, EMPTY.with_rows([row(INT8, 1.0)]))
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert load_table(path, machine="here", runtime="priced 1.0") == EMPTY
    path.write_text(json.dumps(json.loads(whole) | {"version": 1}))
    assert load_table(path, machine="here", runtime="priced 1.0") == EMPTY


def test_a_cache_that_cannot_be_written_is_told_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="NEGAWATT_CACHE"):
        save_table(tmp_path / "file" / "costs.json", EMPTY)


def test_every_machine_and_engine_has_a_place_of_its_own(tmp_path: Path) -> None:
    places = {
        kept_at(tmp_path, machine=machine, runtime=runtime, what=what)
        for machine in ("a", "b")
        for runtime in ("x 1", "x 2")
        for what in ("costs", "calibrations")
    }
    assert len(places) == 8


def test_a_dearer_format_that_stores_no_finer_is_dropped() -> None:
    five = Format(5)
    wanted = Wanted((SQUARE,), (INT8, INT4, five), 1, tokens=(1,))
    table = EMPTY.with_rows([row(INT8, 2.0), row(INT4, 1.0), row(five, 3.0)])
    assert undominated(table, wanted) == (INT8, INT4)


def test_a_format_that_wins_anywhere_stays() -> None:
    coarse = Format(4, 0)
    wanted = Wanted((SQUARE, WIDE), (INT8, coarse), 1, tokens=(1,))
    rows = [
        row(INT8, 1.0), row(coarse, 2.0), row(INT8, 3.0, shape=WIDE), row(coarse, 2.0, shape=WIDE),
    ]  # fmt: skip
    assert undominated(EMPTY.with_rows(rows), wanted) == (INT8, coarse)


def test_a_format_that_does_not_fit_everywhere_beats_nothing() -> None:
    grouped, rows_only = Format(8, 64), Format(8, 0)
    wanted = Wanted((SQUARE, WIDE), (grouped, rows_only), 1, tokens=(1,))
    table = EMPTY.with_rows(
        [row(grouped, 1.0), row(rows_only, 2.0), row(rows_only, 2.0, shape=WIDE)]
    )
    assert undominated(table, wanted) == (grouped, rows_only)


def test_costs_within_the_margin_count_as_equal() -> None:
    finer, coarser = Format(8), Format(4)
    wanted = Wanted((SQUARE,), (finer, coarser), 1, tokens=(1,))
    table = EMPTY.with_rows([row(finer, 1.01), row(coarser, 1.0)])
    assert undominated(table, wanted) == (finer,)
    assert undominated(table, wanted, margin=0.0) == (finer, coarser)


def test_zero_points_are_never_given_up_for_bits() -> None:
    wanted = Wanted((SQUARE,), (INT8, INT4), 1, tokens=(1,))
    table = EMPTY.with_rows([row(INT8, 1.0), row(INT4, 2.0)])
    assert undominated(table, wanted) == (INT8, INT4)


def test_uneven_levels_are_finer_and_coarser_than_even_ones_as_wide() -> None:
    """Around zero they lie closer together, at the ends further apart; one more bit is finer."""
    uneven, four, five = Format(4, levels="nl"), Format(4), Format(5)
    for cheap, dear in ((uneven, four), (four, uneven)):
        wanted = Wanted((SQUARE,), (cheap, dear), 1, tokens=(1,))
        table = EMPTY.with_rows([row(cheap, 1.0), row(dear, 2.0)])
        assert undominated(table, wanted) == (cheap, dear)
    wanted = Wanted((SQUARE,), (five, uneven), 1, tokens=(1,))
    assert undominated(EMPTY.with_rows([row(five, 1.0), row(uneven, 2.0)]), wanted) == (five,)
