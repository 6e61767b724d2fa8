"""What llama.cpp is asked: a file's tokens and their bytes, and the logits of ids, by way of the
package llama-cpp-python.
"""

from __future__ import annotations

import ctypes
import importlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmbench.errors import ModelError, OutOfMemory, Unavailable, Unsupported

BATCH = 512  # ids in one call: llama.cpp's own default
# Calls with fewer ids are computed by other kernels, which round activations in another way.
STEADY = 64
WHOLE = -1  # of a sequence: from its beginning, or to its end
PIECE = 64  # bytes of a token's text, at first
LOG_ERROR = 4  # level of a message of llama.cpp
ERRORS: deque[str] = deque(maxlen=2)  # of its last messages of that level
SEQUENCES = 64  # that share the room for tokens
MARKERS = 1 << 3 | 1 << 4  # attributes of tokens that are no text: control, defined by the user
KINDS = {1: "SentencePiece", 2: "byte-level BPE", 3: "WordPiece", 4: "Unigram"}
META = 256  # characters of a value of the file's header, at first


def _keep_error(level: int, said: bytes, data: object) -> None:
    """Take llama.cpp's messages from the terminal; errors are kept, to be raised."""
    if level == LOG_ERROR and said:
        ERRORS.append(" ".join(said.decode(errors="replace").split()))


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_keep_error)


@dataclass(frozen=True)
class Facts:
    """What a file says of itself. `context`: of training, in tokens; `scheme`: Q4_1, F16, ..."""

    architecture: str
    scheme: str
    parameters: int
    weights_bytes: int
    context: int
    symbols: int
    bos: int
    eos: int
    ends: tuple[int, ...]
    adds_bos: bool
    tokenizer: str
    version: str


class Engine:
    """A file in memory, with room for `rows` sequences of `context` ids each, or for more that are
    shorter.

    Raises Unavailable without the package, Unsupported for a model that does not predict the next
    token, and ModelError for a file that llama.cpp does not read.
    """

    def __init__(self, path: Path, context: int | None, rows: int, on_gpu: bool):
        self.library = import_library()
        self.path, self.rows = path, rows
        self.model = self._load_model(on_gpu)
        self.vocabulary = self.library.llama_model_get_vocab(self.model)
        self.facts = self._read_facts()
        self.context = context or self.facts.context
        self.run = self._make_context()
        self.memory = self.library.llama_get_memory(self.run)
        self.batch = self.library.llama_batch_init(BATCH, 0, 1)

    def _load_model(self, on_gpu: bool) -> Any:
        ERRORS.clear()
        parameters = self.library.llama_model_default_params()
        parameters.n_gpu_layers = 999 if on_gpu else 0
        if on_gpu and not self.library.llama_supports_gpu_offload():
            raise Unavailable(
                "this build of llama-cpp-python has no GPU support",
                where=str(self.path),
                hint="run it with --device cpu, or install llama-cpp-python built for your GPU",
            )
        model = self.library.llama_model_load_from_file(str(self.path).encode(), parameters)
        if not model:
            raise ModelError(
                f"llama.cpp cannot load this file{_quote_errors()}",
                where=str(self.path),
                hint="not a GGUF file, not whole, or of an architecture that this build lacks",
            )
        return model

    def _make_context(self) -> Any:
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx = self.context * self.rows + STEADY
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_seq_max = SEQUENCES + 1  # the last one is for padding
        parameters.kv_unified = True
        parameters.no_perf = True
        run = self.library.llama_init_from_model(self.model, parameters)
        if not run:
            raise OutOfMemory(
                f"no memory for {self.rows} x {self.context} tokens{_quote_errors()}",
                where=str(self.path),
                hint="add ?context=N with a smaller N",
            )
        return run

    def _read_facts(self) -> Facts:
        library, model, words = self.library, self.model, self.vocabulary
        if library.llama_model_has_encoder(model) or not library.llama_model_has_decoder(model):
            raise Unsupported("a GGUF file with an encoder is not supported", where=str(self.path))
        symbols = int(library.llama_vocab_n_tokens(words))
        eos = int(library.llama_vocab_eos(words))
        ends = [i for i in range(symbols) if library.llama_vocab_is_eog(words, i)]
        return Facts(
            architecture=self._read_meta("general.architecture"),
            scheme=self._read_scheme(),
            parameters=int(library.llama_model_n_params(model)),
            weights_bytes=int(library.llama_model_size(model)),
            context=int(library.llama_model_n_ctx_train(model)),
            symbols=symbols,
            bos=int(library.llama_vocab_bos(words)),
            eos=eos,
            ends=tuple(sorted(ends, key=lambda i: i != eos)),
            adds_bos=bool(library.llama_vocab_get_add_bos(words)),
            tokenizer=KINDS.get(int(library.llama_vocab_type(words)), "its own"),
            version=str(importlib.import_module("llama_cpp").__version__),
        )

    def _read_meta(self, key: str) -> str:
        size = META
        for _ in range(2):
            value = ctypes.create_string_buffer(size)
            found = self.library.llama_model_meta_val_str(self.model, key.encode(), value, size)
            if found < size:
                break
            size = found + 1
        return value.value.decode(errors="replace") if found >= 0 else ""

    def _read_scheme(self) -> str:
        """`Q4_1` of "llama 134.52M Q4_1": the scheme of most weights."""
        value = ctypes.create_string_buffer(META)
        self.library.llama_model_desc(self.model, value, META)
        words = value.value.decode(errors="replace").split()
        known = [word for word in words if word[:1] in "QFIBTM" and word[1:2].isalnum()]
        return known[-1] if known else "unknown"

    # Tokens
    # ------------------------------------------------------------------------------------------

    def tokenize(self, raw: bytes, with_markers: bool = False) -> list[int]:
        """Return the ids of a text, without BOS.

        with_markers: whether a marker that the text spells is its token, not its characters.
        """
        size = len(raw) + 8
        for _ in range(2):
            ids = (ctypes.c_int32 * size)()
            count = self.library.llama_tokenize(
                self.vocabulary, raw, len(raw), ids, size, False, with_markers
            )
            if count >= 0:
                return list(ids[:count])
            size = -count
        raise ModelError("llama.cpp's tokenizer gives no ids", where=str(self.path))

    def spell(self, id: int) -> bytes:
        """Return the bytes that an id stands for."""
        size = PIECE
        for _ in range(2):
            piece = ctypes.create_string_buffer(size)
            count = self.library.llama_token_to_piece(self.vocabulary, id, piece, size, 0, True)
            if count >= 0:
                return piece.raw[:count]
            size = -count
        raise ModelError(f"llama.cpp does not spell the token {id}", where=str(self.path))

    @property
    def chat_template(self) -> str:
        """The file's own, in Jinja; "" if it has none."""
        return self._read_meta("tokenizer.chat_template")

    def find_markers(self) -> dict[str, int]:
        """Return the ids of tokens that are no text, as those of turns, by how they are spelled."""
        attributes = self.library.llama_vocab_get_attr
        ids = [i for i in range(self.facts.symbols) if attributes(self.vocabulary, i) & MARKERS]
        found = {self.spell(id).decode(errors="replace"): id for id in ids}
        return {word: id for word, id in found.items() if word.strip()}

    # Forward passes
    # ------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Tokens that all sequences may hold together."""
        return self.context * self.rows

    def set_threads(self, count: int) -> None:
        """Use so many threads from now on."""
        self.library.llama_set_n_threads(self.run, count, count)

    def forget(self, row: int | None = None) -> None:
        """Empty a sequence, or all of them."""
        if row is None:
            self.library.llama_memory_clear(self.memory, False)
        else:
            self.library.llama_memory_seq_rm(self.memory, row, WHOLE, WHOLE)

    def share(self, row: int, other: int) -> None:
        """Let another sequence go on from what this one holds."""
        self.library.llama_memory_seq_cp(self.memory, row, other, WHOLE, WHOLE)

    def read(
        self,
        rows: Sequence[int],
        ids: Sequence[int],
        places: Sequence[int],
        wanted: Sequence[bool],
        steady: bool = False,
    ) -> NDArray[np.float32]:
        """Read ids at these places of these sequences, at most BATCH in all.

        wanted: whether logits are returned for each of the ids.
        steady: pad the call to STEADY ids, so that short calls run the same kernels as long ones.

        Returns (N, V) logits of the next token, N of the ids being wanted.
        """
        count = len(ids)
        padding = max(0, STEADY - count) if steady else 0
        for i in range(count):
            self._put(i, rows[i], ids[i], places[i], wanted[i])
        for i in range(padding):
            self._put(count + i, SEQUENCES, ids[0], i, False)
        self.batch.n_tokens = count + padding
        status = self.library.llama_decode(self.run, self.batch)
        if padding:
            self.forget(SEQUENCES)
        self._check(status)
        asked = sum(wanted)
        if not asked:
            return np.empty((0, self.facts.symbols), dtype=np.float32)
        pointer = self.library.llama_get_logits(self.run)
        return np.ctypeslib.as_array(pointer, (asked, self.facts.symbols)).copy()

    def _put(self, at: int, row: int, id: int, place: int, wanted: bool) -> None:
        batch = self.batch
        batch.token[at], batch.pos[at] = id, place
        batch.n_seq_id[at], batch.seq_id[at][0] = 1, row
        batch.logits[at] = wanted

    def _check(self, status: int) -> None:
        """Raise what a status of llama_decode means."""
        if status == 1:
            raise OutOfMemory(
                "llama.cpp has no room for more tokens",
                where=str(self.path),
                hint=f"{self.rows} x {self.context} fit: set context or parallel higher",
            )
        if status:
            raise ModelError(f"llama_decode gave {status}{_quote_errors()}", where=str(self.path))

    def close(self) -> None:
        """Free the model and its memory."""
        if self.run:
            self.library.llama_batch_free(self.batch)
            self.library.llama_free(self.run)
            self.library.llama_model_free(self.model)
            self.run = None


def import_library() -> Any:
    """Return llama-cpp-python's functions, without what they log. Raises Unavailable without it."""
    try:
        library = importlib.import_module("llama_cpp.llama_cpp")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "llama_cpp":
            raise
        raise Unavailable(
            "GGUF files need the package llama-cpp-python", hint="pip install 'llmbench[gguf]'"
        ) from None
    except (OSError, RuntimeError) as error:  # a build for another machine
        raise Unavailable(
            f"llama-cpp-python does not start: {str(error).splitlines()[0]}",
            hint="pip install --force-reinstall --no-binary :all: llama-cpp-python",
        ) from None
    library.llama_log_set(LOG, ctypes.c_void_p(0))
    library.llama_backend_init()
    return library


def _quote_errors() -> str:
    """What llama.cpp said last of what went wrong, to end a sentence with."""
    return f": {'; '.join(ERRORS)[:300]}" if ERRORS else ""
