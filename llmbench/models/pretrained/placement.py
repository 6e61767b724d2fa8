"""Where the weights of a checkpoint go, and as which numbers: what `from_pretrained` is asked for,
and what is done to the model that it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from typing import Any

from llmbench.errors import ModelError, UsageError
from llmbench.hardware.device import OWN_DTYPE, torch_dtype
from llmbench.models.pretrained import quantization

NOWHERE = "meta"  # where parameters are whose weights wait on the disk


@dataclass(frozen=True)
class Placement:
    """`dtype` and `device` by name; `auto` is the checkpoint's own dtype. `quantize`: a scheme by
    which the weights are rounded (model_card.SCHEMES). `device_map`: "auto" spreads the layers over
    all GPUs, then RAM, then the disk.
    """

    dtype: str
    device: str
    quantize: str | None = None
    device_map: str | None = None

    def needs_whole_import(self, is_quantised: bool) -> bool:
        """Whether transformers itself must see packages that are hidden from it otherwise.
        `is_quantised`: the checkpoint was saved in few bits.
        """
        rounds = quantization.rounds_while_loading(self.quantize, self.device)
        return is_quantised or rounds or self.device_map is not None

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
        own = self.dtype == OWN_DTYPE
        dtype = OWN_DTYPE if own else torch_dtype(self.dtype)
        compute = None if own else torch_dtype(self.dtype)
        if quantization.describe_quantised(config) is not None:
            given: dict[str, Any] = {"device_map": {"": self.device}}
        else:
            given = quantization.make_loading_arguments(self.quantize, self.device, compute, where)
        if self.device_map is not None:
            if util.find_spec("accelerate") is None:
                raise ModelError(
                    "spreading a model over devices needs the package accelerate",
                    where=where,
                    hint="pip install 'llmbench[large]'",
                )
            given["device_map"] = self.device_map
        return {"dtype": dtype, **given}

    def finish(self, model: Any, arguments: Mapping[str, Any], where: str) -> Any:
        """Return the model on its device, in evaluation mode and rounded. `arguments`: those that
        it was loaded with.
        """
        if "device_map" not in arguments:
            model = model.to(self.device)
        model.eval()
        if self.quantize is not None:
            quantization.quantise(model, self.quantize, self.device, where)
        return model

    def name_dtype(self, model: Any) -> str:
        """The name of the dtype that a loaded model is in."""
        found = str(model.dtype).removeprefix("torch.")
        return found if self.dtype == OWN_DTYPE else self.dtype

    def find_device(self, model: Any) -> str:
        """The device that a loaded model takes ids on."""
        if self.device_map is None:
            return self.device
        device = str(model.get_input_embeddings().weight.device)
        return self.device if device == NOWHERE else device

    def find_devices(self, model: Any) -> dict[str, int]:
        """Bytes of the weights on each device; `disk` where they wait there."""
        if self.device_map is None:
            return {}
        found: dict[str, int] = {}
        for tensor in {id(p): p for p in model.parameters()}.values():
            name = str(tensor.device)
            place = "disk" if name == NOWHERE else name
            found[place] = found.get(place, 0) + quantization.count_bytes(iter([tensor]))
        return found
