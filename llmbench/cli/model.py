"""The commands about one model: `llmbench score`, `generate`, `train` and `check`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench import limits
from llmbench.cli import options
from llmbench.errors import UsageError

if TYPE_CHECKING:
    from llmbench.adapter import Adapter
    from llmbench.conformance.kit import Result

SCORE_LINES = (
    "bytes",
    "documents",
    "tokens",
    "words",
    "byte_perplexity",
    "word_perplexity",
    "token_perplexity",
    "signature",
)


@click.command()
@click.argument("spec")
@click.argument("textfile", type=click.Path(path_type=Path))
@click.option(
    "--window",
    default="half",
    show_default=True,
    help="How a text longer than the context is cut: half, rolling, or a stride in tokens.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="text=NAME",
    callback=options.parse_pairs,
    help="Field of the rows of TEXTFILE that holds the text. a.b: b in the object a.",
)
@options.json_output
@options.model_options()
def score(
    spec: str,
    textfile: Path,
    window: str,
    fields: Mapping[str, str],
    as_json: bool,
    model: options.ModelOptions,
) -> int:
    """Print the bits per byte of the model SPEC on the text TEXTFILE.

    TEXTFILE is one document, a file of rows with a document in each (.jsonl, .json, .csv, .tsv,
    also .gz), or the name of a built-in text.
    """
    from llmbench.leaderboard.numbers import format_plain
    from llmbench.runner import session
    from llmbench.runner.progress import spinner

    spec = model.name_spec(spec)
    session.find(spec)  # says what is wrong with its files before torch is imported
    arguments = model.make_arguments()
    with spinner() as progress:
        facts = session.score(
            spec,
            textfile,
            window=int(window) if re.fullmatch("-?[0-9]{1,9}", window) else window,
            fields=fields,
            given=model.data,
            progress=progress,
            **arguments,
        )
    if as_json:
        click.echo(json.dumps(facts))
        return 0
    value, low, high = facts["bits_per_byte"], facts["low"], facts["high"]
    shown = value if isinstance(value, str) else format_plain(value, 4)
    interval = (
        ""
        if low is None or high is None
        else f" (95 % interval {format_plain(low, 4)} to {format_plain(high, 4)})"
    )
    click.echo(f"{facts['model']} on {facts['text']}: {shown} bits per byte{interval}")
    rows: Mapping[str, object] = facts
    for key in SCORE_LINES:
        fact = rows[key]
        if fact is not None:
            click.echo(f"  {key}: {format_plain(fact, 4) if isinstance(fact, float) else fact}")
    return 0


@click.command()
@click.argument("spec")
@click.argument("prompt")
@click.option(
    "--max-bytes",
    default=300,
    show_default=True,
    type=click.IntRange(1, limits.TEXT_BYTES),
    help="Length of the generated text.",
)
@click.option(
    "--temperature",
    default=0.8,
    show_default=True,
    type=options.Number(0, limits.TEMPERATURE),
    help="Sampling temperature; 0 is greedy.",
)
@click.option(
    "--top-k",
    default=None,
    type=click.IntRange(1, limits.IDS),
    help="Sample from the K likeliest tokens.",
)
@click.option(
    "--top-p",
    default=None,
    type=options.Number(0, 1, min_open=True),
    help="Sample from the fewest tokens whose probabilities sum to at least P.",
)
@click.option("--stop", multiple=True, metavar="TEXT", help="Stop before this text.")
@click.option(
    "--chat", is_flag=True, help="Ask PROMPT as a user's message in the model's chat template."
)
@click.option("--system", metavar="TEXT", help="The same, after this system message.")
@options.model_options()
def generate(
    spec: str,
    prompt: str,
    chat: bool,
    system: str | None,
    model: options.ModelOptions,
    **sampling: Any,
) -> int:
    """Generate text from PROMPT with the model SPEC, streaming it to stdout."""
    from llmbench.adapter import Request
    from llmbench.inference.text.answer import stream_answers, trim_answer
    from llmbench.runner import session
    from llmbench.runner.progress import spinner
    from llmbench.runner.screening import screen
    from llmbench.storage import default_cache

    system = "" if chat and system is None else system
    request = Request(prompt, seed=model.seed, chat=system, **sampling)
    spec = model.name_spec(spec)
    session.find(spec)  # says what is wrong with its files before torch is imported
    arguments = model.make_arguments()
    with spinner() as progress:
        card, adapter = session.load_model(spec, model.data, progress=progress, **arguments)
        with session.model_errors(card.name):
            screen(adapter, card.name, progress, default_cache())
            adapter.sign_prompts(request.chat)  # raises if it has no chat template
            _warn_of_prompt(adapter, card.name, prompt)
    shown = (
        prompt if request.chat is None else ""
    )  # printed with the first chunk: stdout stays empty if the model cannot generate
    raw, written = "", 0
    with session.model_errors(card.name):
        for chunk in stream_answers(adapter, [request]):
            raw += chunk.text
            said = trim_answer(raw, request)
            click.echo(shown + said[written:], nl=False)
            sys.stdout.flush()
            shown, written = "", max(written, len(said))
    click.echo(shown)
    return 0


def _warn_of_prompt(adapter: Adapter, name: str, prompt: str) -> None:
    """Say on stderr what of the prompt the model does not read as it stands."""
    read, whole = adapter.measure_prompt(prompt)[0], len(prompt.encode())
    if read < whole:
        part = "beginning" if adapter.reads_source else "end"
        click.echo(
            f"llmbench: {name} reads only the {part} of the prompt: {read} of {whole} bytes fit"
            " into its context",
            err=True,
        )
    if loss := adapter.find_prompt_loss(prompt):
        click.echo(
            f"llmbench: the tokenizer of {name} cannot hold the prompt, which is read as it reads"
            f" it: {loss}",
            err=True,
        )


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--retrain", is_flag=True, help="Train it even if it is trained already.")
@click.option(
    "--shipped",
    is_flag=True,
    help="For developers: train the baselines whose weights come with llmbench and are missing or"
    " stale, or those of NAME, and write them into this llmbench.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="With --shipped: write nothing, train all (or NAME) again, and say whether the same"
    " weights come out.",
)
@options.model_options("dtype", "quantize", "compile", "device_map")
def train(
    names: tuple[str, ...],
    retrain: bool,
    shipped: bool,
    verify: bool,
    model: options.ModelOptions,
) -> int:
    """Train the baseline NAME (`llmbench run` does so when needed), and print where it is saved.

    Without --data it learns from the built-in tales.
    """
    if shipped:
        return _train_shipped(names, verify, model)
    if verify:
        raise UsageError("--verify is about the weights of --shipped")
    if len(names) != 1:
        raise UsageError("expected one NAME", hint="see `llmbench models`")
    from llmbench.runner import session
    from llmbench.runner.progress import spinner

    (name,) = names
    found = session.find(name)
    if found.card.recipe is None:
        raise UsageError(
            f"{found.name} is not a model that llmbench trains", hint="see `llmbench models`"
        )
    arguments = model.make_arguments()
    with spinner() as progress:
        found, adapter, build_context = session.load_with_context(
            name, model.data, progress=progress, retrain=retrain, **arguments
        )
    facts = adapter.info.training or {}
    click.echo(found.place_trained(build_context).current)
    for step, bits in facts.get("curve", []):
        click.echo(f"  step {step}: {bits:.4f} bits per byte on the validation text", err=True)
    came = f" (came with llmbench: {facts['shipped']})" if "shipped" in facts else ""
    click.echo(f"  {facts.get('steps')} steps in {facts.get('seconds')} s{came}", err=True)
    return 0


def _train_shipped(names: tuple[str, ...], verify: bool, model: options.ModelOptions) -> int:
    """Renew or verify the weights that come with llmbench; 1 if some are not as they should be."""
    if model.data or model.seed or model.device not in ("auto", "cpu"):
        raise UsageError("--shipped takes no --data, --seed and --device: its suites say them")
    options.set_threads(model.threads or 2)
    from llmbench.runner.progress import spinner
    from llmbench.runner.shipping import renew

    is_right = True
    with spinner() as progress:
        work = renew.verify if verify else renew.renew
        for report in work(names, progress):
            click.echo(f"{report.target.name}: {report.said}")
            is_right = is_right and report.is_right
    return 0 if is_right else 1


@click.command()
@click.argument("spec")
@options.json_output
@click.option("--only", multiple=True, metavar="CHECK", help="Run only the checks of these names.")
@click.option(
    "--timeout",
    default=limits.CHECK_SECONDS,
    show_default=True,
    type=options.Number(min=0, min_open=True),
    help="Time limit of one check in seconds.",
)
@options.model_options()
def check(
    spec: str,
    as_json: bool,
    only: tuple[str, ...],
    timeout: float,
    model: options.ModelOptions,
) -> int:
    """Run the conformance checks on an adapter and report the certificate it earns."""
    from llmbench.runner.check import Proof
    from llmbench.runner.progress import spinner

    arguments = model.make_arguments()
    with spinner() as progress:
        proof = Proof(model.name_spec(spec), model.data, only, timeout, progress, **arguments)
    for result in proof.run():
        row = (result.name, result.state, result.seconds)
        click.echo(f"{row[0]:<19}{row[1]:<8}{row[2]:>8.2f} s  {_details(result)}", err=as_json)
    report = proof.report()
    if as_json:
        click.echo(json.dumps(report))
    else:
        for level, shown in report["certificate"]["levels"].items():
            click.echo(f"{level} {shown['state']}{': ' if shown['why'] else ''}{shown['why']}")
    if any(result.state == "timeout" for result in proof.results):
        click.echo(
            "llmbench: some checks ran out of time; check again to go on with them", err=True
        )
    return int(any(result.bad for result in proof.results))


def _details(result: Result) -> str:
    """What a check tried; of one that failed, its rule and what happened, line by line."""
    parts = [
        f"{title}: {value}"
        for title, value in (
            ("rule", result.rule),
            ("input", result.sent),
            ("result", result.came),
            ("likely cause", result.cause),
        )
        if value
    ]
    if not result.bad:
        return result.tried or result.reason
    return "\n    ".join(["", *parts])


COMMANDS = (score, generate, train, check)
