from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from negawatt.adapters.runtimes.torch_weights import Coded, Half, install, read_codes, save_codes
from negawatt.core.errors import OutputError
from negawatt.core.levels import TABLES
from negawatt.core.records import Format, QuantisedWeight


def make(rows: int, cols: int, fmt: Format) -> tuple[QuantisedWeight, torch.Tensor]:
    """Codes, and the weights they stand for by the definition, one value at a time."""
    random = np.random.default_rng(cols)
    groups = cols // (fmt.group or cols)
    codes = random.integers(0, 2**fmt.bits, (rows, cols), dtype=np.uint8)
    scale = random.uniform(0.1, 1, (rows, groups)).astype(np.float16)
    zero = random.integers(0, 2**fmt.bits, (rows, groups), dtype=np.uint8)
    if fmt.has_minimum:
        zero = (zero / 8).astype(np.float16)
    wide = np.empty((rows, cols), np.float32)
    for row in range(rows):
        for col in range(cols):
            group = col * groups // cols
            code = int(codes[row, col])
            level = TABLES[fmt.levels][code] if fmt.levels else code
            if fmt.has_minimum:
                wide[row, col] = level * float(scale[row, group]) - float(zero[row, group])
                continue
            steps = level - int(zero[row, group])
            wide[row, col] = steps * float(scale[row, group])
    return QuantisedWeight(fmt, codes, scale, zero), torch.from_numpy(wide)


@pytest.mark.parametrize(
    "fmt",
    [
        Format(8),
        Format(4, 8, symmetric=False),
        Format(3, 4),
        Format(4, 8, levels="nl"),
        Format(4, 8, symmetric=False, nested=2),
    ],
    ids=str,
)
def test_codes_come_back_from_the_file_as_the_weights_they_mean(
    tmp_path: Path, fmt: Format
) -> None:
    weight, wide = make(6, 16, fmt)
    save_codes([("a.b", weight)], tmp_path / "codes")
    ((name, coded),) = read_codes(tmp_path / "codes")
    assert name == "a.b"
    torch.testing.assert_close(coded.widen(torch.empty(coded.shape)), wide)
    ids = torch.tensor([[5, 0], [0, 2]])
    torch.testing.assert_close(coded.rows(ids), wide[ids])


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        save_codes([("a", make(2, 4, Format(8))[0])], tmp_path / "nowhere" / "codes")


def test_halves_widen_without_a_change() -> None:
    values = torch.randn(4, 8).to(torch.bfloat16)
    half = Half(values)
    assert torch.equal(half.widen(torch.empty(half.shape)), values.float())
    assert torch.equal(half.rows(torch.tensor([3, 1])), values[[3, 1]].float())


class Tied(torch.nn.Module):
    """An embedding and a head with one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(8, 16)
        self.norm = torch.nn.LayerNorm(16)
        self.head = torch.nn.Linear(16, 8, bias=False)
        self.head.weight = self.embedding.weight
        self.to(torch.bfloat16)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.embedding(ids)
        return torch.as_tensor(self.head(self.norm(rows)))


@pytest.mark.parametrize("exact", [True, False])
def test_tied_weights_part_when_one_of_them_is_coded(exact: bool) -> None:
    model = Tied()
    ids = torch.arange(8)
    rows = model.embedding(ids)
    weight, wide = make(8, 16, Format(8))
    coded = Coded(*(torch.from_numpy(a) for a in (weight.codes, weight.scale, weight.zero)))
    install(model, {"head": coded}, exact=exact)
    kind = torch.float32 if exact else torch.bfloat16
    assert torch.equal(model.embedding(ids), rows.to(kind))
    with torch.inference_mode():
        given = model.norm(model.embedding(ids))
        torch.testing.assert_close(model.head(given), functional.linear(given, wide.to(kind)))


def test_shared_weights_are_counted_once_and_codes_by_their_size() -> None:
    norm = 2 * 16
    assert install(Tied(), {}, exact=False) == 2 * (8 * 16 + norm)
    assert install(Tied(), {}, exact=True) == 2 * 8 * 16 + 4 * norm
    weight, _ = make(8, 16, Format(8))
    coded = Coded(*(torch.from_numpy(a) for a in (weight.codes, weight.scale, weight.zero)))
    codes = 8 * 16 + 8 * (2 + 1)
    assert install(Tied(), {"head": coded}, exact=True) == 2 * 8 * 16 + 4 * norm + codes
