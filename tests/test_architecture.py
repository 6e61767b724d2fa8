"""The house keeps its floors: imports run downward, heavy libraries stay where they belong, files stay small, nothing unsafe is called."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import llmbench

PACKAGE = Path(llmbench.__file__).parent
FILES = {".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file for file in sorted(PACKAGE.rglob("*.py"))}
NAMES = {name: "llmbench" if name == "__init__" else f"llmbench.{name}" for name in FILES}

# Lowest first. A module imports from the lines above its own only. The package itself, which everybody may ask for its version,
# has a lazy front door to `api`; it is looked at apart.
LEVELS = """
errors
ledger stats machine record signatures witten_bell imports strict_yaml metrics models adapters muon snapshots body_and_head light_imports
causal_blocks allowance
storyworld_words
events batch_fit watcher storyworld_sentences
storyworld_tree
adapter storyworld questions
data card memory ceilings energy certificates spelling metrics.likelihood metrics.memory metrics.speed metrics.text
metrics.answers metrics.copying metrics.diversity metrics.ngram_distance metrics.plugged metrics.rouge metrics.translation
metrics.catalogue run_folder
items
paired
ranking matching
speed limits
vocabulary tasks hub packing charging batches
pretrained byte_spans models.network carried
scoring generation
bpe
checkpoints loading masked_adapter encoder_decoder_adapter token_adapter training coding stress dissection
checks
checks.charges checks.prediction checks.windows checks.speaking checks.identity checks.decoding
models.char_ffn models.word_ffn models.recurrent models.transformer_decoder models.attention finetuning trained_networks
models.transformer_seq2seq models.transformer_encoder
pair_lessons gap_lessons
adapters.floors adapters.ngram adapters.oracle adapters.network adapters.encoder adapters.seq2seq adapters.huggingface
tasks.likelihood tasks.memory tasks.speed tasks.batch_fit tasks.asking
tasks.writing tasks.choice
tasks.continuation
tasks.translation tasks.answer tasks.last_word
registry tasks.wikitext_lm_eval tasks.conditional task_specs
suite
plan single
conformance jobs
worker proof lm_eval_bridge children
parked attempt fitting rounds
runner
estimate progress notes scaffold doctor
published
columns
passages provenance
leaderboard compare
gate promotion many_runs
merging
renderers
renderers.labels
renderers.chart
renderers.table renderers.markdown renderers.csv renderers.html
renderers.sections
renderers.comparison
renderers.gating
api
cli_catalog cli_boards
cli_compare
cli
"""
LEVEL = {name: number for number, line in enumerate(LEVELS.split("\n")) for name in line.split()}
DRAWING = {
    *("leaderboard", "many_runs", "columns", "notes", "passages", "provenance", "published", "run_folder", "renderers"),
    *(name for name in FILES if name.startswith("renderers.")),
}
COMPARING = {"items", "paired", "matching", "ranking", "merging", "compare", "allowance", "gate", "promotion"}
FORMULAS = {"metrics", "metrics.text", "metrics.translation", "metrics.speed", "metrics.memory"}  # names, and what a comparison computes anew
NUMBERS = {"errors", "ledger", "stats", "machine", "record", "signatures", "witten_bell", "imports", "strict_yaml"}  # levels 1 and 2 of the house
WITH_TORCH = {  # may import torch; worker and cli do so inside a function only
    *(
        "packing",
        "charging",
        "batches",
        "carried",
        "scoring",
        "generation",
        "token_adapter",
        "masked_adapter",
        "encoder_decoder_adapter",
        "adapters.ngram",
        "adapters.network",
    ),
    *(
        "stress",
        "limits",
        "dissection",
        "pair_lessons",
        "gap_lessons",
        "trained_networks",
        "adapters.encoder",
        "adapters.seq2seq",
        "training",
        "muon",
        "snapshots",
        "finetuning",
        "loading",
        "light_imports",
        "causal_blocks",
        "body_and_head",
        "adapters.huggingface",
    ),
    *(name for name in FILES if name.startswith("models.")),
}
HEAVY = ("torch", "transformers", "pandas", "numpy", "scipy", "pyarrow", "pydantic", "safetensors")


def imports(name, *, lazy=True):
    """Everything a module imports, by full name; blocks that only the type checker reads are left out. `lazy`: inside functions too."""

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not lazy:
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}: write imports in full"
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            yield from walk(child)

    return set(walk(ast.parse(FILES[name].read_text(encoding="utf-8"))))


def inside(name, **how):
    """The modules of this package that a module imports."""
    found = set()
    for target in imports(name, **how):
        if target.split(".")[0] == "llmbench":
            parts = target.split(".")[1:]
            while parts and ".".join(parts) not in FILES:  # the rest is a name in the module
                parts = parts[:-1]
            found.add(".".join(parts))
    return found - {""}


def below(name, seen=None):
    """Everything a module leads to. The worker's functions and those of the task of speed run in the child, and the doctor's are its own
    command's: of these, only what they import at their top counts.
    """
    seen = set() if seen is None else seen
    for target in inside(name, lazy=name not in ("worker", "doctor", "tasks.speed")) - seen:
        seen.add(target)
        below(target, seen)
    return seen


def test_every_module_has_its_place_in_the_table():
    assert {name for name in FILES if name != "__init__"} == LEVEL.keys()


@pytest.mark.parametrize("name", sorted(LEVEL))
def test_imports_run_downward(name):
    upward = {other for other in inside(name) if LEVEL[other] >= LEVEL[name]}
    assert not upward, f"{name} imports {', '.join(sorted(upward))}, which stand no lower"


def test_the_imports_are_seen_that_are_there():
    assert {"record", "task_specs", "rounds", "ranking"} <= inside("runner")
    assert "runner" not in inside("cli", lazy=False)
    assert {"runner", "api", "cli_catalog"} <= inside("cli")
    assert "data" not in inside("adapter")  # the type checker alone reads that one
    assert "leaderboard" in below("renderers.table")


def test_the_package_itself_imports_nothing_but_at_its_front_door():
    assert inside("__init__", lazy=False) == set()
    assert inside("__init__") == {"api"}


def test_adapters_never_import_each_other():
    for name in FILES:
        if name.startswith("adapters."):
            assert not {other for other in inside(name) if other.startswith("adapters.")}, name


def test_boards_see_nothing_but_numbers_and_plain_data():
    for name in DRAWING:
        assert below(name) <= DRAWING | NUMBERS, name
        assert not {target for part in (name, *below(name)) for target in imports(part) if target.split(".")[0] in ("torch", "transformers")}, name


def test_comparisons_see_numbers_and_formulas_beside_that():
    for name in COMPARING:
        found = {name, *below(name)}
        assert found <= COMPARING | DRAWING | NUMBERS | FORMULAS, name
        assert not {target for part in found for target in imports(part) if target.split(".")[0] in ("torch", "transformers")}, name


def test_torch_is_imported_where_networks_are_and_nowhere_else():
    def uses(name, **how):
        return any(target.split(".")[0] in ("torch", "safetensors", "transformers") for target in imports(name, **how))

    assert {name for name in FILES if uses(name, lazy=False)} <= WITH_TORCH
    lazily = {"memory", "worker", "parked", "attempt", "cli", "lm_eval_bridge", "doctor", *(name for name in FILES if name.startswith("checks"))}
    assert {name for name in FILES if uses(name)} <= WITH_TORCH | lazily


def test_nothing_that_the_parent_imports_leads_to_torch():
    for name in ("runner", "api", "single", "progress", "estimate", "cli"):
        assert not below(name) & WITH_TORCH, name


def loaded(*arguments):
    """The heavy libraries that a fresh interpreter loads."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=60, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "llmbench" in modules
    return {module for module in modules if module in HEAVY}


@pytest.mark.parametrize("arguments", [("-c", "import llmbench"), ("-m", "llmbench.cli", "--help"), ("-m", "llmbench.cli", "run", "--help")])
def test_the_front_is_light(arguments):
    assert loaded(*arguments) == set()


def test_the_parent_of_a_run_and_the_painter_of_boards_load_no_torch():
    assert not loaded("-c", "import llmbench.api, llmbench.runner, llmbench.progress, llmbench.estimate") & {"torch", "transformers", "pandas"}
    assert not loaded("-c", "import llmbench.leaderboard, llmbench.renderers.html, llmbench.cli_compare") & {
        "torch",
        "transformers",
        "pandas",
        "numpy",
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_stay_small_and_say_what_they_are_for(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert len(text.split("\n")) <= 401, "over 400 lines"
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert not set(name.split(".")) & {"utils", "util", "common", "base", "core", "helpers", "misc"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_functions_stay_short(name):
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


@pytest.mark.parametrize("file", [*FILES.values(), *sorted((PACKAGE / "templates").iterdir())], ids=lambda file: file.name)
def test_nothing_unsafe_is_called(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(
        r"\b(pickle|cloudpickle|joblib|dill|shelve|marshal)\b|\btorch\.load\(|trust_remote_code=True|\byaml\.(load|unsafe_load|full_load)\(", text
    )
    assert not re.search(r"(?<![\w.])(eval|exec)\(|shell=True|os\.system|os\.popen", text)


def test_a_worker_and_the_parent_of_a_run_load_no_scipy_before_a_number_needs_it():
    """It would be more than a quarter of the memory of a model that needs no torch, and a quarter of a second in each process."""
    for code in ("import llmbench.worker", "import llmbench.api, llmbench.runner"):
        assert not loaded("-c", code) & {"torch", "transformers", "pandas", "scipy"}
