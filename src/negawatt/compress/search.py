"""The energy gradient: gates move down `L = KL(base || gated) + λ · E(gates)`.

Three parts make the gradient of the loss in the gates:

- that of the KL to the base: what the Fisher information foresees, and what
  the true gradient of the *mixed* model on calibration text, through the
  quantised weights, was found to add, as far as that exceeds its own scatter;
- what rounding the gates to one choice per layer will add, which a mixture
  hides because errors of different candidates partly cancel. To second order
  that is the variance of a random choice, `½ Σ_l (Σ_k g_k F_kk - g_l F_ll g_l)`
  with F the Fisher information of the gates;
- λ times the exact gradient of the energy model.

λ follows the budget by dual ascent. At the end the same quantities, expanded
at the gates reached, become the price list of an exact knapsack.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from negawatt.compress.assign import assign, shadow_price
from negawatt.compress.interactions import shrunk_fisher
from negawatt.compress.problem import Choice, Problem, budgets
from negawatt.compress.sensitivity import backward_through, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.compress.gates import GatedModel
    from negawatt.core.records import Format

    Floats = NDArray[np.float64]

__all__ = ["Choice", "EnergyGradientSearch", "Problem", "budgets"]

_EXPANSIONS = 8  # of the second-order model around its own best plan, at most
_LEAN = 2.5  # logit of a preferred option: about 0.92 of the gate between two
_LEARNING_RATE = 0.15  # of Adam on the gate logits
_DUAL_RATE = 4.0  # how fast λ answers a relative overshoot of the budget
_JUDGED = 8  # windows on which the plans before and after the steps are compared


class EnergyGradientSearch:
    """Gradient descent on gates, then an exact assignment, for one budget after another.

    Args:
        problem: Options, sensitivities, energies.
        gated: The model to take true KL gradients on; None searches on the
            second-order model alone.
        windows: Calibration text for those gradients, int64 [windows, positions].
        seed: Of the order in which windows are drawn.
        batch: Windows per step.
    """

    def __init__(
        self,
        problem: Problem,
        gated: GatedModel | None,
        windows: NDArray[np.int64],
        *,
        seed: int,
        batch: int = 2,
    ) -> None:
        self.problem = problem
        self._gated = gated
        self._windows = windows
        self._batch = batch
        self._order = np.random.default_rng(seed)
        self._energy = torch.from_numpy(problem.energy)
        self._groups = problem.groups
        fisher = shrunk_fisher(problem.sensitivity.scores, self._groups)
        self._fisher = torch.from_numpy(fisher)  # [options, options]

    def run(
        self, budget: float, *, steps: int, on_step: Callable[[int], None] = lambda step: None
    ) -> Choice:
        """Search at one energy budget.

        The second-order model alone gives the start; gradient steps through
        the real model follow; of the plans before and after, the one with the
        smaller true KL on fresh calibration text is returned.

        Args:
            budget: Of the gated layers together. [J/token]
            steps: Gradient steps through the real model.
            on_step: Told the number of each finished step.

        Raises:
            BudgetUnreachable: no plan is that cheap.
        """
        start = self._second_order(budget)
        if self._gated is None or steps == 0:
            return start
        logits = self._logits_near(start.plan).requires_grad_()
        multiplier = start.multiplier
        optimiser = torch.optim.Adam([logits], lr=_LEARNING_RATE)
        surprises: list[Tensor] = []
        for step in range(steps):
            gates = self._softmax(logits)
            foreseen = self._model_slope(gates.detach())
            surprises.append(self._true_slopes(gates.detach()) - foreseen)
            slope = foreseen + self._trusted(torch.cat(surprises))
            loss = gates @ (slope + multiplier * self._energy) + self._rounding(gates)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            overshoot = float(self._energy @ gates.detach()) / budget - 1
            multiplier *= float(np.exp(_DUAL_RATE * overshoot))
            on_step(step + 1)
        gates = self._softmax(logits.detach())
        slope = self._model_slope(gates) + self._trusted(torch.cat(surprises))
        end = self._choose(self._prices(gates, slope), budget, multiplier)
        return self._better(start, end)

    def reseed(self, seed: int) -> None:
        """Start the draw of windows anew, so that a resumed job draws what it would have drawn."""
        self._order = np.random.default_rng(seed)

    def assign_at(self, choice: Choice, budget: float) -> Choice:
        """Another budget with the prices of an earlier choice; no gradient step."""
        return self._choose(np.array(choice.prices), budget, choice.multiplier)

    def expected_kl(self, plan: Mapping[str, Format]) -> float:
        """KL of a plan by the second-order model, interactions as far as believed. [nat/token]"""
        gates = self._one_hot(plan)
        return float(0.5 * gates @ self._fisher @ gates)

    def _softmax(self, logits: Tensor) -> Tensor:
        return torch.cat([logits[group].softmax(0) for group in self._groups])

    def _rounding(self, gates: Tensor) -> Tensor:
        """Expected KL that one random choice per layer adds to the mixture. [nat/token]"""
        within = torch.zeros((), dtype=torch.float64)
        for group in self._groups:
            within = within + gates[group] @ self._fisher[group, group] @ gates[group]
        return 0.5 * (gates @ self._fisher.diagonal() - within)

    def _model_slope(self, gates: Tensor) -> Tensor:
        """Gradient of ½ gᵀFg, [options]."""
        return self._fisher @ gates

    def _trusted(self, surprises: Tensor) -> Tensor:
        """The mean of what the model did not foresee, as far as it exceeds its own scatter.

        Args:
            surprises: True minus foreseen slope on each text, [texts, options].
        """
        mean, size = surprises.mean(0), self._fisher.diagonal()
        weight = torch.where(size > 0, 1 / size, 0.0)  # so that small and large options count alike
        power = float(weight @ mean.square())
        if len(surprises) == 1 or power == 0.0:
            return torch.zeros_like(mean)
        noise = float(weight @ surprises.var(0)) / len(surprises)
        return mean * max(0.0, 1.0 - noise / power)

    def _second_order(self, budget: float) -> Choice:
        """Minimise the quadratic model by repeated expansion and exact assignment."""
        best = self._choose(self.problem.sensitivity.alone, budget, 0.0)
        for _ in range(_EXPANSIONS):
            gates = self._one_hot(best.plan)
            trial = self._choose(self._prices(gates, self._model_slope(gates)), budget, 0.0)
            if trial.kl >= best.kl * (1 - 1e-9):
                break
            best = trial
        multiplier = shadow_price(np.array(best.prices), self.problem.energy, self._groups, budget)
        return replace(best, multiplier=multiplier)

    def _one_hot(self, plan: Mapping[str, Format]) -> Tensor:
        options = self.problem.sensitivity.options
        chosen = [float(plan[name] == fmt) for name, fmt in options]
        return torch.tensor(chosen, dtype=torch.float64)

    def _logits_near(self, plan: Mapping[str, Format]) -> Tensor:
        """Gate logits that lean towards a plan but leave every option alive."""
        return self._one_hot(plan) * _LEAN

    def _better(self, start: Choice, end: Choice) -> Choice:
        """The plan with the smaller true KL on windows neither was made on."""
        if start.plan == end.plan:
            return end
        # The last quarter of the text is kept from the gradient steps.
        tokens = self._windows[-(len(self._windows) // 4) :][:_JUDGED]
        before, after = self._true_kls([start.plan, end.plan], tokens)
        return start if before <= after else end

    def true_kl(self, plan: Mapping[str, Format], windows: NDArray[np.int64]) -> float:
        """KL(base || plan) through the real weights, mean over `windows`. [nat/token]"""
        return self._true_kls([plan], windows)[0]

    def _true_kls(
        self, plans: Sequence[Mapping[str, Format]], windows: NDArray[np.int64]
    ) -> list[float]:
        """The same for several plans; what the base says of the text is worked out once."""
        gated = self._model()
        gates = [self._one_hot(plan).float()[None] for plan in plans]
        totals = [0.0] * len(plans)
        with torch.no_grad():
            for start in range(0, len(windows), self._batch):
                tokens = torch.from_numpy(windows[start : start + self._batch])
                gated.set_gates(None)
                teacher = _Teacher(gated, gated.hidden(tokens))
                for number, one in enumerate(gates):
                    teacher.student_gates = one.expand(len(tokens), -1)
                    gated.set_gates(teacher.student_gates)
                    hidden = gated.hidden(tokens)
                    for at in slices(tokens):
                        totals[number] += float(teacher(gated.logits(hidden[:, at]), at))
        gated.set_gates(None)
        return [total / windows.size for total in totals]

    def _model(self) -> GatedModel:
        if self._gated is None:
            raise RuntimeError("no model was given to take gradients on")
        return self._gated

    def _true_slopes(self, gates: Tensor) -> Tensor:
        """Gradient of KL(base || mixture) on each text of a batch, [batch, options]. [nat/token]"""
        gated = self._model()
        fit = len(self._windows) - len(self._windows) // 4  # the rest judges, see `_better`
        picked = self._order.permutation(fit)[: self._batch]
        tokens = torch.from_numpy(self._windows[picked])
        gated.set_gates(None)
        with torch.no_grad():
            base = gated.hidden(tokens)
        teacher = _Teacher(gated, base)
        leaf = gates.float().expand(len(tokens), -1).clone().requires_grad_()
        teacher.student_gates = leaf
        backward_through(gated, tokens, teacher, leaf)
        gated.set_gates(None)
        if leaf.grad is None:
            raise RuntimeError("no gate took part in the forward pass")
        return leaf.grad.double() / tokens.shape[1]

    def _prices(self, gates: Tensor, slope: Tensor) -> Floats:
        """Expected KL of moving each layer to each option, others staying. [nat/token]"""
        prices = torch.empty_like(gates)
        for group in self._groups:
            within = self._fisher[group, group]
            here = within @ gates[group]
            moved = within.diagonal() - 2 * here + gates[group] @ here
            first = slope[group] - slope[group] @ gates[group]
            prices[group] = first + 0.5 * moved
        return prices.numpy()

    def _choose(self, prices: Floats, budget: float, multiplier: float) -> Choice:
        picked = assign(prices, self.problem.energy, self._groups, budget, self.problem.room)
        options = self.problem.sensitivity.options
        plan = {options[i][0]: options[i][1] for i in picked}
        return Choice(
            plan=plan,
            budget=budget,
            energy=float(self.problem.energy[picked].sum()),
            kl=self.expected_kl(plan),
            multiplier=multiplier,
            prices=tuple(prices.tolist()),
        )


class _Teacher:
    """KL(base || gated) on slices of logits; the base's logits are made per slice."""

    def __init__(self, gated: GatedModel, base_hidden: Tensor) -> None:
        self._gated, self._hidden = gated, base_hidden
        self.student_gates: Tensor | None = None

    def __call__(self, logits: Tensor, at: slice) -> Tensor:
        self._gated.set_gates(None)
        with torch.no_grad():
            target = self._gated.logits(self._hidden[:, at]).log_softmax(-1)
        self._gated.set_gates(self.student_gates)
        return torch.nn.functional.kl_div(
            logits.log_softmax(-1), target, reduction="sum", log_target=True
        )
