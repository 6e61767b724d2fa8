"""Print the memory and the time of large texts: one long line, and many documents.

    python tests/benchmarks/sizes.py --line 50_000_000 --documents 1_000_000 --out FOLDER

For each model: a first run, one with nothing to do, and `report`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.peaks import measure, run_arguments, write_documents, write_line, write_suite


def main() -> None:
    """Write the texts, run, and print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--line", type=int, default=50_000_000, help="bytes")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--models", nargs="+", default=["uniform-bytes"])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    texts = [write_line(asked.out / "line.txt", asked.line)] if asked.line else []
    if asked.documents:
        texts.append(write_documents(asked.out / "documents.jsonl", asked.documents))
    for text in texts:
        suite = write_suite(text)
        for model in asked.models:
            out = asked.out / f"{text.stem}-{model}"
            run = run_arguments(suite, model, out)
            for name, command in (("run", run), ("again", run), ("report", ("report", str(out)))):
                peaks = measure(*command)
                print(
                    f"{text.name} {model} {name}: {peaks.seconds:.1f} s, parent"
                    f" {peaks.parent / 1e6:.0f} MB, worker {peaks.worker / 1e6:.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
