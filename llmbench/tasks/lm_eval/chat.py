"""Prompts of lm-eval as messages of a chat. A suite is planned without a model: the messages stand
in its questions, and each model writes them out in its own template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from llmbench.adapter import Adapter
from llmbench.errors import Unsupported, UsageError
from llmbench.tasks.lm_eval.questions import Ask, Question

if TYPE_CHECKING:
    from llmbench.inference.token_model import TokenModel

# private characters around messages, which JSON has none of
FIRST, LAST = "\ue000chat", "\ue001"
PACKED = re.compile(f"{FIRST}(.*?){LAST}", re.DOTALL)
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Manner:
    """How lm-eval's evaluator is asked to make prompts.

    is_chat: by the model's chat template. is_multiturn: each example is a turn of its own.
    system: what stands before all; None if nothing does.
    """

    is_chat: bool = False
    is_multiturn: bool = True
    system: str | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of a task's `build_all_requests`; none where lm-eval's defaults are meant,
        which classes of older tasks take alone.
        """
        found = dict[str, object]()
        if self.system is not None:
            found["system_instruction"] = self.system
        if self.is_chat:
            found |= {
                "apply_chat_template": True,
                "fewshot_as_multiturn": self.is_multiturn,
                "chat_template": pack_messages,
            }
        return found

    @property
    def facts(self) -> Mapping[str, str]:
        """The parts of a signature that say so."""
        found = {} if self.system is None else {"system_instruction": repr(self.system)}
        return {**found, "multiturn": str(self.is_multiturn).lower()} if self.is_chat else found

    def check_task(self, name: str, task: Any) -> None:
        """Raise UsageError if a task makes its prompts by rules of its own."""
        from lm_eval.api.task import ConfigurableTask

        kind: Any = type(task)
        is_usual = (kind.fewshot_context, kind.construct_requests, kind.build_all_requests) == (
            ConfigurableTask.fewshot_context,
            ConfigurableTask.construct_requests,
            ConfigurableTask.build_all_requests,
        )
        if self.arguments and not is_usual:
            keys = "`apply_chat_template` and `system_instruction`"
            raise UsageError(
                f"lm-eval's task {name} is a class that makes its prompts itself, and {keys} may"
                " not reach them",
                hint="ask it in an entry of its own, without these keys",
            )


def pack_messages(messages: Messages, add_generation_prompt: bool = True) -> str:
    """Return messages as a text from which `unpack_messages` has them again, as lm-eval's models
    return them in their template.
    """
    return f"{FIRST}{json.dumps([messages, add_generation_prompt])}{LAST}"


def render_questions(questions: Sequence[Question], adapter: Adapter) -> list[Question]:
    """Return the questions with their messages in the model's chat template.

    Raises Unsupported if it has none, or none that can be written out here.
    """
    adapter.describe_chat()  # which says what lacks
    model = adapter.token_model
    if model is None:
        raise Unsupported(
            "the server alone knows its chat template",
            hint="ask lm-eval's tasks of it without `apply_chat_template`",
        )

    @cache
    def render(packed: str) -> str:
        messages, asks = json.loads(packed)
        return _render(model, messages, asks)

    def fill_in(ask: Ask) -> Ask:
        context, count = PACKED.subn(lambda found: render(found[1]), ask.context)
        return replace(ask, context=context, rendered=True) if count else ask

    return [replace(one, asks=tuple(map(fill_in, one.asks))) for one in questions]


def _render(model: TokenModel, messages: Messages, asks: bool) -> str:
    """Messages in a template; as for lm-eval without the system's, if the template takes none."""
    try:
        return model.render_chat(messages, asks)
    except Unsupported as error:
        rest = [message for message in messages if message["role"] != "system"]
        if len(rest) == len(messages) or not rest:
            raise
        try:
            return model.render_chat(rest, asks)
        except Unsupported:
            raise error from None
