"""lm-evaluation-harness with a model that chooses by letter probability over chat completions.

Its own chat clients refuse likelihoods, and servers of chat completions echo no prompt. This one puts the
words of ``gen_prefix`` into the model's mouth, asks for one token, and reads the letters off the alternatives
to it. Run this file as you would run ``lm_eval``, with ``--model deepvalues-letters`` and the arguments of
``local-chat-completions``. This file goes into every export, beside what it imports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_model
from lm_eval.models.openai_completions import LocalChatCompletion

from deepvalues.ask.spelling import DIGITS, IMPOSSIBLE, by_letter
from deepvalues.export.for_lm_eval import LETTERS


class Letters(LocalChatCompletion):
    """A chat endpoint asked for one token.

    Parameters
    ----------
    vllm
        Whether to send the two flags without which vLLM and SGLang begin a new reply.
    top_logprobs
        How many of the likeliest tokens to ask for.
    """

    def __init__(self, vllm: bool = False, top_logprobs: int = 20, **settings: Any) -> None:
        super().__init__(**settings)
        self._flags = {"continue_final_message": True, "add_generation_prompt": False} if vllm else {}
        self._top_logprobs = int(top_logprobs)

    def _create_payload(self, messages: list[dict[str, Any]], *_: Any, seed: int = 1234, **__: Any) -> Any:
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": 1, "seed": seed}
        return {**body, "logprobs": True, "top_logprobs": self._top_logprobs, **self._flags}

    def parse_generations(self, outputs: Any, **_: Any) -> list[dict[str, float]]:
        """The log probability of each letter, reply by reply."""
        replies = outputs if isinstance(outputs, list) else [outputs]
        return [self._letters(reply["choices"][0].get("logprobs")) for reply in replies]

    def _letters(self, logprobs: Any) -> dict[str, float]:
        first = ((logprobs or {}).get("content") or [{}])[0]
        if not first.get("top_logprobs"):
            raise RuntimeError(f"{self.base_url} gives no log probabilities of a first token's alternatives")
        listed = {each["token"]: each["logprob"] for each in (first, *first["top_logprobs"])}
        bounded = {token: max(IMPOSSIBLE, logprob) for token, logprob in listed.items()}
        found = by_letter(bounded, "Option", LETTERS)
        return {letter: round(logprob, DIGITS) for letter, logprob in found.items()}

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """One request for all letters of a question; `IMPOSSIBLE` for a letter that is not listed."""
        asked = {request.args[0]: request for request in requests}
        for context in asked:
            if json.loads(context.prompt)[-1]["role"] != "assistant":
                raise ValueError("deepvalues-letters answers the tasks whose names end with _letters")
        single = [
            Instance("generate_until", each.doc, (context, {}), place)
            for place, (context, each) in enumerate(asked.items())
        ]
        replies = dict(zip(asked, self.generate_until(single), strict=True))
        return [self._likelihood(replies[each.args[0]], each.args[1].strip()) for each in requests]

    @staticmethod
    def _likelihood(letters: dict[str, float], letter: str) -> tuple[float, bool]:
        logprob = letters.get(letter, IMPOSSIBLE)
        return logprob, logprob == max(letters.values(), default=IMPOSSIBLE)


if __name__ == "__main__":
    register_model("deepvalues-letters")(Letters)
    cli_evaluate()
