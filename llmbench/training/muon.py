"""Muon: momentum whose matrix is made orthogonal before it is applied (Jordan et al. 2024,
kellerjordan.github.io/posts/muon).

torch.optim.Muon computes in bfloat16, which takes five to eight times as long as float32 on
processors without instructions for it. This one computes in the gradient's dtype, all matrices of a
shape at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (
    3.4445,
    -4.7750,
    2.0315,
)  # of x -> ax + bx^3 + cx^5, which brings singular values near 1 in few steps
ITERATIONS = 5
LEAST_NORM = 1e-7


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, R, C) matrices USV' -> about UV': singular values between 0.7 and 1.2, by a quintic
    Newton-Schulz iteration.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / x.flatten(1).norm(dim=1).clamp(min=LEAST_NORM)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """For 2-D parameters. The rate of an (R, C) matrix is multiplied by sqrt(max(1, R/C)), as in
    the original.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    # there is nothing to evaluate again
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for (rows, columns), parameters in shapes.items():
                updates = orthogonal(
                    torch.stack(
                        [self._momentum(parameter, group["momentum"]) for parameter in parameters]
                    )
                )
                rate = group["lr"] * math.sqrt(max(1.0, rows / columns))
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                        update, alpha=-rate
                    )

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's: the running mean of gradients, looked at one step ahead."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter.grad)
        mean: Tensor = state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(mean, momentum)
