"""llama.cpp on the CPU: weights in blocks of 32 or 256, multiplied with 8-bit activations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from negawatt.adapters.runtimes import llamacpp_engine as engine
from negawatt.adapters.runtimes.artifact import Manifest, as_meant, seal, unseal, writing
from negawatt.adapters.runtimes.llamacpp_blocks import TYPES
from negawatt.adapters.runtimes.llamacpp_kernel import LlamaKernel
from negawatt.adapters.runtimes.llamacpp_probe import may_pack
from negawatt.adapters.runtimes.llamacpp_second_look import REACH
from negawatt.adapters.runtimes.llamacpp_session import LAYOUTS, LlamaSession
from negawatt.core.appetite import Appetite
from negawatt.core.caches import Cache, CacheLayout, offered
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, QuantisedWeight

_NAME = "llamacpp"
_MODEL = "model.gguf"
_CONFIG = "config.json"
_SIZE = "weights.json"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class LlamaCppRuntime:
    """llama.cpp through its C interface; see `negawatt.core.protocols.Runtime`.

    An artifact is a folder with a GGUF file, the configuration it was made from and
    a manifest. Served fast, products round their inputs to 8 bits in blocks as
    long as those of the weights.
    The engine has no exact way to multiply codes, so an exact session decodes them
    into a float32 file of its own, which lives as long as the session.
    """

    def __init__(self) -> None:
        engine.installed()  # the engine itself loads when used

    @property
    def name(self) -> str:
        """`llamacpp`."""
        return _NAME

    @property
    def version(self) -> str:
        """The package's version and a mark of its build."""
        return engine.version()

    @property
    def joins(self) -> bool:
        """False: families have a fixed set of products."""
        return False

    @property
    def second_look(self) -> float:
        """Where head and embedding share a matrix and the embedding is kept wider."""
        return REACH

    @property
    def formats(self) -> Sequence[Format]:
        """16 bits, and what the engine calls Q8_0, Q6_K, Q5_0, Q5_K, Q4_0, Q4_K, IQ4_NL, IQ4_XS."""
        return (Format(16), *TYPES)

    @property
    def appetite(self) -> Appetite:
        """Memory it adds; weights are mapped or copied once, and some packed anew."""
        return Appetite(convert=1.6, lean=1.8, wide=1.8, narrow=0.85)

    @property
    def caches(self) -> Mapping[Cache, CacheLayout]:
        """16 bits is its own choice; below, a scale of 16 bits for each block of 32."""
        return LAYOUTS

    def convert(self, model: Path, out: Path) -> None:
        """Write `model` as a GGUF file with 16-bit matrices into the new folder `out`.

        Raises:
            NotAModel: `model` is no Hugging Face folder.
            BrokenWeights: its weights are damaged.
            UnsupportedArchitecture: the engine would compute something else.
            OutputError: `out` is in use or cannot be written.
        """
        from negawatt.adapters.runtimes.llamacpp_gguf import build

        with writing(out) as folder:
            places = build(model, folder / _MODEL)
            _note_size(folder)
            _copy_words(model, folder)
            seal(folder, Manifest(_NAME, f"llama.cpp {self.version}", places))

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        """Write a variant of `converted` with the layers in `weights` replaced.

        Values do not depend on `joint`, and this engine keeps layers apart.

        Raises:
            NotAModel: `converted` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            UsageError: a layer is unknown, or its codes do not fit it or the engine.
            OutputError: `out` is in use or cannot be written.
        """
        from negawatt.adapters.runtimes.llamacpp_gguf import About, rewrite

        del joint
        base = unseal(converted, _NAME)
        with writing(out) as folder:
            _copy_words(converted, folder)
            model = converted / _MODEL
            places = rewrite(model, About.of(folder), base.layers, weights, folder / _MODEL)
            _note_size(folder)
            seal(folder, Manifest(_NAME, f"llama.cpp {self.version}", places))

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Load an artifact.

        Raises:
            NotAModel: `artifact` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            RuntimeUnavailable: the engine cannot run it here.
        """
        unseal(artifact, _NAME)
        options = as_meant(artifact, options, self.caches)
        offered(options.cache, self.caches, _NAME)
        size = int(json.loads((artifact / _SIZE).read_text(encoding="utf-8"))["bytes"])
        model = artifact / _MODEL
        if options.precision == "fast":
            return LlamaSession(model, options, memory_bytes=size, extra=may_pack())
        from negawatt.adapters.runtimes.llamacpp_gguf import About, widened

        scratch = TemporaryDirectory(prefix="negawatt-", ignore_cleanup_errors=True)
        wide = Path(scratch.name) / _MODEL
        widened(model, About.of(artifact), wide)
        return LlamaSession(wide, options, memory_bytes=size, extra=False, scratch=scratch)

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct products of `rows` x `cols` in `fmt`.

        Raises:
            UsageError: the format does not fit, or is not one of `formats`.
            RuntimeUnavailable: the engine cannot run it here.
        """
        extra = options.precision == "fast" and may_pack()
        return LlamaKernel(rows, cols, fmt, copies=copies, options=options, extra=extra)


def _copy_words(source: Path, folder: Path) -> None:
    """Configuration and tokenizer: what the file says beside its weights is made from them."""
    shutil.copyfile(source / _CONFIG, folder / _CONFIG)
    for name in _TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _note_size(folder: Path) -> None:
    """Keep what the weights take: the file holds the tokenizer too, which is none of them."""
    from negawatt.adapters.runtimes.llamacpp_gguf import opened

    size = sum(tensor.size for tensor in opened(folder / _MODEL))
    (folder / _SIZE).write_text(json.dumps({"bytes": size}), encoding="utf-8")
