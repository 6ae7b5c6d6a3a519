"""vLLM through its HTTP door, and servers that speak as it does.

Of OpenAI's interface the completions are used, with three things that vLLM adds to it: prompts as
tokens, `return_token_ids` for what is written, and `prompt_logprobs` for what is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from negawatt.adapters.runtimes.http_door import Door
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import Likelihoods

_COMPLETIONS = "/v1/completions"
_TIMEOUT_S = 120.0
#: Greedy, whatever the model's folder recommends: a server takes its generation_config as default.
_GREEDY = {
    "temperature": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


class VllmEndpoint:
    """A running server; see `negawatt.core.protocols.Endpoint`.

    Args:
        address: Such as `http://127.0.0.1:8000`; a final `/v1` may be there.
        model: Which of the served ones; the only one when empty.
        key: What the server asks for, if it does.
        timeout_s: How long an answer, or the next token, may take. [s]

    Raises:
        UsageError: the address is none, or the model is not served there.
        RuntimeUnavailable: nobody answers, or not in this language.
    """

    name = "vllm"

    def __init__(
        self, address: str, *, model: str = "", key: str = "", timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._door = Door(address, key=key, timeout_s=timeout_s)
        served = self._served()
        if not model and len(served) == 1:
            model = next(iter(served))
        if model not in served:
            asked = f"no model {model!r}" if model else f"{len(served)} models"
            raise UsageError(
                f"{address} serves {asked}", fix=f"name one with --model: {', '.join(served)}"
            )
        self.model = model
        limit = served[model].get("max_model_len")
        self.context = int(limit) if limit else None

    @property
    def version(self) -> str:
        """As `/version` tells it, which vLLM alone does."""
        try:
            return str(self._door.ask("/version").get("version", ""))
        except (RuntimeUnavailable, UsageError):
            return ""

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Yield greedy tokens; closing the iterator hangs up, which ends the work there."""
        if not prompt:
            raise UsageError("the prompt holds no token", fix="begin with the model's start token")
        return self._stream(list(map(int, prompt)), max_new, frozenset(stop))

    def likelihoods(self, tokens: Sequence[int]) -> Likelihoods:
        """How likely every token after the first was, given those before it.

        Raises:
            UsageError: fewer than two tokens, or more than the server takes.
            RuntimeUnavailable: the server does not tell likelihoods of a prompt.
        """
        given = [int(token) for token in tokens]
        if len(given) < 2:
            raise UsageError("one token alone has no likelihood", fix="give at least two")
        body = self._request(given, 1) | {"prompt_logprobs": 1}
        told = _choice(self._door.ask(_COMPLETIONS, body)).get("prompt_logprobs")
        if not isinstance(told, list) or len(told) != len(given):
            raise RuntimeUnavailable(
                f"{self._door.address} tells no likelihoods of a prompt",
                fix="serve the model with vLLM, which knows `prompt_logprobs`",
            )
        pairs = [_read(at, token) for at, token in zip(told[1:], given[1:], strict=True)]
        return Likelihoods(
            np.array([one for one, _ in pairs], np.float64),
            np.array([top for _, top in pairs], np.int64),
        )

    def _served(self) -> dict[str, Mapping[str, Any]]:
        found = self._door.ask("/v1/models").get("data")
        if not isinstance(found, list) or not found:
            raise RuntimeUnavailable(
                f"{self._door.address} lists no models",
                fix="give the address of a server with OpenAI's interface, such as `vllm serve`",
            )
        return {str(one["id"]): one for one in found}

    def _request(self, prompt: list[int], max_new: int) -> dict[str, Any]:
        return {"model": self.model, "prompt": prompt, "max_tokens": max_new, **_GREEDY}

    def _stream(self, prompt: list[int], max_new: int, stop: frozenset[int]) -> Iterator[int]:
        if max_new < 1:
            return
        body = self._request(prompt, max_new) | {
            "stream": True,
            "return_token_ids": True,
            "ignore_eos": True,  # `stop` alone says where to end
            "stop_token_ids": sorted(stop),
        }
        with closing(self._door.events(_COMPLETIONS, body)) as events:
            for event in events:
                if not event.get("choices"):  # such as the count of tokens at the end
                    continue
                tokens = _choice(event).get("token_ids")
                if tokens is None:
                    raise RuntimeUnavailable(
                        f"{self._door.address} writes text and does not say which tokens",
                        fix="serve the model with vLLM 0.10.2 or newer (`return_token_ids`)",
                    )
                for token in map(int, tokens):
                    if token in stop:
                        return
                    yield token


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise RuntimeUnavailable(
            "the server's answer holds no completion",
            fix="check that the address is that of a server with OpenAI's interface",
        )
    return choices[0]


def _read(at: Any, token: int) -> tuple[float, int]:
    """Log-likelihood of the token that stood there, and the one the model likes best."""
    try:
        top = next(int(key) for key, one in at.items() if one["rank"] == 1)
        return float(at[str(token)]["logprob"]), top
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise RuntimeUnavailable(
            f"the likelihood of token {token} is not in the server's answer",
            fix="try another version of vLLM",
        ) from error
