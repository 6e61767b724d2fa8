"""The suites of the field's tasks send what lm-eval 0.4.13's own tasks send, character for
character: on data in the layouts of the hub, without and with examples.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from support import field_data, small_checkpoints
from support.known import Known, quiet

from llmbench.adapter import Request
from llmbench.plan import suite as suites
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.multiple_choice import MultipleChoice

lm_eval = pytest.importorskip("lm_eval")
datasets = pytest.importorskip("datasets")
task_module = pytest.importorskip("lm_eval.api.task")
loader = pytest.importorskip("lm_eval.tasks._yaml_loader")
THEIRS = Path(lm_eval.__file__).parent / "tasks"
SHIPPED = Path(suites.__file__).parents[2] / "suites"
# suite -> lm-eval's file, the parts that it reads, and the numbers of examples
CASES = {
    "hellaswag": ("hellaswag/hellaswag.yaml", "validation", (0, 5)),
    "piqa": ("piqa/piqa.yaml", "validation", (0, 5)),
    "winogrande": ("winogrande/default.yaml", "validation", (0, 5)),
    "lambada": ("lambada/lambada_openai.yaml", "test", (0,)),
    "arc-easy": ("arc/arc_easy.yaml", "test", (0, 5)),
    "arc-challenge": ("arc/arc_challenge.yaml", "test", (0, 5)),
    "openbookqa": ("openbookqa/openbookqa.yaml", "test", (0, 5)),
    "boolq": ("super_glue/boolq/default.yaml", "validation", (0, 5)),
    "commonsenseqa": ("commonsense_qa/default.yaml", "validation", (0, 5)),
    "gsm8k": ("gsm8k/gsm8k.yaml", "test", (0, 5)),
}
NAMES = {"acc": "accuracy", "acc_norm": "accuracy:char", "acc_mutual_info": "accuracy:pmi"}


def build_theirs(file, parts, shots, **more):
    """lm-eval's task over rows that are here. parts: split -> rows."""
    found = {part: datasets.Dataset.from_list(rows) for part, rows in parts.items()}

    class Local(task_module.ConfigurableTask):
        def download(self, *_, **__):
            self.dataset = datasets.DatasetDict(found)

    config = loader.load_yaml(THEIRS / file, resolve_func=True)
    for key in ("tag", "task_alias", "group", "include"):
        config.pop(key, None)
    return Local(config={**config, "num_fewshot": shots, **more})


def ask(task):
    """The arguments of all requests, question by question."""
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    return task.instances


def move(context, answer):
    """Context and continuation as lm-eval's models part them."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + answer


def build_ours(tmp_path, name, parts, shots, at=0):
    """Our task over the same rows, from files."""
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^    shots: \d+\n", "", text, flags=re.MULTILINE)
    text = text.replace("draw:", f"shots: {shots}\n    draw:") if "- task:" in text else text
    text = re.sub(r"\{task: ([\w-]+), name", rf"{{task: \1, shots: {shots}, name", text)
    if name == "lambada":
        text = text.replace("shots: 0, ", "")
    (tmp_path / "suite.yaml").write_text(text, encoding="utf-8")
    suite = suites.read(str(tmp_path / "suite.yaml"))
    suite.load_texts(
        {key: field_data.write_rows(tmp_path / f"{key}.jsonl", rows) for key, rows in parts.items()}
    )
    settings = suite.tasks[at]
    kind = suites.task_registry.task_class(settings.task)
    return kind.from_settings(settings, suite.texts, 0)


def list_sent(task):
    """What our task scores: (context, continuation); or what it has answered."""
    if isinstance(task, MultipleChoice | LastWord):
        return [
            (passage.context, passage.text)
            for document in task.text.documents
            for passage in task.list_passages(document, Known())
        ]
    return [request.prompt for request in task._requests(Known())]


def list_theirs(instances):
    if instances[0].request_type == "loglikelihood":
        return [move(*instance.args) for instance in instances]
    return [instance.args[0] for instance in instances if instance.request_type != "loglikelihood"]


@pytest.mark.parametrize(
    ("name", "shots"), [(name, shots) for name, case in CASES.items() for shots in case[2]]
)
def test_prompts_are_lm_evals(tmp_path, name, shots):
    file, part, _ = CASES[name]
    asked, examples = field_data.make_rows(name, part, 12), field_data.make_rows(name, "train", 20)
    theirs = ask(build_theirs(file, {part: asked, "train": examples}, shots))
    source = name.replace("-", "_")
    more = {} if name == "lambada" else {f"{source}_train": examples}
    ours = build_ours(tmp_path, name, {source: asked, **more}, shots)
    assert list_sent(ours) == list_theirs(theirs)


def test_mmlus_prompts_are_lm_evals_subject_by_subject(tmp_path):
    asked, dev = field_data.make_rows("mmlu", "test", 12), field_data.make_rows("mmlu", "dev", 12)
    ours = build_ours(tmp_path, "mmlu", {"mmlu": asked, "mmlu_dev": dev}, 5)
    sent, theirs = list_sent(ours), {}
    for subject in field_data.SUBJECTS:
        parts = {
            part: [row for row in rows if row["subject"] == subject]
            for part, rows in (("test", asked), ("dev", dev))
        }
        theirs[subject] = iter(
            list_theirs(ask(build_theirs(f"mmlu/default/mmlu_{subject}.yaml", parts, 5)))
        )
    for at, row in enumerate(asked):
        assert sent[4 * at : 4 * at + 4] == [next(theirs[row["subject"]]) for _ in range(4)]


def test_every_subject_of_mmlu_is_called_as_in_lm_evals_files():
    files = sorted((THEIRS / "mmlu" / "default").glob("mmlu_*.yaml"))
    assert len(files) == 57
    for file in files:
        config = loader.load_yaml(file, resolve_func=False)
        subject = config["dataset_name"].replace("_", " ")
        header = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        assert config["description"] == header


def test_squads_prompts_are_lm_evals(tmp_path):
    squad = pytest.importorskip("lm_eval.tasks.squadv2.task")
    asked = field_data.make_rows("squad", "validation", 20)

    class Local(squad.SQuAD2):
        def download(self, *_, **__):
            rows = datasets.Dataset.from_list(asked)
            self.dataset = datasets.DatasetDict({"validation": rows, "train": rows})

    suite = suites.read(str(SHIPPED / "squad.yaml"))
    place = field_data.write_rows(tmp_path / "squad.jsonl", asked)
    suite.load_texts(dict.fromkeys(("squad", "squad_v2"), place))
    theirs = list_theirs(ask(Local()))
    for settings in suite.tasks:
        kind = suites.task_registry.task_class(settings.task)
        assert list_sent(kind.from_settings(settings, suite.texts, 0)) == theirs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_checkpoints.MAKERS["gpt2"](tmp_path_factory.mktemp("model") / "m", context=256)


@pytest.mark.parametrize(
    ("name", "shots", "pmi"),
    [("hellaswag", 0, False), ("winogrande", 1, False), ("openbookqa", 5, True)],
)
def test_every_item_is_right_or_wrong_as_for_lm_eval(tmp_path, folder, name, shots, pmi):
    huggingface = pytest.importorskip("lm_eval.models.huggingface")
    file, part, _ = CASES[name]
    asked, examples = field_data.make_rows(name, part, 16), field_data.make_rows(name, "train", 20)
    names = ["acc"] if name == "winogrande" else ["acc", "acc_norm", *["acc_mutual_info"] * pmi]
    task = build_theirs(
        file,
        {part: asked, "train": examples},
        shots,
        metric_list=[{"metric": name} for name in names],
    )
    model = huggingface.HFLM(pretrained=str(folder), dtype="float32", device="cpu")
    instances = ask(task)
    said = iter(model.loglikelihood(instances, disable_tqdm=True))
    results: dict = {}
    for instance in instances:
        results.setdefault(instance.metadata[1], []).append(next(said))
    theirs = [task.process_results(doc, results[at]) for at, doc in enumerate(task.eval_docs)]
    ours = build_ours(tmp_path, name, {name: asked, f"{name}_train": examples}, shots)
    if pmi:
        ours.norms = (*ours.norms, "pmi")
    samples = ours.run(small_checkpoints.load(folder), quiet).samples
    for at, (sample, their) in enumerate(zip(samples, theirs, strict=True)):
        bits = [-nats / math.log(2) for nats, _ in results[at]]
        assert sample["bits"] + list(sample.get("unconditional", [])) == pytest.approx(
            bits, rel=1e-5
        )
        for metric, key in NAMES.items():
            if metric in names:
                assert sample["statistics"][key][0] == their[metric]


def test_last_words_are_said_or_not_as_for_lm_eval(tmp_path, folder):
    huggingface = pytest.importorskip("lm_eval.models.huggingface")
    ours = small_checkpoints.load(folder)
    asked = field_data.make_rows("lambada", "test", 80)
    contexts = [row["text"].rpartition(" ")[0] for row in asked]
    requests = [Request(context, max_tokens=1, add_bos=ours.adds_bos) for context in contexts]
    tokens = [""] * len(asked)
    for chunk in ours.generate(requests):
        tokens[chunk.row] += chunk.text
    goes_on = [at for at, token in enumerate(tokens) if re.fullmatch(r" \w+", token)]
    asked = [{"text": contexts[at] + tokens[at]} for at in goes_on[:3]] + asked[:5]
    file, part, _ = CASES["lambada"]
    task = build_theirs(file, {part: asked}, 0)
    model = huggingface.HFLM(pretrained=str(folder), dtype="float32", device="cpu")
    said = model.loglikelihood(ask(task), disable_tqdm=True)
    assert {is_greedy for _, is_greedy in said} == {True, False}
    samples = build_ours(tmp_path, "lambada", {"lambada": asked}, 0).run(ours, quiet).samples
    for sample, (nats, is_greedy) in zip(samples, said, strict=True):
        assert sample["statistics"]["accuracy"][0] == float(is_greedy)
        bits = sample["statistics"]["word_perplexity"][0]
        assert bits == pytest.approx(-nats / math.log(2), rel=1e-5)
