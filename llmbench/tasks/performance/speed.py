"""How fast a model reads and writes: the same bytes for every model, fed as given text, so that no
end symbol makes an answer short.

A block is a fixed piece of work, repeated as often as the first measurement says, so that blocks of
one model can be compared; the runner decides when each block runs. Numbers of one block
are medians over its repeats, the task's are medians over blocks. A block's numbers have the names
of metrics, with @N for N answers side by side and >N for a prompt of N bytes.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from llmbench import limits
from llmbench.adapter import Adapter, Progress, Request
from llmbench.config.model_card import Rows, TextBytes
from llmbench.data.text import Text, passage
from llmbench.errors import ModelError, is_out_of_memory
from llmbench.hardware.peaks import Ceilings
from llmbench.metrics.facts import FACTS, SPEED
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome
from llmbench.results.signature import Signature
from llmbench.stats import Interval, block_interval
from llmbench.tasks.performance.speed_blocks import (
    TIMED,
    WARM_RUNS,
    Block,
    Facts,
    NumberedBlock,
    TimelineRow,
    is_warm,
    median_of_all,
    pack_timeline,
    sample_of_block,
    unpack_timeline,
)
from llmbench.tasks.performance.timeline import (
    Clock,
    Throughput,
    Timeline,
    listen,
    long_enough,
    percentiles,
    require_local,
    throughput,
)
from llmbench.tasks.task import Process, Task

MOST_REPEATS = 64  # in one block
DEPTH_BYTES = 32  # of an answer at a depth
MAIN = SPEED
# of Facts, what the record keeps
STORED: tuple[
    Literal[
        "cold", "repeats", "scan", "refused", "warm_up_seconds", "compile_seconds", "cache", "parts"
    ],
    ...,
] = ("cold", "repeats", "scan", "refused", "warm_up_seconds", "compile_seconds", "cache", "parts")


class Speed(Task):
    """Times of prefill and decode. `ceilings`: the machine's measured peaks, if they are known."""

    class Settings(Task.Settings):
        """How fast a model reads and writes, in blocks that are interleaved with those of the other
        models.
        """

        process: ClassVar[Process] = "interleaved"
        text: str = "test"
        prompt_bytes: TextBytes = 256
        answer_bytes: TextBytes = Field(
            64, description="fed as given text, so that every model writes the same"
        )
        blocks: int = Field(
            16,
            ge=8,
            le=limits.BLOCKS,
            description="many short ones, so that a disturbance of the machine hits all models",
        )
        block_seconds: float = Field(
            0.1, gt=0, le=600, description="a block repeats its work until it takes about so long"
        )
        batches: list[Rows] = Field(
            [1],
            max_length=limits.ENTRIES,
            description="answers side by side: the best of these is measured beside 1",
        )
        depths: list[TextBytes] = Field(
            [],
            max_length=limits.ENTRIES,
            description="bytes of prompts: how the time of a token grows with its context",
        )
        energy_seconds: float | None = Field(
            None,
            ge=5,
            le=limits.CELL_SECONDS,
            description="read the machine's energy counter over so long a time of writing",
        )

        def check(self, text: Text) -> None:
            longest = [depth + DEPTH_BYTES for depth in self.depths]
            long_enough(text, self.prompt_bytes + self.answer_bytes, *longest)

        def estimate_seconds(self) -> float:
            return self.blocks * self.block_seconds

    protocol = "speed/1"

    settings: Settings

    def __init__(
        self, text: Text, settings: Settings, seed: int = 0, clock: Clock = time.perf_counter_ns
    ):
        super().__init__(text, settings, seed)
        self.clock = clock
        self.ceilings: Ceilings | None = None
        self.batches = sorted({1, *settings.batches})
        self.prompt, self.answer = passage(text, seed, settings.prompt_bytes, settings.answer_bytes)
        settings.check(text)

    @property
    def signature(self) -> Signature:
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            prompt=self.settings.prompt_bytes,
            answer=self.settings.answer_bytes,
            blocks=self.settings.blocks,
            seed=self.seed,
            limit=self.text.sampled,
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        """All blocks of one model in a row, for a model that is measured alone."""
        facts = self.prepare(adapter, progress)
        blocks: list[NumberedBlock] = []
        for number in range(self.settings.blocks):
            progress(
                "measuring speed",
                number / self.settings.blocks,
                f"block {number + 1} of {self.settings.blocks}",
            )
            block = self.block(adapter, facts)
            blocks.append({"block": number, "values": block["values"], "events": block["events"]})
        return self.finish(adapter, facts, blocks)

    # Once, before the blocks
    # ------------------------------------------------------------------------------------------

    def prepare(self, adapter: Adapter, progress: Progress, known: Facts | None = None) -> Facts:
        """Warm up, and decide how often a block repeats its work and which batch is best. `known`:
        what was decided before, in another process.
        """
        require_local(adapter)
        compiling = [adapter.compile_ahead(batch) for batch in self.batches][-1]
        begun = self.clock()
        cold = listen(adapter, [self._request()], self.clock)[0]
        if cold.end_to_end_latency is None:
            raise ModelError("the model gave no answer, not even an empty one")
        self._whole(cold)
        took: list[float] = []
        while not is_warm(took, (self.clock() - begun) / 1e9):
            progress("warming up", min(0.99, len(took) / (2 * WARM_RUNS)), "")
            took.append(listen(adapter, [self._request()], self.clock)[0].end_to_end_latency or 0.0)
        if known is not None:
            self._throughput(adapter, known["batch"])
            return {
                **known,
                "warm_up_seconds": known["warm_up_seconds"] + (self.clock() - begun) / 1e9,
            }
        rates, refused = self._scan(adapter, progress)
        usual = statistics.median(took[-WARM_RUNS:])
        facts: Facts = {
            "read": adapter.measure_prompt(self.prompt),
            "cold": {
                "time_to_first_token": cold.time_to_first_token,
                "end_to_end_latency": cold.end_to_end_latency,
            },
            "repeats": min(
                MOST_REPEATS, max(1, math.ceil(self.settings.block_seconds / max(usual, 1e-9)))
            ),
            "batch": max(rates, key=rates.__getitem__, default=1),
            "scan": list(rates.items()),
            "refused": refused,
            "warm_up_seconds": (self.clock() - begun) / 1e9,
        }
        if compiling is not None:
            facts["compile_seconds"] = compiling
        return facts

    def _whole(self, line: Timeline) -> None:
        """ModelError where an answer is not the text that was fed: its time would be that of other
        work.
        """
        said, wanted = line.events[-1].bytes, len(self.answer.encode())
        if said != wanted:
            hint = (
                "the adapter must heed Request.forced_text; a model that ends answers itself needs"
                " shorter ones"
            )
            raise ModelError(
                f"the model was fed an answer of {wanted} bytes and gave {said}", hint=hint
            )

    def _scan(
        self, adapter: Adapter, progress: Progress
    ) -> tuple[dict[int, float], dict[str, str]]:
        """Bytes a second of each batch that was asked for, seen once after a warm-up; and why some
        could not run.
        """
        rates: dict[int, float] = {}
        if len(self.batches) == 1:
            return rates, {}
        for number, batch in enumerate(self.batches):
            progress("looking for the best batch", number / len(self.batches), str(batch))
            try:
                self._throughput(adapter, batch)
                found = self._throughput(adapter, batch)[0]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return rates, {str(batch): "no memory"}
            if found is not None:
                rates[batch] = found.bytes / found.seconds
        return rates, {}

    def _request(self, depth: int | None = None) -> Request:
        """The prompt, or one of `depth` bytes; then the answer, fed as it stands."""
        if depth is None:
            return Request(self.prompt, forced_text=self.answer)
        prompt, answer = passage(self.text, self.seed, depth, DEPTH_BYTES)
        return Request(prompt, forced_text=answer)

    def _throughput(self, adapter: Adapter, batch: int) -> tuple[Throughput | None, list[Timeline]]:
        adapter.generation_batch_size = max(adapter.generation_batch_size, batch)
        lines = listen(adapter, [self._request()] * batch, self.clock)
        return throughput(lines), lines

    # A block
    # ------------------------------------------------------------------------------------------

    def block(self, adapter: Adapter, facts: Facts) -> Block:
        """One block: its `values`, and the `events` that they were derived from."""
        lines = [listen(adapter, [self._request()], self.clock)[0] for _ in range(facts["repeats"])]
        events = [pack_timeline("single", i, line) for i, line in enumerate(lines)]
        values = {name: median_of_all([line.times[name] for line in lines]) for name in TIMED}
        if values["time_per_output_token"]:
            values["decode_tokens_per_second"] = 1 / values["time_per_output_token"]
        if values["time_to_first_token"]:
            size, tokens = facts["read"]
            values["prefill_bytes_per_second"] = size / values["time_to_first_token"]
            values["prefill_tokens_per_second"] = (
                tokens / values["time_to_first_token"] if tokens else None
            )
        if facts["batch"] > 1:
            batch = facts["batch"]
            found, lines = self._throughput(adapter, batch)
            events += [pack_timeline(f"batch {batch}", i, line) for i, line in enumerate(lines)]
            if found is not None:
                values[f"{MAIN}@{batch}"] = found.bytes / found.seconds
                values[f"decode_tokens_per_second@{batch}"] = found.tokens / found.seconds
        for depth in self.settings.depths:
            line = listen(adapter, [self._request(depth)], self.clock)[0]
            events.append(pack_timeline(f"depth {depth}", 0, line))
            values[f"time_per_output_token>{depth}"] = line.time_per_output_token
        return {
            "values": {name: value for name, value in values.items() if value is not None},
            "events": events,
        }

    # Once, after the blocks
    # ------------------------------------------------------------------------------------------

    def finish(self, adapter: Adapter, facts: Facts, blocks: Sequence[NumberedBlock]) -> Outcome:
        """From blocks to scores; what is counted and not timed is counted now."""
        names = sorted(set.intersection(*(set(block["values"]) for block in blocks)))
        found = {
            name: block_interval([block["values"][name] for block in blocks]) for name in names
        }
        absent: dict[str, str] = {}
        if MAIN not in found:
            absent[MAIN] = "an answer of one piece has no rate: nothing came after the first text"
        rows = [
            self._row(name, interval, blocks) for name, interval in found.items() if ">" not in name
        ]
        rows += self._limits(adapter, facts, found, absent)
        rows += self._energy(adapter, facts, absent)
        top = next((row for row in rows if row["metric"] == MAIN and row["batch"] == 1), rows[0])
        top["facts"] = {key: facts[key] for key in STORED if key in facts}
        top["drifted"] = sum(bool(block.get("drifted")) for block in blocks)
        top["depths"] = [
            (depth, found[f"time_per_output_token>{depth}"].value)
            for depth in self.settings.depths
            if f"time_per_output_token>{depth}" in found
        ]
        top["absent"] = absent
        events: list[TimelineRow] = [
            {**event, "block": block["block"]} for block in blocks for event in block["events"]
        ]
        return Outcome(rows, [sample_of_block(block) for block in blocks], events=events)

    def _row(self, name: str, found: Interval, blocks: Sequence[NumberedBlock]) -> ScoreRow:
        metric, _, batch = name.partition("@")
        row = FACTS[metric].row(
            found.value,
            found.n,
            str(self.signature.extend(batch=self._batch_words(batch))),
            found.low,
            found.high,
        )
        row["batch"] = int(batch or 1)
        if name in TIMED:
            single = [
                unpack_timeline(event)
                for block in blocks
                for event in block["events"]
                if event["what"] == "single"
            ]
            every = (
                [gap for line in single for gap in line.gaps]
                if name == "time_per_output_token"
                else [line.times[name] for line in single]
            )
            row["percentiles"] = percentiles([value for value in every if value is not None])
        return row

    def _batch_words(self, batch: str) -> str:
        return f"best of {','.join(map(str, self.batches))}" if batch else "1"

    def _limits(
        self, adapter: Adapter, facts: Facts, found: Mapping[str, Interval], absent: dict[str, str]
    ) -> list[ScoreRow]:
        """How much of what the machine could do was used; what the model carries; where an answer's
        time goes.
        """
        if "torch" not in sys.modules:
            absent["limit_share"] = "not a torch model"
            return []
        from llmbench.tasks.performance import profile

        seen = profile.dissect(
            adapter, self.prompt, self.answer, facts["batch"], found, self.ceilings
        )
        facts["cache"], facts["parts"] = seen.cache, seen.parts
        if seen.absent:
            absent["limit_share"] = seen.absent
        rows: list[ScoreRow] = []
        for phase, share in seen.shares.items():
            batch = facts["batch"] if phase == "decode, best batch" else 1
            words = self._batch_words(str(batch) if batch > 1 else "")
            row = FACTS["limit_share"].row(
                share.value,
                share.n,
                str(self.signature.extend(batch=words, phase=phase)),
                share.low,
                share.high,
            )
            rows.append({**row, "batch": batch, "phase": phase})
        return rows

    def _energy(self, adapter: Adapter, facts: Facts, absent: dict[str, str]) -> list[ScoreRow]:
        """Energy of writing at the best batch, over so many seconds that a counter is exact."""
        if not self.settings.energy_seconds:
            return []
        from llmbench.hardware import energy

        counter, why = energy.counter(adapter.info.device)
        if counter is None:
            absent["joules_per_megabyte"] = why
            return []
        begun, before, size, rounds = self.clock(), counter.read(), 0, 0
        while (self.clock() - begun) / 1e9 < self.settings.energy_seconds:
            size += sum(
                line.events[-1].bytes for line in self._throughput(adapter, facts["batch"])[1]
            )
            rounds += 1
        joules = counter.read() - before
        words = self._batch_words("best" if facts["batch"] > 1 else "")
        signature = str(
            self.signature.extend(batch=words, seconds=f"{self.settings.energy_seconds:g}")
        )
        row = FACTS["joules_per_megabyte"].row(joules / (size / 1e6), rounds, signature)
        return [{**row, "batch": facts["batch"], "source": counter.name, "joules": joules}]
