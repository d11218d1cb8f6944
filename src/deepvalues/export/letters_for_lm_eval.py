"""A model type for lm-evaluation-harness that chooses by letter probability over chat completions.

The harness's own chat clients do not support likelihoods, and chat servers do not echo the prompt. This
client starts the reply with ``gen_prefix``, asks for one token, and reads the letters from its alternatives.
Run this file like ``lm_eval``, with ``--model deepvalues-letters`` and the arguments of
``local-chat-completions``. Every export contains it and the modules that it imports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from deepvalues.ask.spelling import DIGITS, IMPOSSIBLE, by_letter
from deepvalues.export.for_lm_eval import INSTALL, LETTERS, stop_unless_supported

try:
    stop_unless_supported()
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import register_model
    from lm_eval.models.openai_completions import LocalChatCompletion
except ModuleNotFoundError as error:
    raise SystemExit(
        f"letters.py needs {error.name}, which is not installed: run `{INSTALL}` in an environment of its own"
    ) from None


class Letters(LocalChatCompletion):
    """A chat endpoint that is asked for one token.

    Parameters
    ----------
    vllm
        Whether to send the two flags that vLLM and SGLang need to continue a reply.
    top_logprobs
        How many of the most probable tokens to ask for.
    """

    def __init__(self, vllm: bool = False, top_logprobs: int = 20, **settings: Any) -> None:
        super().__init__(**settings)
        self._flags = {"continue_final_message": True, "add_generation_prompt": False} if vllm else {}
        self._top_logprobs = int(top_logprobs)

    def _create_payload(self, messages: list[dict[str, Any]], *_: Any, seed: int = 1234, **__: Any) -> Any:
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": 1, "seed": seed}
        return {**body, "logprobs": True, "top_logprobs": self._top_logprobs, **self._flags}

    def parse_generations(self, outputs: Any, **_: Any) -> list[dict[str, float]]:
        """The log probabilities of the letters, for each reply."""
        replies = outputs if isinstance(outputs, list) else [outputs]
        return [self._letters(reply["choices"][0].get("logprobs")) for reply in replies]

    def _letters(self, logprobs: Any) -> dict[str, float]:
        first = ((logprobs or {}).get("content") or [{}])[0]
        if not first.get("top_logprobs"):
            raise RuntimeError(
                f"{self.base_url} gives no log probabilities of alternatives to the first token"
            )
        listed = {each["token"]: each["logprob"] for each in (first, *first["top_logprobs"])}
        bounded = {token: max(IMPOSSIBLE, logprob) for token, logprob in listed.items()}
        found = by_letter(bounded, "Option", LETTERS)
        return {letter: round(logprob, DIGITS) for letter, logprob in found.items()}

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """Log probabilities with one request per question; `IMPOSSIBLE` for an unlisted letter."""
        asked = {request.args[0]: request for request in requests}
        for context in asked:
            if json.loads(context.prompt)[-1]["role"] != "assistant":
                raise ValueError("deepvalues-letters works only with tasks whose names end in _letters")
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
