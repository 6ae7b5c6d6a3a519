"""A byte-pair tokenizer trained on Python's manual, with marks, in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics

#: Tokens that it has, the one added by name last.
TOKENS = 901


def trained(folder: Path, *, spelt: bool = False) -> Path:
    """Byte-level, or with spaces as letters and unknown ones spelt in bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import trainers as ways

    folder.mkdir(parents=True, exist_ok=True)
    marks = ["<unk>", "<s>", "</s>"]
    if spelt:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
        tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        marks += [f"<0x{number:02X}>" for number in range(256)]
        trainer = ways.BpeTrainer(vocab_size=900, special_tokens=marks, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = ways.BpeTrainer(
            vocab_size=900, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)][:20], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    config = {"bos_token_id": 1, "eos_token_id": [2, 900], "pad_token_id": -1, "max_new_tokens": 2}
    (folder / "generation_config.json").write_text(json.dumps(config))
    return folder
