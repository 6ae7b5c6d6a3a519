"""PyTorch on one device, put through its paces: products, copies, models of random weights.

The energy of a dense product does not depend on which ordinary numbers are multiplied, so a model
of random weights takes what a trained one of its shape takes. It says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.core.errors import RuntimeUnavailable
from negawatt.meters.machine import here
from negawatt.models.kept_context import GROUPED, kept, register
from negawatt.models.quiet import quiet

_LOW = -5  # of whole numbers that are multiplied

_BFLOAT16 = (8, 0)  # least compute capability

#: Built work and the steps of one round.
Built = tuple[Callable[[int], object], int]


class TorchRig:
    """See `negawatt.actions.calibrate.rig.Rig`; work comes as a pair of what to run and its steps.

    Args:
        device: "cpu" or "cuda:N".
        threads: For work on the CPU.
        accelerator: Number of the GPU among those that its meter counts.

    Raises:
        RuntimeUnavailable: there is no such device, or it is too old for bfloat16.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        threads: int,
        accelerator: int | None = None,
        instead: str = "",
    ) -> None:
        if device != "cpu" and not torch.cuda.is_available():
            raise RuntimeUnavailable(
                "PyTorch finds no CUDA device",
                fix="see `nvidia-smi`, install a PyTorch built for CUDA, or give --device cpu",
            )
        self._device = torch.device(device)
        if device != "cpu":
            self._check()
        self.accelerator = accelerator
        self._instead = instead
        self._held: tuple[str, Any] = ("", None)
        torch.set_num_threads(threads)

    def _check(self) -> None:
        count = torch.cuda.device_count()
        if (self._device.index or 0) >= count:
            raise RuntimeUnavailable(
                f"PyTorch finds {count} CUDA devices, and no {self._device}",
                fix=f"give one of: {', '.join(f'cuda:{index}' for index in range(count))}",
            )
        if torch.cuda.get_device_capability(self._device) < _BFLOAT16:
            raise RuntimeUnavailable(
                f"{self.device} has no bfloat16 of its own, in which models are run here",
                fix="measure it with its own engine, and give the runs with --from",
            )

    @property
    def device(self) -> str:
        """As the driver names it; the CPU is named by those who know it better."""
        if self._device.type == "cpu":
            return "cpu"
        return str(torch.cuda.get_device_name(self._device))

    @property
    def engine(self) -> str:
        """Both libraries take part."""
        return f"torch {torch.__version__}, transformers {version('transformers')}"

    @property
    def remark(self) -> str:
        """Why the CPU, if a GPU was passed over, and that this is no `generate`."""
        passed = (
            f"The CPU was taken, though there is a GPU: {self._instead}. " if self._instead else ""
        )
        return (
            f"{passed}Models are run in a loop that keeps the context in place and looks at it in groups of "
            "heads, as serving engines do. transformers' own generate() copies the context for every "
            "token, and takes more."
        )

    @property
    def memory_bytes(self) -> float:
        """That the device holds. [B]"""
        if self._device.type == "cpu":
            return float(here().memory_usable)
        return float(torch.cuda.get_device_properties(self._device).total_memory)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """float16 is left out where it is emulated: on CPUs."""
        if self._device.type == "cpu":
            return ("bfloat16", "float32", "int8")
        return ("bfloat16", "float16", "float32", "int8")

    def product(self, edge: int, dtype: str) -> Built:
        """Multiply two square matrices."""
        self._forget()
        with torch.inference_mode():
            if dtype == "int8":
                size = (edge, edge)
                left = torch.randint(_LOW, -_LOW, size, dtype=torch.int8, device=self._device)
                right = left.t()  # the layout that every board takes
                return self._many(lambda: torch._int_mm(left, right)), 1  # noqa: SLF001  # the only way in
            kind = getattr(torch, dtype)
            left = torch.randn(edge, edge, device=self._device).to(kind)
            right, out = left.clone(), torch.empty_like(left)
        return self._many(lambda: torch.mm(left, right, out=out)), 1

    def copy(self, count: int) -> Built:
        """Copy so many bytes from memory to memory."""
        self._forget()
        source = torch.ones(count, dtype=torch.uint8, device=self._device)
        target = torch.zeros_like(source)
        return self._many(lambda: target.copy_(source)), 1

    def decode(self, config: Mapping[str, Any], batch: int, context: int, stride: int) -> Built:
        """Write `stride` tokens behind `context` kept ones; each round begins there again."""
        model = self._model(config)
        cache = kept(model.config, batch, context, stride, self._device)
        tokens = torch.zeros(batch, 1, dtype=torch.long, device=self._device)

        def once() -> None:
            for _ in range(stride):
                model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache.crop(-stride)

        return self._many(once), stride

    def prefill(self, config: Mapping[str, Any], batch: int, tokens: int) -> Built:
        """Read prompts."""
        model = self._model(config)
        given = torch.zeros(batch, tokens, dtype=torch.long, device=self._device)
        return self._many(lambda: model(input_ids=given, use_cache=True, logits_to_keep=1)), 1

    def _many(self, once: Callable[[], object]) -> Callable[[int], None]:
        def run(rounds: int) -> None:
            with torch.inference_mode():
                for _ in range(rounds):
                    once()
            self._wait()

        return run

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _forget(self) -> None:
        self._held = ("", None)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _model(self, config: Mapping[str, Any]) -> Any:
        """The model of a configuration in bfloat16; the one in memory when it is the same."""
        key = repr(sorted(config.items(), key=str))
        if self._held[0] != key:
            self._forget()
            self._held = (key, _random(config, self._device))
        return self._held[1]


def _random(config: Mapping[str, Any], device: torch.device) -> Any:
    kind = str(config["model_type"])
    rest = {key: value for key, value in config.items() if key != "model_type"}
    register()
    attention = GROUPED if device.type == "cpu" else "sdpa"  # boards have kernels for groups
    with quiet(), device:
        settings = AutoConfig.for_model(kind, **rest)
        model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            settings, dtype=torch.bfloat16, attn_implementation=attention
        )
    return model.eval()
