"""A random encoder with a tokenizer, small enough to be taken apart in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = 300


def small_encoder(folder: Path, architecture: str = "BertModel", **changes: Any) -> Path:
    """Write it, in float32, with answers that are far from flat."""
    import transformers

    name = architecture.removesuffix("Model").split("For")[0]
    sizes: dict[str, Any] = {
        "vocab_size": WORDS,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 200,
        "num_labels": 3,
    }
    config = getattr(transformers, f"{name}Config")(**{**sizes, **changes})
    model = getattr(transformers, architecture)(config).float()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.15 * noise if weight.ndim > 1 else 0.1 * noise + (weight > 0.5))
    model.save_pretrained(folder)
    _tokenizer(folder)
    return folder


def _tokenizer(folder: Path) -> None:
    from pydoc_data.topics import topics

    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    marks = {f"{name}_token": text for name, text in names.items()}
    tokenizer = Tokenizer(models.WordPiece(unk_token=names["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = list(names.values())
    trainer = trainers.WordPieceTrainer(
        vocab_size=WORDS, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)][:10], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)


def manual(path: Path) -> Path:
    """Python's own manual as a text file."""
    from pydoc_data.topics import topics

    path.write_text("\n\n".join(topics[name] for name in sorted(topics)), encoding="utf-8")
    return path
