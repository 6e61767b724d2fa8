"""Energy by a counter of the machine: the GPU's own, read through the driver, or the processor's
(RAPL). Where there is none, none is guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from llmbench.hardware import machine
from llmbench.hardware.device import is_cuda

POWERCAP = Path("/sys/class/powercap")
LEAST_SECONDS = 5.0  # counters move in steps of up to a tenth of a second


class Counter(Protocol):
    """`name` says which counter it is; `read` gives joules from any beginning."""

    name: str

    def read(self) -> float: ...


class Nvml:
    """The energy of a GPU since its driver was loaded."""

    name = "NVML total energy of the GPU"

    def __init__(self, device: str):
        self._pynvml, self._handle = machine.nvml_device(device)
        self.read()

    def read(self) -> float:
        return (
            float(self._pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000
        )  # it counts in thousandths


class Rapl:
    """The energy of all processor packages; each counter begins anew at its own end."""

    name = "RAPL energy of the processor packages, the whole machine's"

    def __init__(self, zones: list[Path]):
        self._zones = zones
        self._ends = [
            int((zone / "max_energy_range_uj").read_text(encoding="ascii")) for zone in zones
        ]
        self._last = self._now()
        self._sum = 0.0

    def read(self) -> float:
        now = self._now()
        self._sum += (
            sum((b - a) % (end + 1) for a, b, end in zip(self._last, now, self._ends, strict=True))
            / 1e6
        )
        self._last = now
        return self._sum

    def _now(self) -> list[int]:
        return [int((zone / "energy_uj").read_text(encoding="ascii")) for zone in self._zones]


def counter(device: str) -> tuple[Counter | None, str]:
    """The counter of a device, and why there is none."""
    if is_cuda(device):
        try:
            return Nvml(device), ""
        except Exception as error:  # no package, no driver, or a card that does not count
            return None, f"the GPU's driver gives no energy counter: {error}"
    zones = sorted(
        zone
        for zone in POWERCAP.glob("intel-rapl:*")
        if zone.name.count(":") == 1 and _is_package(zone)
    )
    if not zones:
        return None, "this machine shows no energy counter (RAPL)"
    try:
        return Rapl(zones), ""
    except OSError as error:
        return None, f"the energy counter cannot be read: {error.strerror or error}"
    except ValueError as error:
        return None, f"the energy counter cannot be read: {error}"


def _is_package(zone: Path) -> bool:
    """Whether a zone is a processor package; others contain these, or are parts of them."""
    try:
        return (zone / "name").read_text(encoding="ascii").startswith("package")
    except OSError:
        return False
