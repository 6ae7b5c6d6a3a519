"""Small models, made on the spot, and a session that computes real logits with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch

from negawatt.models.quiet import quiet

WORDS = (
    "the quick brown fox jumps over the lazy dog while a slow green turtle walks along the "
    "river and watches seven birds; nobody knows where they go when winter comes again."
)

#: Sizes at which every order matters: heads share keys, and no two widths are equal.
SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 256,
    "pad_token_id": None,
}

#: What some families need beyond the common sizes.
SMALL: dict[str, dict[str, Any]] = {
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 160},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
}

MakeModel = Callable[..., Path]


def make_tokenizer(folder: Path, vocabulary: int = 320) -> None:
    """A byte-level BPE tokenizer, trained on a sentence."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def random_model(kind: str, **changes: Any) -> Any:
    """A decoder of `model_type` kind in float32, with norms and biases that are not trivial."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(7)
    with quiet():
        config = AutoConfig.for_model(kind, **{**SIZES, **SMALL.get(kind, {}), **changes})
        model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.copy_(torch.randn(value.shape) * 0.2 + ("norm" in name))
            else:
                value.copy_(torch.randn(value.shape) * 0.08)
    return model


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Write a random model folder; `change` may alter the model before it is saved."""

    def make(
        kind: str = "llama",
        name: str = "source",
        *,
        dtype: torch.dtype = torch.float32,
        change: Callable[[Any], None] = lambda _model: None,
        shard: str = "1GB",
        **settings: Any,
    ) -> Path:
        folder = tmp_path / name
        model = random_model(kind, **settings)
        with torch.no_grad():
            change(model)
        with quiet():
            model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        make_tokenizer(folder)
        return folder

    return make


def put_on_grid(model: Any) -> None:
    """Round every linear layer and the embedding to 16 levels in blocks of 32."""
    for name, value in model.named_parameters():
        if value.ndim >= 2:  # experts are stacked
            blocks = value.view(*value.shape[:-1], -1, 32)
            low = blocks.amin(-1, keepdim=True)
            step = (blocks.amax(-1, keepdim=True) - low) / 15
            value.copy_((((blocks - low) / step).round() * step + low).view_as(value))
            assert name.endswith(("weight", "_proj"))


class TorchSession:
    """A session over a transformers model, with its key-value cache."""

    memory_bytes = 0

    def __init__(self, model: Any) -> None:
        self.model = model
        self.largest = 0  # tokens in one call
        self.reset()

    def reset(self) -> None:
        self.cache: Any = None

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        self.largest = max(self.largest, tokens.shape[1])
        with torch.no_grad():
            out = self.model(
                torch.from_numpy(np.array(tokens)),
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep or 0,
            )
        self.cache = out.past_key_values
        return out.logits.float().numpy()

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        raise NotImplementedError

    def close(self) -> None:
        self.cache = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def logits_of(model: Any, tokens: Any) -> Any:
    with torch.no_grad():
        return model(torch.as_tensor(tokens)).logits.float()
