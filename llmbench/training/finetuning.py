"""Checkpoints that are trained here: a GPT-2 of one's own from nothing, or any causal checkpoint
that goes on with another text, all of its weights or a low-rank adaptation (LoRA).

They are kept as `save_pretrained` writes them, so that `hf:DIRECTORY` and every other program can
load them; `llmbench.json` beside the weights says how they came about. A training that was
interrupted goes on from its last snapshot.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmbench.adapter import BuildContext, Window
from llmbench.config.model_card import Lora, NewCheckpoint, Stage, find_bos
from llmbench.data.text import Text
from llmbench.errors import Unsupported, UsageError
from llmbench.inference import scoring
from llmbench.inference.token_model import TokenModel
from llmbench.models.networks.network import Network
from llmbench.models.pretrained import files as pretrained_files
from llmbench.models.pretrained import lm_head
from llmbench.models.pretrained.files import Checkpoint
from llmbench.models.pretrained.loading import Loaded, load, quiet
from llmbench.models.pretrained.low_rank import import_peft
from llmbench.models.pretrained.special_ids import check_bos, count_rows
from llmbench.models.tokenizers.byte_offsets import ByteTokenizer
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.storage import place_folder
from llmbench.training.cache import find_training_texts
from llmbench.training.causal_lm import as_training_line
from llmbench.training.place import Place, place_stages
from llmbench.training.resume import Snapshots, TrainingFacts
from llmbench.training.rounding import shrink_weights
from llmbench.training.trainer import Course, train, valid_passages

END = "<|endoftext|>"  # GPT-2's: it stands before and after every text
FACTS = "llmbench.json"
PROBE = 8


def obtain(
    stages: Sequence[Stage], build_context: BuildContext
) -> tuple[Checkpoint, TrainingFacts | None]:
    """The checkpoint of the last stage, and how it was trained, where it was trained here. Those
    before it are trained first.
    """
    last = stages[-1]
    if last.recipe is None:
        assert last.checkpoint.id is not None
        return (
            pretrained_files.locate(
                last.checkpoint.id, last.checkpoint.revision, fetch=not build_context.offline
            ),
            None,
        )
    if stages[0].checkpoint.id is not None:
        pretrained_files.locate(
            stages[0].checkpoint.id, stages[0].checkpoint.revision, fetch=not build_context.offline
        )
    place = place_stages(stages, build_context)
    place.tell_damage()
    facts = _kept(place)
    if facts is None:
        if find_training_texts(last, build_context)[0] is None:
            raise UsageError(
                "this model is trained by llmbench and needs a text",
                where=last.name,
                hint="give one with --data train=PATH",
            )
        begin = _begin(stages, build_context)
        shutil.rmtree(place.folder, ignore_errors=True)
        facts = _train(begin, last, build_context, place.folder)
    return Checkpoint(last.name, place.current), facts


def _kept(place: Place) -> TrainingFacts | None:
    """How the checkpoint that came with llmbench, or is in the cache, was trained; None where there
    is none, or where it is damaged (it is then removed, to be made again).
    """
    if place.shipped is None and not place.is_kept():
        return None
    file = place.current / FACTS
    training: TrainingFacts = json.loads(file.read_text(encoding="utf-8"))["training"]
    if place.shipped is not None:
        training["shipped"] = place.shipped.describe()
    return training


def _begin(stages: Sequence[Stage], build_context: BuildContext) -> Loaded:
    """The model that the last stage starts with."""
    last = stages[-1]
    if last.checkpoint.new is not None:
        text = find_training_texts(last, build_context)[0]
        assert text is not None
        return _new(last, last.checkpoint.new, text, build_context)
    if len(stages) > 1:
        checkpoint = obtain(stages[:-1], build_context)[0]
    else:
        assert last.checkpoint.id is not None
        checkpoint = pretrained_files.locate(last.checkpoint.id, last.checkpoint.revision)
    trusted = last.checkpoint.trust_remote_code
    loaded = load(checkpoint, "float32", build_context.device, trusted, find_bos(stages))
    if loaded.kind != "causal":
        raise Unsupported(
            f"a {loaded.kind} checkpoint is not fine-tuned here",
            where=last.name,
            hint="causal ones are",
        )
    return loaded


def _new(stage: Stage, spec: NewCheckpoint, text: Text, build_context: BuildContext) -> Loaded:
    """GPT2LMHeadModel with weights drawn from the seed, over a byte-level BPE learnt on the text,
    as a checkpoint that is loaded like any other.
    """
    build_context.progress("vocabulary", 0.0, "")
    quiet()
    transformers = importlib.import_module("transformers")
    tokenizer = learn_bpe([document.whole for document in text.documents], spec.vocabulary)
    torch.manual_seed(build_context.seed)
    try:
        config = transformers.GPT2Config(
            vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **spec.config
        )
        model = transformers.GPT2LMHeadModel(config)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"cannot make the network: {error}",
            where=stage.name,
            hint="look at `checkpoint: new: config`",
        ) from None
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
        return load(Checkpoint(stage.name, Path(place)), "float32", build_context.device)


def learn_bpe(texts: Sequence[str], size: int) -> Any:
    """A byte-level BPE (Sennrich et al. 2016; bytes: Radford et al. 2019) of at most `size` ids, id
    0 the end of text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    transformers = importlib.import_module("transformers")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END
    )


class _Learner(Network):
    """A loaded checkpoint as the trainer and the scorer see a network."""

    def __init__(self, loaded: Loaded, model: Any, bare: Any):
        """`model`: what is trained. `bare`: the same without peft's wrapper, if it has one."""
        super().__init__()
        self.model, self.device, self.context = model, loaded.device, loaded.context
        self._text, self._start = ByteTokenizer(loaded.tokenizer), loaded.bos_ids
        ids = torch.arange(PROBE, device=loaded.device)[None] % max(1, len(loaded.tokenizer))
        was = bare.training
        parts = lm_head.split(bare.eval(), ids, use_cache=False)
        bare.train(was)
        if parts is None:
            raise Unsupported(
                "no body and head that equal the whole were found, which training needs",
                where=loaded.checkpoint.id,
            )
        self._parts = [
            parts
        ]  # in a list: its modules are the model's, and are not to be counted twice

    @property
    def bos_id(self) -> int:
        return self._start[0]

    def hidden(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self._parts[0].body(ids, use_cache=False), None

    def head(self, rows: Tensor) -> Tensor:
        return self._parts[0].head(rows)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """What is trained, and nothing of what is frozen."""
        learns = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {
            name: tensor
            for name, tensor in super().state_dict(*args, **kwargs).items()
            if name in learns
        }

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        return super().load_state_dict(state, strict=False, assign=assign)


class _Scored(TokenModel):
    """A learner as scoring sees it."""

    device: str = "cpu"
    has_split_head: bool = True

    def __init__(self, learner: _Learner):
        self.learner, self.context, self.device = learner, learner.context, learner.device
        self.bos_ids = (learner.bos_id,)

    def encode(self, text: str) -> Tokens:
        return self.learner._text.encode(text)

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        return self.learner._text.encode_all(texts)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.learner._text.decode(ids)

    def logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.learner(ids)
        return logits

    def hidden(self, ids: Tensor) -> Tensor:
        return self.learner.hidden(ids)[0]

    def head(self, rows: Tensor) -> Tensor:
        return self.learner.head(rows)


def _train(begin: Loaded, stage: Stage, build_context: BuildContext, folder: Path) -> TrainingFacts:
    """Train, keep the checkpoint in `folder`, and say how it went."""
    recipe, (text, valid) = stage.recipe, find_training_texts(stage, build_context)
    assert recipe is not None
    assert text is not None
    if valid is None:
        text, valid = text.hold_out(recipe.hold_out)
    check_bos(begin.bos_ids, count_rows(begin.model), stage.name)
    model = bare = begin.model.requires_grad_(True)
    if stage.checkpoint.lora is not None:
        torch.manual_seed(build_context.seed)
        model = _with_lora(model, stage.checkpoint.lora, stage.name)
        bare = model.get_base_model()  # not base_model, which is another wrapper of peft's
    learner = _Learner(begin, model, bare)
    passages = valid_passages(valid)
    size = max(1, valid.bytes)

    def evaluate() -> float:
        return (
            math.fsum(
                ledger.total()
                for ledger in scoring.score(_Scored(learner), passages, Window("half"))
            )
            / size
        )

    ends = np.asarray(begin.eos_ids[:1], dtype=np.int64)
    lines = [
        as_training_line(learner._text.encode(document.whole), document)
        for document in text.documents
    ]
    documents = [replace(one, ids=np.concatenate([one.ids, ends])) for one in lines]
    snapshots = Snapshots(folder.with_suffix(".partial"))
    goes_on = stage.checkpoint.id is not None
    before = (
        [(0, evaluate())] if goes_on else []
    )  # the curve's point at step 0: the checkpoint before it was fine-tuned
    log = train(
        learner,
        documents,
        Course(
            *(recipe, build_context.seed, evaluate, build_context.progress, snapshots),
            on_loss=build_context.on_loss,
        ),
    )
    facts = log.facts(before)
    facts["began_with"] = begin.checkpoint.id if goes_on else None
    _keep(begin, model, stage.checkpoint.lora is not None, facts, folder)
    snapshots.discard()
    return facts


def _with_lora(model: Any, lora: Lora, where: str) -> Any:
    try:
        peft = import_peft()
    except ImportError:
        raise UsageError(
            "LoRA needs the package peft", where=where, hint="pip install 'llmbench[peft]'"
        ) from None
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.modules or "all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(
            type(module).__name__ == "Conv1D" for module in model.modules()
        ),  # GPT-2's layers hold their weights transposed
    )
    try:
        return peft.get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(
            f"LoRA cannot be set up: {' '.join(str(error).split())[:300]}",
            where=where,
            hint="look at `lora: modules`",
        ) from None


def _keep(begin: Loaded, model: Any, lora: bool, facts: TrainingFacts, folder: Path) -> None:
    """Write the checkpoint. LoRA's matrices are merged; they are kept in `lora/` as well."""
    with place_folder(folder) as beside:
        if lora:
            model.save_pretrained(beside / "lora")
            model = model.merge_and_unload()
        model.save_pretrained(beside, state_dict=shrink_weights(model.state_dict()))
        begin.tokenizer.save_pretrained(beside)
        (beside / FACTS).write_text(json.dumps({"training": facts}), encoding="utf-8")
