from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from calibration_rig import Hand, LawRig
from click.testing import CliRunner, Result

from negawatt import wiring
from negawatt.actions.calibrate.fitted import Calibration
from negawatt.cli import VERBS
from negawatt.cli.calibrate import command
from negawatt.core.codec import decode
from negawatt.core.errors import MeterUnavailable, RuntimeUnavailable, UsageError
from negawatt.energy.profiles import kept_profiles
from negawatt.meters import Instruments, Inventory
from negawatt.wiring import calibrate as wired


class Board:
    """A meter of one boundary; what it counts is not asked for."""

    def __init__(self, boundary: str) -> None:
        self.name, self.boundary = f"nvml:{boundary}", boundary

    def energy(self) -> Any:
        raise MeterUnavailable("not asked for", fix="")


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LawRig:
    """A CPU that keeps the law, on a clock of its own."""
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEGAWATT_LEDGER", str(tmp_path / "ledger.db"))
    hand = Hand()
    rig = LawRig(hand, device="cpu", accelerator=None, memory_bytes=8e9)
    monkeypatch.setattr(wired, "_rig", lambda device, settings, found: rig)
    monkeypatch.setattr("negawatt.meters.discover", lambda: Inventory(meters=()))
    monkeypatch.setattr(
        "negawatt.meters.Instruments",
        lambda meters: Instruments(clock=hand, children=lambda: 0.0, asleep=lambda: 0.0),
        raising=False,
    )
    monkeypatch.setattr("time.sleep", rig.rest)
    return rig


def called(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def test_its_help_begins_with_its_line_in_the_list() -> None:
    assert str(command.help).splitlines()[0] == VERBS["calibrate"]


def test_people_get_constants_windows_errors_and_where_it_is_kept(sample: LawRig) -> None:
    shown = called("--quick").stdout
    for word in (
        "sample 1.0",
        "bytes that arrive from memory",
        "not identified",
        "decode 160M, batch 16, context 128",
        "Models left out",
        "Band for 90%",
        "No counter covers this CPU",
        "4 models are few",
        "The profile is in",
    ):
        assert word in " ".join(shown.split())


def test_machines_get_one_object_that_reads_back(sample: LawRig, tmp_path: Path) -> None:
    result = called("--quick", "--json")
    assert result.stderr == ""
    found = decode(Calibration, json.loads(result.stdout))
    assert found.profile in kept_profiles(tmp_path / "cache").values()
    assert Path(found.kept).parent == tmp_path / "cache"
    assert found.versions == wiring.versions()


def test_a_table_is_fitted_without_a_device(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path))
    file = str(shared / "data" / "hardware" / "measured_energy.csv")
    shown = called(
        "--from", file, "--device", "B200", "--source", "mlenergy_v3", "--sheet", "B200-SXM-180GB"
    ).stdout
    assert "B200-SXM-180GB with vLLM" in shown
    assert "with experts joules within" in " ".join(shown.split())
    assert "Windows\n" not in shown


def test_a_ledger_is_fitted_as_its_windows_were(sample: LawRig, tmp_path: Path) -> None:
    first = decode(Calibration, json.loads(called("--quick", "--json").stdout))
    for words in (("ledger",), (str(tmp_path / "ledger.db"),)):
        again = decode(Calibration, json.loads(called("--from", *words, "--json").stdout))
        assert again.rows == first.rows
        assert again.profile.constants == first.profile.constants
        assert again.profile.band == first.profile.band
        assert again.profile.origin.source.startswith("1 calibration of a ledger")


def test_calibrations_of_several_days_are_fitted_together(sample: LawRig) -> None:
    for _ in range(2):
        called("--quick")
    both = decode(Calibration, json.loads(called("--from", "ledger", "--json").stdout))
    once = decode(Calibration, json.loads(called("--quick", "--json").stdout))
    assert both.profile.windows == 2 * once.profile.windows
    assert both.profile.models == once.profile.models
    shown = called("--from", "ledger").stdout
    assert "3 calibrations of a ledger" in " ".join(shown.split())


def test_a_ledger_without_what_is_asked_is_told(sample: LawRig, tmp_path: Path) -> None:
    called("--quick")
    for words, what in (
        (("--device", "other"), "device other"),
        (("--source", "other"), "engine other"),
        (("--sheet", "other"), "other"),
    ):
        with pytest.raises(UsageError, match=what):
            called("--from", "ledger", *words)
    from negawatt.ledger import open_ledger

    with open_ledger(tmp_path / "empty.db"):
        pass
    with pytest.raises(UsageError, match="holds no calibration"):
        called("--from", str(tmp_path / "empty.db"))


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which datasheet"):
        called("--from", str(tmp_path / "runs.csv"))
    with pytest.raises(UsageError, match="--source chooses rows"):
        called("--source", "me")
    with pytest.raises(UsageError, match="'tpu' is no device"):
        called("--device", "tpu")


def test_a_gpu_asked_for_and_absent_is_an_error_and_no_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RuntimeUnavailable, match="no CUDA device"):
        called("--device", "cuda:0")


@pytest.mark.parametrize(
    ("visible", "boards", "index", "board"),
    [
        (None, ["gpu:0"], 0, 0),
        (None, ["gpu:0", "gpu:1", "package:0"], 1, 1),
        ("3,1", ["gpu:0", "gpu:1", "gpu:2", "gpu:3"], 0, 3),
        ("GPU-0f1e", ["gpu:0"], 0, 0),
    ],
)
def test_cudas_number_is_told_in_the_meters(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, boards: list[str], index: int, board: int
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = Inventory(meters=tuple(Board(name) for name in boards))
    assert wired._counted(index, found) == board


@pytest.mark.parametrize(
    ("visible", "boards", "said"),
    [
        ("", [], "GPU 0 has no counter"),
        ("GPU-0f1e", ["gpu:0", "gpu:1"], "does not tell which board"),
    ],
)
def test_a_board_that_cannot_be_told_is_refused(
    monkeypatch: pytest.MonkeyPatch, visible: str, boards: list[str], said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(MeterUnavailable, match=said):
        wired._counted(0, Inventory(meters=tuple(Board(name) for name in boards)))


def test_a_gpu_that_is_passed_over_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from negawatt.models import rig as rigs

    built = rigs.TorchRig

    def made(device: str = "cpu", *, threads: int, instead: str = "") -> rigs.TorchRig:
        return built("cpu", threads=threads, instead=instead)  # as if CUDA were there

    monkeypatch.setattr(rigs, "TorchRig", made)
    settings = wired._settings(None)
    unmeasured = wired._rig("auto", settings, Inventory(meters=()))
    assert "though there is a GPU: GPU 0 has no counter" in unmeasured.remark
    with pytest.raises(MeterUnavailable):
        wired._rig("cuda:0", settings, Inventory(meters=()))


def test_where_it_stands_is_told_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from negawatt.cli.calibrate import _tell

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _tell("copy (12 s left)", 0.5)
    assert capsys.readouterr().err == "\r\033[K 50% copy (12 s left)"


@pytest.mark.slow
def test_this_machine_is_calibrated_within_its_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path))
    result = called("--quick", "--device", "cpu", "--json")
    found = decode(Calibration, json.loads(result.stdout))
    by_what = {row.task.what: row for row in found.rows}
    assert 1e9 < by_what["copy"].bytes_per_s < 2e12
    assert {"static_w", "layer_s"}.isdisjoint(found.profile.unidentified)
    assert found.profile.band.seconds > 1.0
    decode_rows = {row.task.name: row.seconds for row in found.rows if row.task.what == "decode"}
    assert (
        decode_rows["decode 160M, batch 1, context 128"]
        > decode_rows["decode tiny, batch 1, context 128"]
    )
