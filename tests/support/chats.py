"""Small checkpoints with chat templates, and the plain way to apply one."""

from __future__ import annotations

import torch
from tokenizers import AddedToken
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from support.checkpoints import draw
from support.small_checkpoints import byte_level, load

START, END = "<|turn|>", "<|over|>"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] | trim }}"
    "<|over|>\n{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + TEMPLATE
)


def save(folder, template=TEMPLATE, context=96, marker_is_special=True):
    """A GPT-2 of a second whose markers of turns are tokens; without a template if that is ""."""
    tokenizer = byte_level(special=("<s>", "</s>"))
    added = [AddedToken(word, special=marker_is_special) for word in (START, END)]
    tokenizer.add_tokens(added) if not marker_is_special else tokenizer.add_special_tokens(added)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    if template:
        fast.chat_template = template
    shape = {"n_positions": context, "n_embd": 32, "n_layer": 2, "n_head": 2}
    config = GPT2Config(vocab_size=len(fast), bos_token_id=0, eos_token_id=1, **shape)
    network = GPT2LMHeadModel(config)
    draw(network, 0.3, 0)
    network.save_pretrained(folder)
    fast.save_pretrained(folder)
    return load(folder)


def apply_template(folder, prompt, system=""):
    """The ids of a message by transformers' own functions."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": prompt})
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def say_greedy(network, ids, ends, most):
    """Ids of a greedy answer by plain passes, without what ends it."""
    made = []
    with torch.inference_mode():
        while len(made) < most:
            token = int(network(torch.tensor([[*ids, *made]])).logits[0, -1].argmax())
            if token in ends:
                break
            made.append(token)
    return made
