"""Exports that are files are read back by those who read such files: nothing is lost or changed."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet
import pytest
import yaml
from click.testing import CliRunner
from pyarrow import feather
from support import exported_runs, hand_record
from support.exported_runs import HOSTILE, make, scores_of

from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.integrations.exports.deliver import deliver
from llmbench.integrations.exports.entries import list_keys
from llmbench.integrations.exports.registry import TARGETS, find_target
from llmbench.integrations.exports.target import Source, name_file
from llmbench.results.record import Record
from llmbench.results.samples import Opened

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "reports/example/run.json"
FILES = [target.name for target in TARGETS.values() if not target.is_tracker]


def text_of(export, path):
    return next(file.content.decode() for file in export.files if file.path == path)


def test_the_schema_holds_the_example_run_and_refuses_a_wrong_one():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(text_of(make("json-schema", exported_runs.example()), "run.schema.json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    data = json.loads(EXAMPLE.read_text())
    validator.validate(data)
    validator.validate(hand_record.data())  # with infinite bits
    data["scores"][0]["value"] = "2.1"
    assert [error.json_path for error in validator.iter_errors(data)] == ["$.scores[0].value"]


def test_a_table_for_a_paper_has_every_value_interval_and_rank():
    source = exported_runs.example()
    text = text_of(make("latex", source), "likelihood-bits_per_byte.tex")
    rows = re.findall(r"^(\S+) & (\S+) & (.+) & (\S+) \\\\$", text, re.MULTILINE)
    assert rows[1:] == [
        ("byte-ngram", r"\textbf{2.1807}", "[2.1220, 2.2394]", "1--2"),
        ("transformer-decoder", r"\textbf{2.2101}", "[2.1501, 2.2701]", "1--3"),
        ("lstm", "2.9353", "[2.9013, 2.9693]", "4"),
        ("uniform-bytes", "8.0000", "[8.0000, 8.0000]", "5"),
        ("zlib", "4.0108", "[3.9705, 4.0511]", "--"),
        ("mine", r"$\infty$", "--", "--"),
    ]
    assert rows[0] == ("model", "bits/byte", r"95\,\% interval", "rank")
    assert "18 items; lower is better" in text
    assert r"\begin{tabular}{lrcc}" in text


SAID = {
    **{sign: sign for sign in "{}$&#%_"},
    **{"textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~", "textless": "<"},
    **{"textgreater": ">", "textquotedbl": '"', "textbar": "|"},
    **{"textquotesingle": "'", "textasciigrave": "`"},
}


def test_latex_of_a_hostile_name_is_read_as_the_name():
    """No macro but those that print a sign, and the text is the name without control characters."""
    latexwalker = pytest.importorskip("pylatexenc.latexwalker")
    from llmbench.integrations.exports.latex import escape_latex

    def read(nodes):
        for node in nodes:
            if node.isNodeType(latexwalker.LatexGroupNode):
                yield from read(node.nodelist)
            elif node.isNodeType(latexwalker.LatexMacroNode):
                yield SAID[node.macroname] + node.macro_post_space
            else:
                yield node.chars

    said = "".join(read(latexwalker.LatexWalker(escape_latex(HOSTILE)).get_latex_nodes()[0]))
    assert said == " ".join("".join(c if c.isprintable() else " " for c in HOSTILE).split())


@pytest.mark.parametrize("kind", ["example", "hostile"])
def test_pdflatex_takes_the_tables_without_an_error(tmp_path, kind):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    tables = make("latex", getattr(exported_runs, kind)()).files
    packages = "\\usepackage[T1]{fontenc}\\usepackage{textcomp,booktabs}"
    body = "\n".join(file.content.decode() for file in tables)
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{{article}}{packages}\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "-output-format=dvi", "paper"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    said = (tmp_path / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, said
    assert not re.search(r"^!|Missing character|root:", said, re.MULTILINE)
    assert "Output written on paper.dvi (1 page" in said


@pytest.mark.parametrize(
    ("target", "read"), [("parquet", pyarrow.parquet.read_table), ("arrow", feather.read_table)]
)
def test_the_tables_hold_every_score_and_every_sample(tmp_path, target, read):
    source = exported_runs.run(tmp_path / "run", "a", "b")
    for file in make(target, source).files:
        (tmp_path / file.path).write_bytes(file.content)
    scores = read(tmp_path / f"scores.{target}").to_pylist()
    assert [(s["model"], s["value"], s["low"], s["high"], s["unit"], s["n"]) for s in scores] == [
        (s.model, s.value, s.low, s.high, s.unit, s.n) for s in scores_of(source)
    ]
    samples = read(tmp_path / f"samples.{target}").to_pylist()
    assert len(samples) == 2 * (2 + 3)
    last = next(row for row in samples if row["task"] == "multiple-choice" and row["id"] == "d2")
    assert (last["suite"], last["model"], last["input"]) == ("by-hand", "a", "asked d2")
    assert last["output"] == "\\ud800c"
    assert last["statistics"] == [("accuracy", [0.0, 1.0])]


def test_a_model_card_has_every_score_with_its_interval_and_unit(tmp_path):
    from huggingface_hub import ModelCard

    source = exported_runs.example()
    for model in {score.model for score in scores_of(source)}:
        card = ModelCard(text_of(make("model-index", source), f"{name_file(model)}/README.md"))
        wanted = scores_of(source, model)
        assert card.data.model_name == model
        assert [
            (r.task_name, r.metric_type, r.metric_value, r.metric_args.get("low"))
            for r in card.data.eval_results
        ] == [
            (s.task, key, s.value, s.low) for s, key in zip(wanted, list_keys(wanted), strict=True)
        ]
        for result, score in zip(card.data.eval_results, wanted, strict=True):
            assert result.metric_args["unit"] == score.unit
            assert result.metric_args.get("high") == score.high
            assert result.metric_args["n"] == score.n
            assert result.metric_args["signature"] == score.signature
            hub = score.task == "likelihood"
            assert (result.dataset_type == "org/tales") is hub


def test_the_hubs_parser_reads_the_results_of_a_benchmark():
    from huggingface_hub import EvalResultEntry
    from huggingface_hub._eval_results import parse_eval_result_entries

    export = make("hf-eval-results", exported_runs.example())
    (entry,) = parse_eval_result_entries(
        yaml.safe_load(text_of(export, "lstm/.eval_results/by-hand.yaml"))
    )
    assert isinstance(entry, EvalResultEntry)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/tales", "default", 2.9353)
    assert entry.date == "2026-01-02T03:14:05+00:00"
    assert "bits/byte, 95 % interval 2.9013 to 2.9693 over 18 items" in entry.notes
    assert hand_record.SIGNATURE in entry.notes
    assert export.notes == ["left out: bits_per_byte of mine is infinite"]


def test_no_benchmark_of_the_hub_is_guessed():
    source = exported_runs.example()
    with pytest.raises(UsageError, match="--dataset TASK=ORG/NAME:TASK_ID"):
        make("hf-eval-results", Source(source.opened))
    with pytest.raises(UsageError, match="did you mean 'likelihood'"):
        make(
            "hf-eval-results", Source(source.opened, {"likelyhood": source.datasets["likelihood"]})
        )


@pytest.mark.parametrize("target", FILES)
def test_a_hostile_name_stays_a_name_in_every_file(target):
    source = exported_runs.hostile()
    export = make(target, source)
    assert len({file.path for file in export.files}) == len(export.files)
    for file in export.files:
        assert re.fullmatch(r"[A-Za-z0-9_+./-]+", file.path)
        assert not {"", ".."} & set(file.path.split("/"))
        if not file.path.endswith((".parquet", ".arrow")):
            assert "\x1b" not in file.content.decode()


def test_a_hostile_name_is_read_back_from_yaml_and_tables(tmp_path):
    from huggingface_hub import ModelCard

    source = exported_runs.hostile()
    cards = [ModelCard(file.content.decode()) for file in make("model-index", source).files]
    assert {card.data.model_name for card in cards} == {s.model for s in scores_of(source)}
    table = pyarrow.parquet.read_table(
        pyarrow.BufferReader(make("parquet", source).files[0].content)
    )
    assert table["model"].to_pylist() == [s.model for s in scores_of(source)]
    value = dict(zip(table["model"].to_pylist(), table["value"].to_pylist(), strict=True))
    assert math.isinf(value[f"{HOSTILE}mine"])


@pytest.mark.parametrize("name", ["", ".", "..", "con", "a/b", "a:b", "x" * 200, "ü", "data"])
def test_every_name_becomes_one_part_of_a_path(name):
    part = name_file(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]*", part)
    assert len(part) <= 70
    assert name_file(name + "'") != part


def test_the_command_writes_below_the_run_and_says_where(tmp_path):
    folder = exported_runs.run(tmp_path / "run", "a").opened.folder
    done = CliRunner().invoke(cli, ["export", str(folder), "--to", "latex"])
    place = folder / "exports/latex"
    assert (done.exit_code, done.stdout) == (0, f"{place}\n")
    assert sorted(file.name for file in place.iterdir()) == [
        "choice-accuracy.tex",
        "likelihood-bits_per_byte.tex",
    ]


def test_a_dry_run_prints_what_would_be_written_and_writes_nothing(tmp_path):
    folder = exported_runs.run(tmp_path / "run", "a").opened.folder
    done = CliRunner().invoke(cli, ["export", str(folder), "--to", "model-index", "--dry-run"])
    assert done.exit_code == 0
    assert done.stdout.startswith("--- a/README.md (")
    assert "      value: 1.5\n" in done.stdout
    assert not (folder / "exports").exists()


def test_a_run_that_was_interrupted_says_so(tmp_path):
    def tell(**state):
        said = []
        source = Source(Opened(hand_record.record(state=state), tmp_path))
        deliver(find_target("latex"), source, tmp_path / "kept", say=said.append)
        return said

    lacks = "the run is not whole ({}): this is what was measured until then"
    open_cells = {"x": ["speed"]}
    assert tell(end="interrupted", not_reached=open_cells) == [lacks.format("interrupted")]
    assert tell(end="unfinished") == [lacks.format("unfinished")]
    assert tell(end="interrupted") == []  # after its last cell: nothing is missing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--to", "latexx"], "unknown target 'latexx' (did you mean 'latex'?)"),
        (["x", "--to", "latex", "--uri", "http://h"], "latex writes files and takes no address"),
        (["--to", "latex"], "no run (llmbench export RUN --to latex)"),
        (["x", "--to", "latex", "--dataset", "a"], "--dataset 'a' is not TASK=ORG/NAME:TASK_ID"),
        (["nowhere", "--to", "latex"], "cannot read the record"),
    ],
)
def test_a_wrong_export_is_one_line(arguments, said):
    done = CliRunner().invoke(cli, ["export", *arguments])
    assert said in str(done.exception)
    assert isinstance(done.exception, UsageError)


def test_the_targets_are_listed_without_a_run():
    done = CliRunner().invoke(cli, ["export", "--to", "list"])
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(TARGETS)


def test_no_folder_of_the_machine_is_exported(tmp_path):
    source = exported_runs.run(tmp_path / "run", "a")
    for target in FILES:
        for file in make(target, source).files:
            assert str(tmp_path).encode() not in file.content


def test_the_record_still_reads_infinite_bits():
    assert math.isinf(Record.model_validate(hand_record.data()).scores[-1].value)
