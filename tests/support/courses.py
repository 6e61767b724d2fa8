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


# LitGPT
# -------------------------------------------------------------------------------------------------


def rotate(rows: Tensor, count: int, base: float, sign: int = 1) -> Tensor:
    """Turn the first `count` entries of (B, H, T, D) rows by their places, half beside half."""
    half = count // 2
    angles = torch.arange(rows.shape[2])[:, None] * base ** (-torch.arange(half) / half)
    cos, sin = angles.cos(), sign * angles.sin()
    a, b, rest = rows.split((half, half, rows.shape[-1] - count), -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


class LitRMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()


class LitAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        rows = (c["n_head"] + 2 * c["n_query_groups"]) * c["head_size"]
        self.qkv = nn.Linear(c["n_embd"], rows, bias=c["bias"] or c["attn_bias"])
        self.proj = nn.Linear(c["n_head"] * c["head_size"], c["n_embd"], bias=c["bias"])

    def forward(self, x):
        c = self.c
        heads, groups, size = c["n_head"], c["n_query_groups"], c["head_size"]
        count = int(c["rotary_percentage"] * size)
        q, k, v = self.qkv(x).split((heads * size, groups * size, groups * size), -1)
        q, k = (rotate(part_heads(p, p.shape[-1] // size), count, c["rope_base"]) for p in (q, k))
        k, v = (p.repeat_interleave(heads // groups, 1) for p in (k, part_heads(v, groups)))
        return self.proj(attend(q, k, v))


class LitMLP(nn.Module):
    """GptNeoxMLP or LLaMAMLP."""

    def __init__(self, c):
        super().__init__()
        names = ("fc",) if c["mlp_class_name"] == "GptNeoxMLP" else ("fc_1", "fc_2")
        for name in names:
            setattr(self, name, nn.Linear(c["n_embd"], c["intermediate_size"], bias=c["bias"]))
        self.proj = nn.Linear(c["intermediate_size"], c["n_embd"], bias=c["bias"])
        self.gelu = c["gelu_approximate"]

    def forward(self, x):
        if hasattr(self, "fc"):
            return self.proj(functional.gelu(self.fc(x), approximate=self.gelu))
        return self.proj(functional.silu(self.fc_1(x)) * self.fc_2(x))


class LitBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm_1, self.norm_2 = make_lit_norm(c), make_lit_norm(c)
        self.attn, self.mlp, self.parallel = LitAttention(c), LitMLP(c), c["parallel_residual"]

    def forward(self, x):
        if self.parallel:
            return x + self.attn(self.norm_1(x)) + self.mlp(self.norm_2(x))
        x = x + self.attn(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


def make_lit_norm(c):
    if c["norm_class_name"] == "RMSNorm":
        return LitRMSNorm(c["n_embd"], c["norm_eps"])
    return nn.LayerNorm(c["n_embd"], eps=c["norm_eps"])


LIT_CONFIG = {
    "block_size": 24,
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 32,
    "head_size": 8,
    "n_query_groups": 4,
    "padded_vocab_size": 320,
    "intermediate_size": 48,
    "norm_class_name": "LayerNorm",
    "norm_eps": 1e-5,
    "parallel_residual": True,
    "bias": True,
    "attn_bias": False,
    "mlp_class_name": "GptNeoxMLP",
    "gelu_approximate": "none",
    "rotary_percentage": 0.5,
    "rope_base": 10000,
}
LLAMA_LIKE = {
    "norm_class_name": "RMSNorm",
    "mlp_class_name": "LLaMAMLP",
    "parallel_residual": False,
    "bias": False,
    "rotary_percentage": 1.0,
    "rope_base": 500,
    "n_query_groups": 2,
}


class LitGPT(nn.Module):
    """A GPT by its config: LayerNorm or RMSNorm, rotary positions of a part, parallel or not."""

    def __init__(self, **changes):
        super().__init__()
        self.config = c = LIT_CONFIG | changes
        parts = {
            "wte": nn.Embedding(c["padded_vocab_size"], c["n_embd"]),
            "h": nn.ModuleList(LitBlock(c) for _ in range(c["n_layer"])),
            "ln_f": make_lit_norm(c),
        }
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(c["n_embd"], c["padded_vocab_size"], bias=False)

    def forward(self, ids):
        x = self.transformer.wte(ids)
        for block in self.transformer.h:
            x = block(x)
        return self.lm_head(self.transformer.ln_f(x))


# nanochat
# -------------------------------------------------------------------------------------------------


def norm(x):
    """RMSNorm without weights."""
    return functional.rms_norm(x, x.shape[-1:])


class ChatAttention(nn.Module):
    def __init__(self, width, heads, groups):
        super().__init__()
        self.heads, self.groups = heads, groups
        size = width // heads
        self.c_q = nn.Linear(width, heads * size, bias=False)
        self.c_k = nn.Linear(width, groups * size, bias=False)
        self.c_v = nn.Linear(width, groups * size, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)

    def forward(self, x):
        q, k, v = (
            part_heads(part(x), heads)
            for part, heads in (
                (self.c_q, self.heads),
                (self.c_k, self.groups),
                (self.c_v, self.groups),
            )
        )
        size = q.shape[-1]
        q, k = (norm(rotate(part, size, 10000.0, sign=-1)) for part in (q, k))
        k, v = (part.repeat_interleave(self.heads // self.groups, 1) for part in (k, v))
        return self.c_proj(attend(q, k, v))


class ChatMLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=False)
        self.c_proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        return self.c_proj(functional.relu(self.c_fc(x)).square())


class ChatBlock(nn.Module):
    def __init__(self, width, heads, groups):
        super().__init__()
        self.attn, self.mlp = ChatAttention(width, heads, groups), ChatMLP(width)

    def forward(self, x):
        x = x + self.attn(norm(x))
        return x + self.mlp(norm(x))


class NanoChat(nn.Module):
    """Rotary positions turned the other way, norms of queries and keys, a head with a soft cap."""

    def __init__(self, sequence_len, vocab_size, n_layer, n_head, n_kv_head, n_embd):
        super().__init__()
        parts = {
            "wte": nn.Embedding(vocab_size, n_embd),
            "h": nn.ModuleList(ChatBlock(n_embd, n_head, n_kv_head) for _ in range(n_layer)),
        }
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)

    def forward(self, ids):
        x = norm(self.transformer.wte(ids))
        for block in self.transformer.h:
            x = block(x)
        return 15 * torch.tanh(self.lm_head(norm(x)) / 15)
