"""The file's tokenizer cuts a text as the model's own does, or is left out."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from negawatt.adapters.runtimes.llamacpp_vocab import PATTERNS, read_vocabulary

SENTENCES = (
    "Hello world, it's 2026!  Two  spaces.\n\nA new paragraph\tand a tab",
    "def f(x):\n    return x**2  # naïve café, 中文 and 😀",
    "The price is $1,234.56 (approx.), I'LL pay.",
    " leading space",
    "a",
)


def trained(folder: Path, cut: Any, **parts: Any) -> Path:
    """A tokenizer of bytes, trained on this test's own text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text(encoding="utf-8")], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    settings |= {"eos_token": "</s>", "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def cuts() -> dict[str, Any]:
    from tokenizers import Regex, pre_tokenizers

    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found = {
        name: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(rule), "isolated"), bare])
        for rule, name in PATTERNS.items()
    }
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {"gpt-2": plain, "smollm": pre_tokenizers.Sequence([digits, plain]), **found}


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_the_rule_is_known_by_its_pattern(name: str, tmp_path: Path) -> None:
    told = read_vocabulary(trained(tmp_path, cuts()[name]), 420)
    assert told is not None
    assert (told.model, told.cut) == ("gpt2", name)
    assert told.special == {"bos": 0, "eos": 1}
    assert not told.opens
    assert not told.leads
    assert told.template == "{{ messages }}"
    assert len(told.tokens) == len(told.types) == 420
    assert told.tokens[0] == "<s>"
    assert told.types[0] == 3  # a control token
    assert told.types[419] == 5  # unused
    assert len(told.merges) > 100
    assert all(merge.count(" ") == 1 for merge in told.merges)


def test_a_token_before_every_text_is_seen(tmp_path: Path) -> None:
    from tokenizers import processors

    after = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    told = read_vocabulary(trained(tmp_path, cuts()["gpt-2"], post_processor=after), 400)
    assert told is not None
    assert told.opens


def test_what_the_engine_does_not_know_is_left_out(tmp_path: Path) -> None:
    from tokenizers import Regex, normalizers, pre_tokenizers

    bare = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    own = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex("x+"), "isolated"), bare])
    assert read_vocabulary(trained(tmp_path / "a", own), 400) is None
    spaced = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert read_vocabulary(trained(tmp_path / "b", spaced), 400) is None
    lower = trained(tmp_path / "c", cuts()["gpt-2"], normalizer=normalizers.Lowercase())
    assert read_vocabulary(lower, 400) is None
    assert read_vocabulary(tmp_path / "nothing", 400) is None
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    assert read_vocabulary(tmp_path, 400) is None


def test_spelt_tokens_have_scores_in_the_order_of_their_merges(shared: Path) -> None:
    told = read_vocabulary(shared / "models" / "stories260K", 512)
    assert told is not None
    assert told.model == "llama"
    assert told.leads
    assert told.opens
    assert not told.merges
    assert told.types[3] == 6  # the first of the bytes
    whole, part = (told.scores[told.tokens.index(text)] for text in ("\u2581the", "he"))
    assert whole < part <= 0  # what it is made from is merged first


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
@pytest.mark.parametrize("name", ["gpt-2", "smollm", "llama-bpe", "qwen2", "stories260K"])
def test_llama_cpp_itself_cuts_texts_as_the_model_does(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import llama_cpp
    from small_decoder import random_decoder
    from transformers import AutoTokenizer

    from negawatt.adapters.runtimes.llamacpp import LlamaCppRuntime

    if name == "stories260K":
        folder = request.getfixturevalue("shared") / "models" / name
    else:
        folder = tmp_path / "model"
        random_decoder(vocab_size=400).save_pretrained(folder)
        trained(folder, cuts()[name])
    LlamaCppRuntime().convert(folder, tmp_path / "out")
    engine: Any = llama_cpp.Llama(
        str(tmp_path / "out" / "model.gguf"), vocab_only=True, verbose=False
    )
    own: Any = AutoTokenizer.from_pretrained(folder)
    for text in SENTENCES:
        tokens = engine.tokenize(text.encode(), add_bos=True, special=False)
        assert tokens == own(text)["input_ids"]
        assert engine.detokenize(tokens).decode().strip() == text.strip()
    engine.close()


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_the_tokenizer_counts_for_no_weights(tmp_path: Path) -> None:
    from small_decoder import random_decoder

    from negawatt.adapters.runtimes.llamacpp import LlamaCppRuntime
    from negawatt.core.protocols import RunOptions

    random_decoder(vocab_size=400).save_pretrained(tmp_path / "model")
    held = []
    for name in ("bare", "worded"):
        if name == "worded":
            trained(tmp_path / "model", cuts()["gpt-2"])
        LlamaCppRuntime().convert(tmp_path / "model", tmp_path / name)
        with LlamaCppRuntime().open(tmp_path / name, RunOptions()) as session:
            held.append(session.memory_bytes)
    sizes = [(tmp_path / name / "model.gguf").stat().st_size for name in ("bare", "worded")]
    assert held[0] == held[1] < sizes[0] < sizes[1]
