"""Families of models whose sizes are understood, by the `model_type` of their configuration.

Families whose sizes stand in places of their own (layers that share weights or differ one by one) are not here:
they would be read without complaint, and wrongly.
"""

from __future__ import annotations

#: Two matrices into the feed-forward block, one out.
GATED = frozenset(
    [
        "baichuan",
        "cohere",
        "cohere2",
        "deepseek_v2",
        "deepseek_v3",
        "exaone",
        "exaone4",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "glm",
        "glm4",
        "glm4_moe",
        "gpt_oss",
        "granite",
        "granitemoe",
        "internlm2",
        "internlm3",
        "llama",
        "llama4",
        "llama4_text",
        "minicpm",
        "minicpm3",
        "mistral",
        "mixtral",
        "modernbert",
        "olmo",
        "olmo2",
        "olmoe",
        "phi3",
        "phimoe",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "smollm3",
        "stablelm",
    ]
)

#: One matrix into the feed-forward block, one out.
UNGATED = frozenset(
    [
        "bert",
        "bloom",
        "camembert",
        "codegen",
        "distilbert",
        "falcon",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "mpnet",
        "mpt",
        "nemotron",
        "nemotron_h",
        "opt",
        "persimmon",
        "phi",
        "roberta",
        "starcoder2",
        "xlm-roberta",
    ]
)

#: Read whole texts and write none.
ENCODERS = frozenset(
    ["bert", "camembert", "distilbert", "modernbert", "mpnet", "roberta", "xlm-roberta"]
)

#: Their token table is their head unless their configuration says otherwise.
TIED = frozenset(
    [
        "bloom",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "gpt2",
        "gpt_bigcode",
        "mpt",
        "opt",
    ]
)
