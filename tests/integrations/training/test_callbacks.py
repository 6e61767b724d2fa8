"""Callbacks of transformers' Trainer and of Lightning: bits at every evaluation, in their logs."""

from __future__ import annotations

import pytest
import torch
from support.small_checkpoints import gpt2

from llmbench.errors import UsageError
from llmbench.integrations.training.evaluation import Evaluation

HELD_OUT = "The kettle said nothing. It had said nothing since Tuesday.\n" * 12
LINES = ["The new tap came on Tuesday.", "No, said the kettle.", "The tap dripped."] * 4
KEYS = ("bits_per_byte", "bits_per_byte_low", "bits_per_byte_high")


def load(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gpt2(folder)
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def make_trainer(folder, **more):
    from transformers import Trainer, TrainingArguments, default_data_collator

    model, tokenizer = load(folder / "checkpoint")
    rows = [{"input_ids": ids, "labels": ids} for ids in tokenizer(LINES)["input_ids"]]
    longest = min(len(row["input_ids"]) for row in rows)
    rows = [{key: ids[:longest] for key, ids in row.items()} for row in rows]
    arguments = TrainingArguments(
        str(folder / "out"),
        max_steps=4,
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=1,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **{"save_strategy": "no", **more},
    )
    return Trainer(
        model,
        arguments,
        train_dataset=rows,
        eval_dataset=rows[:2],
        processing_class=tokenizer,
        data_collator=default_data_collator,
    )


class Logger:
    """A logger of a trainer."""

    def __init__(self):
        from transformers import TrainerCallback

        self.rows = rows = []

        class Kept(TrainerCallback):
            def on_log(self, args, state, control, logs=None, **more):
                rows.append((state.global_step, dict(logs)))

        self.callback = Kept()


def test_the_trainer_logs_bits_at_every_evaluation_and_trains_as_before(tmp_path):
    from llmbench.integrations.training.transformers import BitsCallback

    histories = []
    for scores in (False, True):
        trainer, logger = make_trainer(tmp_path / str(scores)), Logger()
        trainer.add_callback(logger.callback)
        if scores:
            trainer.add_callback(BitsCallback(trainer, text=HELD_OUT))
        trainer.train()
        histories.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert histories[0] == histories[1]
    logged = [(at, row) for at, row in logger.rows if "eval_bits_per_byte" in row]
    assert [at for at, _ in logged] == [2, 4]
    assert logged[0][1]["eval_bits_per_byte"] != logged[1][1]["eval_bits_per_byte"]
    last = Evaluation(trainer.processing_class, text=HELD_OUT).score(trainer.model)
    assert {key: logged[1][1][f"eval_{key}"] for key in KEYS} == last.to_metrics()
    assert set(trainer.evaluate()) >= {f"eval_{key}" for key in KEYS}


def test_the_trainer_can_choose_the_best_checkpoint_by_bits(tmp_path):
    from llmbench.integrations.training.transformers import BitsCallback

    trainer = make_trainer(
        tmp_path,
        save_strategy="steps",
        save_steps=2,
        metric_for_best_model="bits_per_byte",
        greater_is_better=False,
        load_best_model_at_end=True,
    )
    trainer.add_callback(BitsCallback(trainer, text=HELD_OUT))
    trainer.train()
    bits = [r["eval_bits_per_byte"] for r in trainer.state.log_history if "eval_bits_per_byte" in r]
    assert trainer.state.best_metric == min(bits)


def test_a_trainer_without_a_tokenizer_is_refused(tmp_path):
    from llmbench.integrations.training.transformers import BitsCallback

    trainer = make_trainer(tmp_path)
    trainer.processing_class = None
    with pytest.raises(UsageError, match="the trainer has no tokenizer"):
        BitsCallback(trainer, text=HELD_OUT)


def fit(folder, network="model", scores=True):
    """A short training by Lightning: its losses and what its logger got."""
    pytorch = pytest.importorskip("lightning.pytorch")
    from llmbench.integrations.training.lightning import BitsCallback

    model, tokenizer = load(folder / "checkpoint")
    rows = [torch.tensor(ids[:4]) for ids in tokenizer(LINES)["input_ids"]]
    losses = []

    class Module(pytorch.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, index):
            loss = self.model(batch, labels=batch).loss
            losses.append(loss.item())
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", self.model(batch, labels=batch).loss)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Kept(pytorch.loggers.logger.Logger):
        name, version, rows = "kept", 0, []

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, dict(metrics)))

        def log_hyperparams(self, *given, **more):
            pass

    kept = Kept()
    kept.rows = []
    pytorch.seed_everything(5, verbose=False)
    best = pytorch.callbacks.ModelCheckpoint(folder / "best", monitor="bits_per_byte")
    trainer = pytorch.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=kept,
        callbacks=[BitsCallback(tokenizer, text=HELD_OUT, network=network), best] if scores else [],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=scores,
        log_every_n_steps=1,
        default_root_dir=folder,
    )
    loader = torch.utils.data.DataLoader(rows, batch_size=6)
    trainer.fit(Module(), loader, loader)
    score = Evaluation(tokenizer, text=HELD_OUT).score(model)
    return losses, kept.rows, score, best


def test_lightning_logs_bits_at_every_validation_and_trains_as_before(tmp_path):
    losses, rows, last, best = fit(tmp_path / "with")
    logged = [row for _, row in rows if "bits_per_byte" in row]
    assert len(logged) == 2
    assert {key: logged[1][key] for key in KEYS} == pytest.approx(last.to_metrics(), rel=1e-6)
    assert float(best.best_model_score) == pytest.approx(
        min(row["bits_per_byte"] for row in logged), rel=1e-6
    )
    assert fit(tmp_path / "without", scores=False)[0] == losses


def test_a_network_that_lightning_does_not_have_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has no module 'net'"):
        fit(tmp_path, network="net")
