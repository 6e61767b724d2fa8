"""A token model of one's own answers messages by two methods more, as docs/adapters.md says."""

from __future__ import annotations

import torch
from support.small_checkpoints import said

from llmbench import Passage, Request, TokenAdapter, Tokens

USER, ANSWER, OVER = 256, 257, 258


class Talker(TokenAdapter):
    """Says after a message its bytes in capitals, then the end of the turn; else dots."""

    context, bos_ids, chat_eos_ids = None, (259,), (OVER,)

    def encode(self, text):
        raw = text.encode()
        return Tokens.of(list(raw), [bytes([byte]) for byte in raw])

    def decode(self, ids):
        return bytes(id for id in ids if id < 256)

    def describe_chat(self):
        return "talker/1"

    def encode_chat(self, system, prompt):
        return [USER, *system.encode(), USER, *prompt.encode(), ANSWER]

    def logits(self, ids):
        found = torch.zeros(*ids.shape, 260)
        for row, line in enumerate(ids.tolist()):
            for at in range(len(line)):
                found[row, at, self._go_on(line[: at + 1])] = 9.0
        return found

    def _go_on(self, line):
        if ANSWER not in line:
            return ord(".")
        begin = len(line) - line[::-1].index(USER)
        asked = bytes(line[begin : line.index(ANSWER)]).upper()
        done = len(line) - line.index(ANSWER) - 1
        return asked[done] if done < len(asked) else OVER


def test_it_reads_a_message_and_stops_at_the_end_of_its_turn():
    asked = [Request("tap", max_bytes=9, chat="hum"), Request("tap", max_bytes=4)]
    assert said(Talker(), asked) == ["TAP", "...."]
    assert Talker().sign_prompts("hum") == {
        "prompt": "chat",
        "chat_template": "talker/1",
        "system": "'hum'",
    }


def test_an_answer_is_scored_after_the_message_with_the_end_of_the_turn():
    right, wrong = Talker().score(
        [Passage(text, "tap", score_eos=True, chat="") for text in ("TAP", "pat")]
    )
    assert float(right.bits.sum()) < 0.5 < 20 < float(wrong.bits.sum())
