"""Where the weights of a checkpoint go, and as which numbers: what `from_pretrained` is asked for,
and what is done to the model that it gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmbench.errors import UsageError
from llmbench.hardware.device import torch_dtype
from llmbench.models.pretrained import quantization


@dataclass(frozen=True)
class Placement:
    """`dtype` and `device` by name. `quantize`: a scheme by which the weights are rounded
    (model_card.SCHEMES).
    """

    dtype: str
    device: str
    quantize: str | None = None

    def needs_whole_import(self, is_quantised: bool) -> bool:
        """Whether transformers itself must see the packages that round weights. `is_quantised`: the
        checkpoint was saved in few bits.
        """
        return is_quantised or quantization.rounds_while_loading(self.quantize, self.device)

    def name_rounding(self, config: Any, where: str) -> str | None:
        """How the weights are rounded and by what; None if they are not. UsageError if that is
        asked of weights that were rounded before.
        """
        before = quantization.describe_quantised(config)
        if self.quantize is None:
            return before
        if before is not None:
            raise UsageError(
                f"the checkpoint is quantised already: {before}",
                where=where,
                hint="load it as it is, without quantize",
            )
        return quantization.name_scheme(self.quantize, self.device)

    def make_arguments(self, config: Any, where: str) -> dict[str, Any]:
        """What `from_pretrained` is given about numbers and devices."""
        dtype = torch_dtype(self.dtype)
        if quantization.describe_quantised(config) is not None:
            return {"dtype": dtype, "device_map": {"": self.device}}
        more = quantization.make_loading_arguments(self.quantize, self.device, dtype, where)
        return {"dtype": dtype, **more}

    def finish(self, model: Any, arguments: dict[str, Any], where: str) -> Any:
        """Return the model on its device, in evaluation mode and rounded. `arguments`: those that
        it was loaded with.
        """
        if "device_map" not in arguments:
            model = model.to(self.device)
        model.eval()
        if self.quantize is not None:
            quantization.quantise(model, self.quantize, self.device, where)
        return model
