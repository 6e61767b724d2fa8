"""A transformers model in two parts, so that the head runs on the rows that are charged and no
others.

The plain way, `get_output_embeddings()(body(ids)[0])`, misses what some models do between body and
logits (soft-caps, scales, transforms). Replay does not: the body's forward is replaced by one that
returns given rows, and the model's own forward turns them into logits. Replay is believed where it
gives the model's logits, and the plain way, which is faster, where it also gives what replay gives
on rows a hundred times larger: a soft-cap hides among small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

SCALES = (1.0, 100.0)
Head = Callable[[Tensor], Tensor]


class Parts:
    """`body(ids, **given)` -> (B, T, D) rows; `head(rows)`: (N, D) -> (N, V). `plain`: a linear
    layer without more is the whole head.
    """

    def __init__(self, module: nn.Module, head: Head, plain: bool):
        self.module, self.head, self.plain = module, head, plain

    @property
    def lm_head_weight(self) -> Tensor | None:
        """The head as a (V, D) matrix, where it is that and nothing else, in numbers of its own."""
        layer = self.head if self.plain else None
        if type(layer) is not nn.Linear or layer.bias is not None:
            return None
        return layer.weight if type(layer.weight) is nn.Parameter else None

    def body(self, ids: Tensor, **given: Any) -> Tensor:
        rows: Tensor = self.module(input_ids=ids, **given)[0]
        return rows


def split(model: nn.Module, ids: Tensor, **given: Any) -> Parts | None:
    """The parts of a causal or masked model, proven on `ids` (B, T); None where no way gives the
    model's own logits.

    `given`: what else its forward is given, as in use (use_cache=False, ...).
    """
    with torch.inference_mode():
        whole = _logits(model(input_ids=ids, **given))
        for body in _bodies(model):
            try:
                output = body(input_ids=ids, **given)
                rows = output[0]
                replay = _replay(model, body, type(output), given)
                if not _same(replay(rows.flatten(0, 1)), whole.flatten(0, 1)):
                    continue
            # whatever a model's forward does when its parts are called: then they are not its parts
            except Exception:  # noqa: S112
                continue
            plain = _plain(model, rows.flatten(0, 1), replay)
            return Parts(body, plain or replay, plain is not None)
    return None


def _bodies(model: Any) -> Iterator[nn.Module]:
    """What may be the body: the module that the class calls its base, and its decoder."""
    seen: list[Any] = [model]
    ways: tuple[Callable[[], Any], ...] = (lambda: model.base_model, lambda: model.get_decoder())
    for find in ways:
        try:
            found = find()
        except (AttributeError, NotImplementedError):
            continue
        if isinstance(found, nn.Module) and not any(found is other for other in seen):
            seen.append(found)
            yield found


def _logits(output: Any) -> Tensor:
    """The logits of a forward pass; with some heads for pretraining they are merely the first."""
    logits: Tensor
    try:
        logits = output.logits
    except AttributeError:
        logits = output[0]
    return logits


def _replay(model: nn.Module, body: nn.Module, kind: type, given: Mapping[str, object]) -> Head:
    """Rows -> logits by the model's own forward over a body that returns the rows."""

    def head(rows: Tensor) -> Tensor:
        ids = torch.zeros(1, len(rows), dtype=torch.long, device=rows.device)
        with _stub(body, kind(last_hidden_state=rows[None])):
            return _logits(model(input_ids=ids, **given))[0]

    return head


@contextmanager
def _stub(body: nn.Module, output: Any) -> Iterator[None]:
    body.forward = lambda *args, **kwargs: (
        output
    )  # an attribute of this one module, taken back below
    try:
        yield
    finally:
        del body.forward


def _plain(model: Any, rows: Tensor, replay: Head) -> Head | None:
    """The output embedding, where it is all that stands between rows and logits."""
    output = model.get_output_embeddings()
    if not isinstance(output, nn.Module):
        return None
    try:
        if all(_same(output(rows * scale), replay(rows * scale)) for scale in SCALES):
            return output
    except Exception:  # noqa: S110  # rows of another width than the layer's, and the like
        pass
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding in the dtype at hand: a hundred of its steps at the largest logit."""
    if a.shape != b.shape or not a.is_floating_point():
        return False
    room = (
        100 * torch.finfo(a.dtype).eps
        if a.dtype in (torch.float32, torch.float64)
        else 4 * torch.finfo(a.dtype).eps
    )
    a, b = a.cpu().double(), b.cpu().double()
    return bool(((a - b).abs().max() <= room * max(1.0, float(b.abs().max()))).item())
