"""What nearly every command and worker of a run would import or compute anew: imported by the
process that forks them (see forks.py).

Adapters are not: which of them are loaded is part of a model's fingerprint. Nor is what reads the
environment when it is imported, as `huggingface_hub`, `datasets` and `transformers` do.
"""

from __future__ import annotations

import importlib
from contextlib import suppress

from llmbench.conformance import certificates

LLMBENCH = ("api", "cli.main", "leaderboard.renderers.html", "runner.run", "runner.worker")
OTHERS = ("psutil", "pyarrow.compute", "pyarrow.parquet", "rich.console", "scipy.special", "torch")
OF_DATASETS = ("pandas", "pyarrow.dataset", "fsspec", "httpx", "httpx2", "aiohttp", "multiprocess")

for name in (*(f"llmbench.{name}" for name in LLMBENCH), *OTHERS, *OF_DATASETS):
    with suppress(ImportError):
        importlib.import_module(name)
certificates.version()
