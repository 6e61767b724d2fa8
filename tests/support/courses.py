"""Networks of courses, written anew from what is published of their architecture, and checkpoints
as the courses save them: of a second, with weights drawn from a seed.

Each network takes ids (B, T) and gives logits (B, T, V); `measure_loss` is what the courses
train on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def measure_loss(network: nn.Module, ids: Tensor) -> float:
    """Mean cross-entropy in nats of ids[:, 1:] after ids[:, :-1]."""
    with torch.inference_mode():
        logits = network(ids[:, :-1])
    return float(functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))


def draw(network: nn.Module, seed: int = 0, spread: float = 0.3) -> None:
    """Draw all parameters, so that no norm is 1 and no bias is 0."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator) * spread
        parameter.data = noise + (1 if parameter.ndim == 1 else 0)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (B, H, T, D) rows by its definition; heads joined, (B, T, H * D)."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    length = q.shape[-2]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    rows = scores.masked_fill(future, float("-inf")).softmax(-1) @ v
    return rows.transpose(1, 2).flatten(2)


def part_heads(rows: Tensor, heads: int) -> Tensor:
    """(B, T, H * D) -> (B, H, T, D)."""
    return rows.unflatten(2, (heads, -1)).transpose(1, 2)


# nanoGPT
# -------------------------------------------------------------------------------------------------


class NanoNorm(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, 1e-5)


class NanoAttention(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width, bias=bias)

    def forward(self, x):
        q, k, v = (part_heads(part, self.heads) for part in self.c_attn(x).chunk(3, -1))
        return self.c_proj(attend(q, k, v))


class NanoMLP(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=bias)
        self.c_proj = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x):
        return self.c_proj(functional.gelu(self.c_fc(x)))


class NanoBlock(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.ln_1, self.attn = NanoNorm(width, bias), NanoAttention(width, heads, bias)
        self.ln_2, self.mlp = NanoNorm(width, bias), NanoMLP(width, bias)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """Learned positions, pre-norm, GELU by the error function, a tied head."""

    def __init__(self, n_layer, n_head, n_embd, block_size, bias, vocab_size, dropout=0.0):
        super().__init__()
        parts = {
            "wte": nn.Embedding(vocab_size, n_embd),
            "wpe": nn.Embedding(block_size, n_embd),
            "h": nn.ModuleList(NanoBlock(n_embd, n_head, bias) for _ in range(n_layer)),
            "ln_f": NanoNorm(n_embd, bias),
        }
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, ids):
        parts = self.transformer
        x = parts.wte(ids) + parts.wpe(torch.arange(ids.shape[1]))
        for block in parts.h:
            x = block(x)
        return self.lm_head(parts.ln_f(x))


def save_nanogpt(file, vocab_size, *, bias=True, compiled=False, **more):
    """Write what train.py of nanoGPT writes; return the network."""
    arguments = {
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 16,
        "block_size": 24,
        "bias": bias,
        "vocab_size": vocab_size,
        "dropout": 0.0,
    }
    network = NanoGPT(**arguments)
    draw(network)
    optimizer = torch.optim.AdamW(network.parameters())
    before = "_orig_mod." if compiled else ""
    saved = {
        "model": {f"{before}{name}": value for name, value in network.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": arguments,
        "iter_num": 7,
        "best_val_loss": torch.tensor(1.5),
        "config": {"dataset": "tales", "compile": compiled},
    }
    torch.save(saved | more, file)
    return network


# LLMs-from-scratch
# -------------------------------------------------------------------------------------------------


class ScratchNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        variance = x.var(-1, keepdim=True, unbiased=False)
        return self.scale * (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt() + self.shift


class ScratchGELU(nn.Module):
    def forward(self, x):
        inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + torch.tanh(inner))


class ScratchAttention(nn.Module):
    def __init__(self, width, heads, context, bias):
        super().__init__()
        self.heads = heads
        self.W_query, self.W_key, self.W_value = (
            nn.Linear(width, width, bias=bias) for _ in range(3)
        )
        self.out_proj = nn.Linear(width, width)
        self.register_buffer("mask", torch.ones(context, context).triu(1))

    def forward(self, x):
        three = (self.W_query, self.W_key, self.W_value)
        return self.out_proj(attend(*(part_heads(part(x), self.heads) for part in three)))


class ScratchFeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width), ScratchGELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        return self.layers(x)


class ScratchBlock(nn.Module):
    def __init__(self, width, heads, context, bias):
        super().__init__()
        self.att = ScratchAttention(width, heads, context, bias)
        self.ff, self.norm1, self.norm2 = (
            ScratchFeedForward(width),
            ScratchNorm(width),
            ScratchNorm(width),
        )

    def forward(self, x):
        x = x + self.att(self.norm1(x))
        return x + self.ff(self.norm2(x))


class ScratchGPT(nn.Module):
    """GPT-2 with three projections apart and a head of its own."""

    def __init__(self, vocabulary, bias, width=16, heads=2, context=24, depth=2):
        super().__init__()
        self.tok_emb = nn.Embedding(vocabulary, width)
        self.pos_emb = nn.Embedding(context, width)
        self.trf_blocks = nn.Sequential(
            *(ScratchBlock(width, heads, context, bias) for _ in range(depth))
        )
        self.final_norm = ScratchNorm(width)
        self.out_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids):
        x = self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1]))
        return self.out_head(self.final_norm(self.trf_blocks(x)))
