"""One error tree. Every message states the fact, then the fix.

NegawattError                  exit 1
├── UsageError                 exit 2   an argument or setting cannot be taken
├── ModelError                 exit 3   the model given cannot be used
│   ├── NotAModel                       no model at that place
│   ├── UnsupportedArchitecture         a model, of a family we do not know
│   ├── BrokenWeights                   truncated, missing or not-a-number weights
│   └── TokenizerMissing                weights without the tokenizer they need
├── TextError                  exit 4   calibration or evaluation text cannot be used
├── BudgetUnreachable          exit 5   no variant meets the quality budget
├── OutputError                exit 6   the output folder cannot be written or is in use
├── RuntimeUnavailable         exit 7   the engine is not installed or cannot run here
│   └── NumericsGateFailed              the engine runs, but computes something else
├── MeterUnavailable           exit 8   the counter cannot be read; unknown, never zero
├── LedgerError                exit 9   the ledger cannot be read or does not verify
├── StaleSignal                exit 10  the newest value is older than allowed
├── SignalUnavailable          exit 11  a provider of signals gives no value
└── RunnerUnavailable          exit 12  what shall run a job cannot, or refuses
"""

from __future__ import annotations

from typing import ClassVar


class NegawattError(Exception):
    """Base of every error this package raises on purpose.

    >>> str(NegawattError("no counter here", fix="load intel_rapl_msr"))
    'no counter here\\n  Fix: load intel_rapl_msr'
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(f"{what}\n  Fix: {fix}")
        self.what = what
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.fix))


def _rebuild(cls: type[NegawattError], what: str, fix: str) -> NegawattError:
    return cls(what, fix=fix)


class UsageError(NegawattError):
    """An argument, setting or record value cannot be taken."""

    exit_status = 2


class ModelError(NegawattError):
    """The model given cannot be used."""

    exit_status = 3


class NotAModel(ModelError):
    """There is no language model at the place named."""


class UnsupportedArchitecture(ModelError):
    """A model, but of a family this version cannot take apart."""


class BrokenWeights(ModelError):
    """Weights are truncated, missing, or hold values that are not numbers."""


class TokenizerMissing(ModelError):
    """The weights came without the tokenizer that gives them meaning."""


class TextError(NegawattError):
    """Calibration or evaluation text is missing, unreadable or too short."""

    exit_status = 4


class BudgetUnreachable(NegawattError):
    """No measured variant stays inside the quality budget."""

    exit_status = 5


class OutputError(NegawattError):
    """The output folder cannot be written, is full, or is in use."""

    exit_status = 6


class RuntimeUnavailable(NegawattError):
    """An inference engine is not installed, or cannot run on this machine."""

    exit_status = 7


class NumericsGateFailed(RuntimeUnavailable):
    """An engine runs, but its outputs are not those of the reference."""


class MeterUnavailable(NegawattError):
    """A counter cannot be read; its energy is unknown, which is not zero."""

    exit_status = 8


class LedgerError(NegawattError):
    """The ledger cannot be opened, written, or does not verify."""

    exit_status = 9


class StaleSignal(NegawattError):
    """The newest value of a signal is older than the caller allows."""

    exit_status = 10


class SignalUnavailable(NegawattError):
    """A provider of grid signals cannot be asked, refuses, or has nothing of that time."""

    exit_status = 11


class RunnerUnavailable(NegawattError):
    """What shall run a job cannot be reached, is not installed, or refuses."""

    exit_status = 12
