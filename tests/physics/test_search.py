"""The search keeps its budget, uses it, and finds better plans than chance does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_decoder import VOCABULARY, layers_of, random_decoder, rounded_bank

from negawatt.compress.gates import GatedModel
from negawatt.compress.search import Choice, EnergyGradientSearch, Problem, budgets
from negawatt.compress.sensitivity import Sensitivity, measure_sensitivity
from negawatt.core.errors import BudgetUnreachable
from negawatt.core.records import Format
from negawatt.energy.units import units
from negawatt.models.load import load_reference, load_tokenizer
from negawatt.models.source import prepare

Windows = npt.NDArray[np.int64]

FORMATS = (Format(8), Format(4, 32), Format(3, 32))
JOULES = {Format(8): 1.0, Format(4, 32): 0.6, Format(3, 32): 0.45}  # a weight, in some unit
NO_TEXT = np.zeros((4, 1), np.int64)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@st.composite
def problems(draw: st.DrawFn, *, independent: bool = False) -> Problem:
    """Up to 7 layers with up to 3 formats; wider ones cost more and hurt less."""
    random = np.random.default_rng(draw(st.integers(0, 2**20)))
    options, energy, harm = [], [], []
    for i in range(draw(st.integers(1, 7))):
        size, weight = random.uniform(1, 5), random.exponential()
        for k, fmt in enumerate(FORMATS[: draw(st.integers(1, 3))]):
            options.append((f"layer{i}", fmt))
            energy.append(size * JOULES[fmt])
            harm.append(weight * 4.0**k)
    samples = 4 * len(options)
    if independent:  # no choice aggravates another: the model is a plain sum
        directions = np.linalg.qr(random.normal(size=(samples, len(options))))[0]
        scores = directions * np.sqrt(samples * np.array(harm))
    else:
        shared = random.normal(size=(samples, 3)) @ random.normal(size=(3, len(options)))
        scores = (shared + random.normal(size=shared.shape)) * np.sqrt(harm)
    return Problem(Sensitivity(tuple(options), scores * 1e-2), np.array(energy) * 1e-3)


def spent(problem: Problem, choice: Choice) -> float:
    return sum(
        joules
        for (name, fmt), joules in zip(problem.sensitivity.options, problem.energy, strict=True)
        if choice.plan[name] == fmt
    )


def quadratic(problem: Problem) -> EnergyGradientSearch:
    return EnergyGradientSearch(problem, None, NO_TEXT, seed=0)


@given(problems(), st.floats(0, 1))
def test_a_plan_has_one_offered_format_per_layer_and_keeps_its_budget(
    problem: Problem, share: float
) -> None:
    (budget,) = budgets(problem, [share])
    choice = quadratic(problem).run(budget, steps=5)
    assert set(choice.plan) == {name for name, _ in problem.sensitivity.options}
    assert set(choice.plan.items()) <= set(problem.sensitivity.options)
    assert choice.energy == pytest.approx(spent(problem, choice), rel=1e-9)
    assert choice.energy <= budget * (1 + 1e-6)
    assert choice.multiplier >= 0.0


@settings(max_examples=40)
@given(problems(independent=True))
def test_more_energy_never_hurts_more(problem: Problem) -> None:
    search = quadratic(problem)
    found = [search.run(budget, steps=0).kl for budget in budgets(problem, SHARES)]
    assert all(b <= a * (1 + 1e-4) + 1e-12 for a, b in itertools.pairwise(found))


@settings(max_examples=50)
@given(problems(), st.floats(0, 1))
def test_what_choices_do_to_each_other_never_makes_the_plan_worse(
    problem: Problem, share: float
) -> None:
    (budget,) = budgets(problem, [share])
    search = quadratic(problem)
    alone = search._choose(problem.sensitivity.alone, budget, 0.0)
    assert search.run(budget, steps=0).kl <= alone.kl * (1 + 1e-9)


def test_plans_are_near_the_best_of_all() -> None:
    ratios = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        options = tuple((f"layer{i}", fmt) for i in range(6) for fmt in FORMATS)
        harm = np.outer(random.exponential(size=6), [1.0, 4.0, 16.0]).ravel()
        shared = random.normal(size=(64, 4)) @ random.normal(size=(4, 18)) / 2
        scores = (0.5 * shared + random.normal(size=(64, 18))) * np.sqrt(harm)
        energy = np.outer(random.uniform(1, 5, 6), [JOULES[fmt] for fmt in FORMATS]).ravel()
        problem = Problem(Sensitivity(options, scores), energy)
        search = quadratic(problem)
        (budget,) = budgets(problem, [random.uniform(0.2, 0.8)])
        joules = dict(zip(options, energy, strict=True))
        best = min(
            search.expected_kl(dict(plan))
            for plan in itertools.product(*(options[g] for g in problem.groups))
            if sum(joules[option] for option in plan) <= budget * (1 + 1e-9)
        )
        ratios.append(search.run(budget, steps=0).kl / best)
    assert min(ratios) >= 1 - 1e-9
    assert float(np.median(ratios)) < 1.05
    assert max(ratios) < 1.5


@settings(max_examples=40)
@given(problems(), st.floats(0, 1))
def test_the_same_question_has_the_same_answer(problem: Problem, share: float) -> None:
    (budget,) = budgets(problem, [share])
    one, two = (quadratic(problem).run(budget, steps=0) for _ in range(2))
    assert (one.plan, one.prices, one.multiplier) == (two.plan, two.prices, two.multiplier)


@given(problems(), st.floats(0.01, 0.98))
def test_less_than_the_cheapest_plan_is_refused(problem: Problem, share: float) -> None:
    low, _ = problem.bounds()
    with pytest.raises(BudgetUnreachable):
        quadratic(problem).run(share * low, steps=0)


@given(problems())
def test_all_the_energy_buys_the_widest_formats_when_nothing_interacts(problem: Problem) -> None:
    _, high = problem.bounds()
    diagonal = np.sqrt(np.diag(problem.sensitivity.fisher))
    size = len(diagonal)
    apart = Sensitivity(problem.sensitivity.options, np.diag(diagonal) * np.sqrt(size))
    plan = quadratic(Problem(apart, problem.energy)).run(high, steps=0).plan
    least = {
        problem.sensitivity.options[g.start + int(np.argmin(diagonal[g]))] for g in problem.groups
    }
    assert set(plan.items()) == least


@given(problems(), st.floats(0, 1), st.floats(0, 1))
def test_another_budget_at_known_prices_keeps_it_too(
    problem: Problem, first: float, second: float
) -> None:
    search = quadratic(problem)
    one, two = budgets(problem, [first, second])
    choice = search.assign_at(search.run(one, steps=0), two)
    assert choice.energy <= two * (1 + 1e-6)
    assert choice.budget == two


def test_budgets_lie_between_the_cheapest_and_the_dearest_plan() -> None:
    options = (("a", FORMATS[0]), ("a", FORMATS[1]), ("b", FORMATS[0]))
    problem = Problem(Sensitivity(options, np.eye(3)), np.array([3.0, 1.0, 2.0]))
    assert problem.bounds() == (3.0, 5.0)
    assert budgets(problem, [0.0, 0.5, 1.0]) == [3.0, 4.0, 5.0]
    assert problem.groups == [slice(0, 2), slice(2, 3)]


# ------------------------------------------------------------- through real weights


def gated_search(
    model: torch.nn.Module, layers: tuple[object, ...], windows: Windows, folder: Path, seed: int
) -> EnergyGradientSearch:
    parts = units(layers)  # type: ignore[arg-type]
    bank = rounded_bank(model, layers, FORMATS, folder)  # type: ignore[arg-type]
    gated = GatedModel(model, parts, FORMATS, bank)
    sensitivity = measure_sensitivity(gated, windows[: len(windows) // 2], seed=seed)
    weights = {unit.name: sum(layer.weights for layer in unit.layers) for unit in parts}
    energy = np.array([weights[name] * JOULES[fmt] for name, fmt in sensitivity.options]) * 1e-6
    return EnergyGradientSearch(Problem(sensitivity, energy), gated, windows, seed=seed)


def test_what_text_repeats_is_believed_and_its_scatter_is_not() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = np.random.default_rng(0).normal(size=(64, 3)) * [1.0, 0.1, 0.0]
    options = tuple((name, FORMATS[0]) for name in "abc")
    search = quadratic(Problem(Sensitivity(options, scores), np.ones(3)))
    size = torch.tensor([1.0, 0.1, 0.0])
    scatter = size * torch.randn(200, 16, 3, generator=draw, dtype=torch.float64)
    found = [search._trusted(rows) for rows in scatter]
    plain = [rows.mean(0) for rows in scatter]
    assert torch.stack(found).square().mean() < 0.3 * torch.stack(plain).square().mean()
    signal = size * torch.tensor([2.0, -2.0, 0.0])
    for rows in scatter[:20]:
        torch.testing.assert_close(
            search._trusted(rows + signal), signal.double(), rtol=0.5, atol=0
        )
    assert not search._trusted(signal[None].double()).any()  # one text has no scatter to judge by


@pytest.fixture(scope="module")
def random_search(tmp_path_factory: pytest.TempPathFactory) -> EnergyGradientSearch:
    model = random_decoder()
    windows = np.random.default_rng(1).integers(0, VOCABULARY, (16, 32))
    return gated_search(model, layers_of(model), windows, tmp_path_factory.mktemp("bank"), 0)


def test_gradient_steps_keep_the_budget_and_the_seed_decides(
    random_search: EnergyGradientSearch,
) -> None:
    (budget,) = budgets(random_search.problem, [0.4])
    steps: list[int] = []
    found = []
    for _ in range(2):
        random_search.reseed(7)
        found.append(random_search.run(budget, steps=3, on_step=steps.append))
    assert found[0].plan == found[1].plan
    assert found[0].prices == found[1].prices
    assert found[0].energy <= budget * (1 + 1e-6)
    assert steps == [1, 2, 3, 1, 2, 3]


def test_the_plan_after_the_steps_is_no_worse_than_before_them(
    random_search: EnergyGradientSearch,
) -> None:
    windows = random_search._windows[-4:]  # kept from the steps, used to judge
    for budget in budgets(random_search.problem, [0.2, 0.5]):
        before = random_search.run(budget, steps=0)
        random_search.reseed(0)
        after = random_search.run(budget, steps=3)
        assert random_search.true_kl(after.plan, windows) <= random_search.true_kl(
            before.plan, windows
        ) * (1 + 1e-6)


def test_true_kl_is_that_of_whole_logits(random_search: EnergyGradientSearch) -> None:
    plan = {name: FORMATS[1] for name, _ in random_search.problem.sensitivity.options}
    windows = random_search._windows[:5]
    gated = random_search._model()
    row = random_search._one_hot(plan).float()
    with torch.no_grad():
        logits = []
        for gates in (None, row.expand(len(windows), -1)):
            gated.set_gates(gates)
            hidden = gated.hidden(torch.from_numpy(windows))
            logits.append(gated.logits(hidden).double().log_softmax(-1))
    gated.set_gates(None)
    base, other = logits
    wanted = float((base.exp() * (base - other)).sum() / windows.size)
    assert random_search.true_kl(plan, windows) == pytest.approx(wanted, rel=1e-4)


def random_plans(problem: Problem, budget: float, count: int, seed: int) -> list[dict[str, Format]]:
    """Plans that chance makes, as near below the budget as chance gets: within 2 %."""
    random = np.random.default_rng(seed)
    options, found = problem.sensitivity.options, []
    while len(found) < count:
        bias = random.dirichlet(np.ones(len(FORMATS)))
        picked = []
        for group in problem.groups:
            odds = bias[: group.stop - group.start]
            picked.append(group.start + int(random.choice(len(odds), p=odds / odds.sum())))
        if 0.98 * budget <= problem.energy[picked].sum() <= budget:
            found.append(dict(options[i] for i in picked))
    return found


def test_found_plans_hurt_a_real_model_less_than_any_chance_found_at_the_same_energy(
    shared: Path, tmp_path: Path
) -> None:
    source = prepare(str(shared / "models" / "stories260K"), tmp_path / "work")
    text = (shared / "data" / "text" / "tinystories-sample" / "train.txt").read_text("utf-8")
    tokens = load_tokenizer(source.folder)(text[:30_000], verbose=False)["input_ids"]
    windows = np.asarray(tokens[: len(tokens) // 64 * 64], np.int64).reshape(-1, 64)
    search = gated_search(
        load_reference(source.folder, torch.float32), source.layers, windows[:48], tmp_path, 0
    )
    unseen = windows[48:80]

    # Over 8 seeds and 4,096 tokens the found plan had at most 0.94, 0.78 and 0.82 times the KL
    # of the best of the nine at these budgets, and the forecast was 0.77 to 1.18 times the truth.
    for budget in budgets(search.problem, [0.25, 0.4, 0.6]):
        found = search.run(budget, steps=4)
        chance = [
            search.true_kl(plan, unseen) for plan in random_plans(search.problem, budget, 9, 1)
        ]
        true = search.true_kl(found.plan, unseen)
        assert found.energy <= budget * (1 + 1e-6)
        assert true < min(chance)
        assert true < 0.6 * float(np.median(chance))
        assert 0.6 * true < found.kl < 1.3 * true
