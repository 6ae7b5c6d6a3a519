"""`negawatt backtest`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import negawatt
from negawatt.cli.backtest import command
from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.decisions.backtests import Awhile, Backtest, Limits, Nightly


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two zones over forty days, in half-hours from New Year 2020 on."""
    file = tmp_path_factory.mktemp("grid") / "ci.csv"
    rng = np.random.default_rng(5)
    times = np.datetime64("2020-01-01T00:00:00") + 30 * np.arange(48 * 40).astype("m8[m]")
    day = 250 + 80 * np.cos(np.arange(len(times)) / 48 * 2 * np.pi)
    rows = ["time_utc,DE,SE"]
    for time, value in zip(times, day + rng.normal(0, 20, len(times)), strict=True):
        rows.append(f"{time}Z,{value:.2f},{value / 10:.2f}")
    file.write_text("\n".join(rows))
    return file


def test_policies_stand_beside_run_now_and_the_oracles(world: Path) -> None:
    shown = run(f"{world}:DE", "--jobs", "every 4h", "--noise", "5%", "--seeds", "2").output
    lines = {line.split("  ")[0]: line for line in shown.splitlines()}
    for name in (
        "run now",
        "contiguous, persistence",
        "interruptible, mean28",
        "contiguous, noisy-oracle 5 %",
        "threshold",
        "contiguous, oracle",
        "interruptible, oracle",
    ):
        assert lines[name].split()[-1] == "0", f"{name} misses deadlines"
    assert "What saved it" not in shown
    assert "average, accounting not stated, gCO2e/kWh" in shown


def test_one_object_reads_back_and_is_what_python_gets(world: Path) -> None:
    told = ("--jobs", "daily 09:00", "--policy", "contiguous", "--forecast", "mean28")
    output = run(f"{world}:DE", *told, "--json").output
    found = decode(Backtest, json.loads(output))
    assert found == negawatt.backtest(
        f"{world}:DE", jobs="daily 09:00", policies=["contiguous"], forecasts=["mean28"]
    )
    assert [one.policy for one in found.scores] == [
        "now", "contiguous, mean28", "contiguous, oracle", "interruptible, oracle",
    ]  # fmt: skip


def test_place_and_variant_are_told_apart(world: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    shown = run(
        f"{world}:DE", "--jobs", "every 6h", "--place", "SE", "--variant", "0.5",
        "--policy", "contiguous", "--forecast", "mean28", "--html", str(page),
    ).output  # fmt: skip
    assert "What saved it" in shown
    line = next(s for s in shown.split("What saved it")[1].splitlines() if "mean28" in s)
    *parts, whole = [float(cell) for cell in line.split()[-5:]]
    assert sum(parts) == pytest.approx(whole, abs=0.03)
    assert parts[2] > 40 > parts[1] > 0
    assert parts[3] > 10
    text = page.read_text(encoding="utf-8")
    assert "Policies tried in DE" in text
    for plot in ("saving", "parts", "days"):
        assert f'data-plot="{plot}"' in text


def test_a_signal_of_the_other_kind_chooses(world: Path, tmp_path: Path) -> None:
    marginal = tmp_path / "moer.csv"
    lines = world.read_text().splitlines()
    marginal.write_text(
        "\n".join(["time_utc,moer", *(line.rpartition(",")[0] for line in lines[1:])])
    )
    found = run(
        f"{world}:DE", "--by", str(marginal), "--policy", "contiguous", "--forecast", "perfect",
        "--jobs", "daily 06:00",
    ).output  # fmt: skip
    assert "slots were chosen by marginal" in found
    assert "the two are never added" in " ".join(found.split())


@pytest.mark.parametrize(
    ("study", "kind"),
    [
        ("limits", Limits),
        ("lets-wait-awhile-nightly", Nightly),
    ],
)
def test_studies_are_done_on_any_signal(
    world: Path, tmp_path: Path, study: str, kind: type
) -> None:
    file = str(world) if study == "limits" else f"{world}:DE"
    if study == "limits":
        told = ("--study", study, "--duration", "2h", "--slack", "6h", "--forecast", "mean28")
        found = decode(kind, json.loads(run(file, *told, "--json").output))
        assert found.lowest == "SE"
        assert 0 < found.foreseen["mean28"].published < found.deferral.published
        page = tmp_path / "limits.html"
        assert "to SE, always" in run(file, *told, "--html", str(page)).output
        assert 'data-plot="study"' in page.read_text(encoding="utf-8")
        with pytest.raises(UsageError, match="choose among DE, SE"):
            run(file, *told, "--zones", "GB")
        return
    with pytest.raises(UsageError, match="cover slots"):  # forty days are no year of nights
        run(file, "--study", study)


def test_lets_wait_awhile_leaves_out_jobs_after_the_signal(world: Path) -> None:
    told = ("--study", "lets-wait-awhile", "--noise", "5%", "--seeds", "2", "--rule", "semi-weekly")
    found = decode(Awhile, json.loads(run(f"{world}:DE", *told, "--json").output))
    assert 0 < found.jobs < 3387
    assert [row.shape for row in found.rows] == ["contiguous", "interruptible"]
    assert "deadlines kept" in run(f"{world}:DE", *told).output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--policy", "magic"), "no policy 'magic'"),
        (("--forecast", "fortune"), "no forecast 'fortune'"),
        (("--forecast", "noisy-oracle"), "needs its noise"),
        (("--forecast", "recorded"), "--forecast-column"),
        (("--duration", "4"), "no length of time"),
        (("--slack", "soon"), "no length of time"),
        (("--duration", "99d"), "no job to try"),
        (("--noise", "much"), "no share"),
        (("--place", "nowhere"), "no zone 'nowhere'"),
        (("--from", "then"), "no moment"),
        (("--from", "2030-01-01"), "nothing from"),
        (("--variant", "0"), "not above 0"),
    ],
)
def test_what_cannot_be_asked_is_told_with_its_fix(
    world: Path, arguments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        run(f"{world}:DE", *arguments)
