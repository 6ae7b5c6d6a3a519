"""The pure parts of the bench that sets compressed models side by side."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).resolve().parents[3] / "bench" / "compress"
# in the order in which they name each other
NAMES = ("install", "rivals", "verdict", "show", "quiet", "draw", "tasks", "held", "cost")


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, Any]]:
    """The modules of the bench, imported from their files as the bench imports them."""
    yield {name: _loaded(name) for name in NAMES}
    for name in NAMES:
        del sys.modules[name]


def _estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value}


def _row(
    who: str, name: str, kl: float, loss: float, cpu: float, megabytes: float
) -> dict[str, Any]:
    return {
        "who": who,
        "name": name,
        "bytes": int(megabytes * 1e6),
        "spent": {"cpu_seconds": 100.0},
        "told": {},
        "quality": {"kl": _estimate(kl), "loss": _estimate(loss), "top1": _estimate(0.9)},
        "cpu": {
            "workload": _estimate(cpu),
            "read": _estimate(cpu),
            "write": _estimate(cpu),
            "passes": [cpu, cpu],
            "others_busy": [0.0, 0.5],
            "yardstick_s_per_token": 0.01,
        },
    }


ROWS = [
    _row("llama.cpp", "Q8_0", 0.005, 0.001, 1.0, 143),
    _row("llama.cpp", "Q4_K_M", 0.05, 0.03, 0.95, 104),
    _row("NNCF", "4 bit", 0.2, 0.1, 0.7, 90),
    _row("negawatt", "16 bit", 0.0, 0.0, 1.8, 270),
    _row("negawatt", "searched 1", 0.004, 0.001, 0.99, 144),
    _row("negawatt", "searched 2", 0.04, 0.03, 0.8, 108),
    _row("negawatt", "searched 3", 0.1, 0.08, 0.6, 95),
    _row("ablation", "random", 0.0001, 0.0, 0.1, 10),
]


# --------------------------------------------------------------------- verdict


def test_a_front_is_met_where_no_peer_is_cheaper_at_the_same_harm(bench: dict[str, Any]) -> None:
    found = bench["verdict"].judged(ROWS, 134_500_000, {})["front, kl against cpu"]
    assert found["met"]
    assert [one["ours"] for one in found["points"]] == ["searched 1", "searched 2", "searched 3"]
    assert found["worst_ratio"] == pytest.approx(0.99)


def test_a_front_is_missed_by_the_worst_ratio_and_names_who_lies_below(
    bench: dict[str, Any],
) -> None:
    found = bench["verdict"].judged(ROWS, 134_500_000, {})["front, kl against size"]
    assert not found["met"]
    assert found["above"] == ["llama.cpp Q8_0", "llama.cpp Q4_K_M", "NNCF 4 bit"]
    assert found["worst_ratio"] == pytest.approx(95 / 90)


def test_a_peer_with_less_harm_than_any_of_ours_is_unreached(bench: dict[str, Any]) -> None:
    rows = [*ROWS, _row("llama.cpp", "Q6_K", 0.001, 0.0, 2.0, 137)]
    found = bench["verdict"].judged(rows, 134_500_000, {})["front, kl against cpu"]
    assert not found["met"]
    assert found["worst_ratio"] is None
    assert found["above"] == ["llama.cpp Q6_K"]
    assert found["worst_reached"] == pytest.approx(0.99)


def test_peers_wider_than_the_range_are_no_part_of_the_front(bench: dict[str, Any]) -> None:
    rows = [*ROWS, _row("torchao", "16 bit", 0.0, -0.1, 1.8, 270)]
    assert bench["verdict"].judged(rows, 134_500_000, {})["front, kl against cpu"]["met"]


def test_decoding_is_compared_with_the_cheapest_peer_that_qualifies(bench: dict[str, Any]) -> None:
    found = bench["verdict"].judged(ROWS, 134_500_000, {})
    saved = found["15 % fewer decode joules at the same loss"]
    ratios = {one["loss"]: one["ratio"] for one in saved["levels"]}
    assert ratios[0.01] == pytest.approx(0.99)
    assert ratios[0.05] == pytest.approx(0.8 / 0.95)
    assert ratios[0.1] == pytest.approx(0.6 / 0.7)
    assert not saved["met"]
    assert saved["met_at"] == [0.05]


def test_bars_about_single_types_say_who_and_by_how_much(bench: dict[str, Any]) -> None:
    found = bench["verdict"].judged(ROWS, 134_500_000, {})
    beside = found["KL below Q4_K_M at no more energy"]
    assert (beside["met"], beside["ours"]) == (True, "searched 2")
    assert beside["ratio"] == pytest.approx(0.8)
    energy = found["energy below Q8_0 within 1 % of perplexity"]
    assert (energy["met"], energy["ours"]) == (True, "searched 1")


def test_a_bar_without_its_rows_is_not_judged(bench: dict[str, Any]) -> None:
    ours = [row for row in ROWS if row["who"] == "negawatt"]
    found = bench["verdict"].judged(ours, 134_500_000, {})
    assert found["KL below Q4_K_M at no more energy"]["met"] is None
    assert found["front, kl against cpu"]["met"] is None
    assert found["15 % fewer decode joules at the same loss"]["met"] is None
    assert all(bench["show"].sentence(bar, one) for bar, one in found.items())
    assert found["rounding alone within 2 % of the best peer"]["met"] is None


@pytest.mark.parametrize(("loss", "met"), [(0.05, True), (0.08, True), (0.2, False)])
def test_rounding_alone_may_be_two_percent_worse_in_perplexity(
    bench: dict[str, Any], loss: float, met: bool
) -> None:
    rows = {
        "gptq": {"loss": [loss, 0, 0], "cpu_seconds": 100.0},
        "llmcompressor_gptq": {"loss": [0.07, 0, 0], "cpu_seconds": 200.0},
    }
    found = bench["verdict"].rounding_alone(rows)
    assert found["met"] is met
    assert found["cpu_seconds_ratio"] == 0.5


def test_nothing_saved_is_never_paid_back(bench: dict[str, Any]) -> None:
    assert bench["verdict"].payback(100.0, 1.0, 1.0, 0.01) is None
    assert bench["verdict"].payback(100.0, 0.9, 1.0, 0.01) == pytest.approx(100_000)


points = st.lists(
    st.tuples(st.floats(0.001, 1.0), st.floats(0.1, 2.0)), min_size=1, max_size=8, unique=True
)


@given(ours=points, theirs=points)
def test_more_points_of_ours_never_raise_a_ratio(
    bench: dict[str, Any],
    ours: Sequence[tuple[float, float]],
    theirs: Sequence[tuple[float, float]],
) -> None:
    verdict = bench["verdict"]

    def made(who: str, pairs: Sequence[tuple[float, float]]) -> list[Any]:
        return [
            verdict.Point(who, str(i), kl, kl, cpu, cpu, 1) for i, (kl, cpu) in enumerate(pairs)
        ]

    peers, own = made("peer", theirs), made("negawatt", ours)
    for peer in peers:
        fewer, more = (verdict.beside(peer, some, "kl", "cpu") for some in (own[:1], own))
        assert fewer is None or (more is not None and more[0] <= fewer[0])


def test_every_bar_is_told_in_a_sentence(bench: dict[str, Any]) -> None:
    alone = {
        "gptq": {"loss": [0.05, 0, 0], "cpu_seconds": 100.0},
        "autoround": {"loss": [0.07, 0, 0], "cpu_seconds": 200.0},
    }
    for given_rows in (alone, {}):
        for bar, found in bench["verdict"].judged(ROWS, 134_500_000, given_rows).items():
            said = bench["show"].sentence(bar, found)
            assert bar in said
            assert said.split()[0] in {"met", "MISSED", "not"}


def test_the_table_marks_rows_that_others_disturbed(bench: dict[str, Any]) -> None:
    lines = bench["show"].table(ROWS).splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert all("*" in line for line in lines[1:])
    assert "*" not in lines[0]


# ----------------------------------------------------------------------- tasks


class _Likes:
    """A session that gives one token all the weight that matters."""

    def __init__(self, token: int, vocabulary: int = 8) -> None:
        self.token, self.vocabulary = token, vocabulary

    def reset(self) -> None:
        pass

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        batch, new = np.shape(tokens)
        logits = np.zeros((batch, keep or new, self.vocabulary), np.float32)
        logits[..., self.token] = 5.0
        return logits


def test_the_likelier_text_is_chosen_by_the_tokens_that_count(bench: dict[str, Any]) -> None:
    tasks = bench["tasks"]
    first = tasks.Choice(((1, 2, 3), (1, 2, 4)), (1, 1), right=0)
    second = tasks.Choice(((1, 2, 3), (1, 2, 4)), (1, 1), right=1)
    assert tasks.outcomes(_Likes(3), tasks.Task("x", (first, second))) == [1, 0]


def test_the_log_likelihood_is_that_of_a_softmax(bench: dict[str, Any]) -> None:
    (found,) = bench["tasks"].log_likelihoods(_Likes(3), [([1, 3, 3], 2)])
    assert found == pytest.approx(2 * (5 - math.log(math.exp(5) + 7)))


class _Causal(_Likes):
    """A session whose answers hang on everything up to a token, and on nothing behind it."""

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        seen = np.cumsum(np.asarray(tokens), axis=1)[..., None]
        logits = np.cos(seen * np.arange(1, self.vocabulary + 1)).astype(np.float32)
        return logits[:, logits.shape[1] - (keep or logits.shape[1]) :]


@pytest.mark.parametrize("seed", range(5))
def test_texts_read_together_get_what_they_get_alone(bench: dict[str, Any], seed: int) -> None:
    draw, tasks, session = np.random.default_rng(seed), bench["tasks"], _Causal(0)
    texts = []
    for _ in range(2 * tasks.TOGETHER + 3):
        length = int(draw.integers(2, 12))
        texts.append((draw.integers(0, 8, length).tolist(), int(draw.integers(1, length))))
    together = tasks.log_likelihoods(session, texts)
    for (tokens, scored), found in zip(texts, together, strict=True):
        logits = session.forward(np.array([tokens[:-1]]))[0, -scored:]
        assert found == pytest.approx(tasks.log_likelihood(logits, tokens[-scored:]))


def test_a_tie_is_not_right(bench: dict[str, Any]) -> None:
    tasks = bench["tasks"]
    tied = tasks.Choice(((1, 2, 4), (1, 2, 5)), (1, 1), right=0)
    assert tasks.outcomes(_Likes(3), tasks.Task("x", (tied,))) == [0]


def test_pairing_sees_what_two_shares_would_hide(bench: dict[str, Any]) -> None:
    base = [1] * 60 + [0] * 40
    own = [1] * 58 + [0] * 42
    found = bench["tasks"].paired(own, base)
    assert found["accuracy"][0] == pytest.approx(0.58)
    mean, low, high = found["change"]
    assert mean == pytest.approx(-0.02)
    assert low < mean < high
    assert high - low < 0.06  # two shares of a hundred could not tell 0.2 from each other
    with pytest.raises(ValueError, match="no pairs"):
        bench["tasks"].paired([1, 0], [1, 0, 1])


def test_tasks_are_made_of_the_files_that_are_there(bench: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "blimp").mkdir()
    rows = [
        {"uid": "a", "pair": str(i), "good": "one two", "bad": "two one three"} for i in range(5)
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "blimp" / "blimp-67x100.jsonl").write_text(text, encoding="utf-8")

    def words(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}

    (task,) = bench["tasks"].tasks(tmp_path, words, None)
    assert task.name == "BLiMP"
    assert len(task.choices) == bench["tasks"].BLIMP_EACH
    assert task.choices[0].scored == (1, 2)  # nothing is said of a first token
    (opened,) = bench["tasks"].tasks(tmp_path, words, 7)
    assert opened.choices[0].texts[0] == (7, 3, 3)
    assert opened.choices[0].scored == (2, 3)


# ------------------------------------------------------------------------ held


@pytest.mark.parametrize("bits", [4, 8])
def test_values_on_a_grid_are_held_exactly(bench: dict[str, Any], bits: int) -> None:
    torch = pytest.importorskip("torch")
    from negawatt.compress.quantise import dequantise, round_to_nearest
    from negawatt.core.records import Format

    torch.manual_seed(0)
    fmt = Format(bits, 32)
    values = dequantise(round_to_nearest(torch.randn(16, 96), fmt))
    found, lost = bench["held"].codes_of(values, fmt)
    assert lost < 2e-4
    assert torch.allclose(dequantise(found), values, rtol=1e-3, atol=1e-6)


def test_codes_that_stop_short_of_the_extreme_are_found_too(bench: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from negawatt.core.records import Format

    codes = torch.tensor([[5.0, -3.0, 1.0, 0.0] * 8])
    _, lost = bench["held"].codes_of(0.37 * codes, Format(4, 32))
    assert lost < 1e-3


def test_values_with_a_zero_point_are_seen_not_to_fit(bench: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from negawatt.core.records import Format

    torch.manual_seed(0)
    codes = torch.randint(0, 16, (8, 64)).float()
    _, lost = bench["held"].codes_of(0.1 * (codes - 2.5), Format(4, 32))
    assert lost > bench["held"].ON_GRID


# ---------------------------------------------------------------- draw and quiet


@given(seed=st.integers(0, 50), share=st.floats(0.0, 1.0))
def test_a_drawn_plan_keeps_to_the_budget(bench: dict[str, Any], seed: int, share: float) -> None:
    cost = np.random.default_rng(seed).uniform(1, 2, 30)
    groups = [slice(i, i + 3) for i in range(0, 30, 3)]
    least = sum(float(cost[g].min()) for g in groups)
    most = sum(float(cost[g].max()) for g in groups)
    budget = least + share * (most - least) + 1e-9
    taken = bench["draw"].drawn(cost, groups, budget, seed)
    assert float(cost[taken].sum()) <= budget
    assert all(g.start <= i < g.stop for g, i in zip(groups, taken, strict=True))
    assert taken == bench["draw"].drawn(cost, groups, budget, seed)


def test_no_plan_is_drawn_below_the_least(bench: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="that cheap"):
        bench["draw"].drawn(np.array([2.0, 1.0]), [slice(0, 2)], 0.5, 0)


def test_the_gate_opens_when_it_is_quiet_and_gives_up_when_it_never_is(
    bench: dict[str, Any],
) -> None:
    seen = iter([0.9, 0.4, 0.02, 0.9])
    now = iter(range(100))
    assert bench["quiet"].wait(60, lambda: next(seen), lambda: float(next(now))) == 0.02
    assert bench["quiet"].wait(3, lambda: 0.7, lambda: float(next(now))) == 0.7


# ------------------------------------------------------------------------ cost


def _pass(read: float, write: float) -> dict[str, Any]:
    def half(share: float, base: float) -> dict[str, list[float]]:
        return {"own": [share * base] * 6, "rival": [base] * 6}

    told = {"others_busy": 0.01, "large_pages": 0.95}
    return {"read": half(read, 0.002), "write": half(write, 0.006), **told}


def test_the_request_weighs_both_phases_by_the_time_of_the_yardstick(bench: dict[str, Any]) -> None:
    from negawatt.core.records import Workload

    passes = [_pass(0.5, 0.9), _pass(0.5, 0.7)]
    found = bench["cost"].summary(passes, Workload(100, 100))
    assert found["read"]["value"] == pytest.approx(0.5)
    assert found["passes"] == pytest.approx([0.25 * 0.5 + 0.75 * 0.9, 0.25 * 0.5 + 0.75 * 0.7])
    assert min(found["passes"]) <= found["workload"]["value"] <= max(found["passes"])
    assert found["yardstick_s_per_token"] == pytest.approx(0.004)
    assert found["write"]["low"] < found["write"]["high"]


def test_a_pass_whose_copies_lie_in_pieces_is_tried_again(
    bench: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from negawatt.core.records import Workload

    shares = iter([0.3, 0.97, 0.0, 0.2, 0.4, 0.1])

    def run(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(stdout=json.dumps({"large_pages": next(shares)}) + "\n")

    monkeypatch.setattr(bench["cost"].subprocess, "run", run)
    asked = (tmp_path, tmp_path, Workload(1, 1), 9, ())
    assert bench["cost"].one_pass(*asked)["large_pages"] == 0.97
    assert bench["cost"].one_pass(*asked)["large_pages"] == 0.0  # a system that has none
    assert bench["cost"].one_pass(*asked)["large_pages"] == 0.4  # the best of three


# -------------------------------------------------------------- environments


def test_every_row_of_a_tool_has_its_script_and_its_environment(bench: dict[str, Any]) -> None:
    found = bench["rivals"].all_rivals()
    pins = bench["install"].read_pins()
    assert {one.environment for one in found} == set(pins)
    assert all((bench["rivals"].SCRIPTS / one.script).is_file() for one in found)
    assert len({one.slug for one in found}) == len(found)
    assert all("==" in pin for one in pins.values() for pin in (*one["first"], *one["then"]))


def test_an_environment_that_does_not_install_is_told_and_left_out(
    bench: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = bench["install"]
    monkeypatch.setattr(
        install.subprocess, "run", lambda command, check: Path(command[-1]).mkdir(parents=True)
    )
    wanted = {"good": {"then": ["a==1"]}, "bad": {"first": ["b==1"], "then": ["c==1"]}}
    asked: list[str] = []

    def pip(_: Path, requirements: Sequence[str]) -> str:
        asked.extend(requirements)
        return "no matching distribution" if "b==1" in requirements else ""

    failed = install.make_all(tmp_path, wanted, pip)
    assert failed == {"bad": "no matching distribution"}
    assert asked == ["a==1", "b==1"]
    assert not (tmp_path / "bad").exists()
    assert install.is_current(tmp_path, "good", wanted["good"])
    assert not install.is_current(tmp_path, "good", {"then": ["a==2"]})


def test_a_tool_that_fails_gives_a_reason_and_no_row(
    bench: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rivals = bench["rivals"]
    monkeypatch.setattr(rivals, "python_of", lambda *_: Path(sys.executable))
    monkeypatch.setattr(rivals, "SCRIPTS", tmp_path)
    (tmp_path / "bad.py").write_text("raise SystemExit('no such layer')", encoding="utf-8")
    (tmp_path / "good.py").write_text(
        "import json\nprint('noise')\n"
        "print(json.dumps({'seconds': 1, 'cpu_seconds': 2, 'peak_bytes': 3, 'plan': {'a': 'bf16'}}))",
        encoding="utf-8",
    )

    def ask(script: str) -> Any:
        rival = rivals.Rival("tool", "x", "none", script, ())
        return rivals.ask(rival, tmp_path, tmp_path / "c.npy", tmp_path, "key")

    assert ask("bad.py") == "it ended with status 1: no such layer"
    found = ask("good.py")
    assert found.plan == {"a": "bf16"}
    assert found.values is None
    (tmp_path / "good.py").write_text("raise SystemExit(1)", encoding="utf-8")
    assert ask("good.py") == found  # kept, and not asked again
