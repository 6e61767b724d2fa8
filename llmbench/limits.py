"""Limits on sizes and on time, each with its reason.

What is beyond a limit is refused with its place, or ended with a row in the record: never cut
without a word, and never waited for without end. Limits of what a page shows stand where the page
is made, and sizes of batches where they are computed.
"""

from __future__ import annotations

# Files
# ----------------------------------------------------------------------------------------------

YAML_BYTES = 4 << 20  # people write these files by hand
YAML_NODES = 50_000  # aliases of aliases grow without end
RECORD_BYTES = 1 << 30  # a record is held in memory as a whole, several times its size
UNPACKED_BYTES = 4 << 30  # a small gzipped file may unpack to anything
SAFETENSORS_HEADER_BYTES = 100_000_000  # the format's own limit
EVENT_BYTES = 256 << 20  # what a worker writes for longer without a line's end is no event
MESSAGE_CHARACTERS = 1000  # an error is one line that a person reads
NAME_CHARACTERS = 128  # files and folders are called after models, tasks and texts: 255 bytes, with
# an ending and what a file is called while it is written; a name on the Hub has at most 96
ID_CHARACTERS = 1000  # of a document, which boards and comparisons show
BALLOT_BYTES = 16 << 10  # of a line of votes: it holds names and digests, and no answer
MANIFEST_BYTES = 64 << 20  # of the list of a published folder's files, held in memory
PUBLISHED_FILES = 100_000  # a thousand models on a hundred tasks
PUBLISHED_BYTES = 16 << 30  # of them together, which are downloaded

# Numbers in suites, cards and options: what no run on one machine can use. A typing error, or bad
# will, would otherwise end in hours of work, or in the system killing something.
# ----------------------------------------------------------------------------------------------

STEPS = 10_000_000  # of training: weeks at 0.1 s a step
ROWS = 1 << 16  # in a batch, or answers side by side
IDS = 1 << 20  # of a window, a row or a context: the longest contexts there are
TEXT_BYTES = 1 << 20  # of a prompt or an answer: as many tokens as that, at most
CHECK_BYTES = 1 << 24  # of a text that a check makes longer until it has enough tokens
VOCABULARY = 1 << 20  # four times the largest there is
LEAST_VOCABULARY = 2  # with one symbol there is nothing to predict
LEAST_BPE = 257  # the 256 bytes and the end of text
ARGUMENT = 1 << 20  # a whole number among a network's arguments, such as its width
LAYERS = 1000  # ten times the deepest model there is: each is built before anything runs
EVALUATIONS = 10_000  # of the validation text during a training
RANK = 1 << 16  # of LoRA: as wide as the widest matrices
GROUPS = 200  # of a task's questions that have rows of their own: more are rows nobody reads
SHOTS = 1000  # examples before a question
ENTRIES = 64  # in a list of batches, depths or temperatures, each of which costs a measurement
PROMPTS = 1000  # that are cut; below the distance between seeds of answers to one prompt
ANSWERS = 100  # to one prompt
BLOCKS = 1000  # of one model, when speed is measured
TEMPERATURE = 100.0  # beyond it every distribution is flat
SERVER_REQUESTS = 1000  # to a server at once: more threads than one client needs
SERVING_REQUESTS = 100_000  # at a level of a load: their times are held in memory
SERVING_RATE = 10_000.0  # requests a second: more than one client can send
SERVER_BYTES = 64 << 20  # of one answer of a server: a longer line has no end
SEED = 2**32 - 1  # what every generator of random numbers takes
GGUF_PARALLEL = 64  # answers that llama.cpp writes side by side
WORKERS = 4096  # at once: as many as threads
THREADS = 4096  # more cores than a machine has

# Shards of a cell
# ----------------------------------------------------------------------------------------------

LEAST_SHARD_BYTES = 2 << 10  # below it a batch is too small to be worth a pass
WHOLE_ITEM_BYTES = 4 << 20  # of an item from which on its task is not divided: its charges, of 25
# bytes a token, would be held in memory
MOST_SHARD_BYTES = 1 << 20  # its charges are held in memory
GPU_SHARDS = 64  # times as many bytes in a GPU's shard as in one of two cores

# Seconds
# ----------------------------------------------------------------------------------------------

CELL_SECONDS = 3600.0  # of one cell with the training it needs, unless --timeout says otherwise
IMPORT_SECONDS = 120.0  # for importing all model files before a run: torch takes some seconds
DOWNLOAD_SECONDS = 1800.0  # of a package with weights: 93 MB on a slow line
CHECK_SECONDS = 120.0  # of one conformance check, unless --timeout says otherwise
CHECK_PATIENCE = 2.0  # times that limit after which a check that hears no alarm ends the program
PROOF_SECONDS = 60.0  # of each conformance check that a run samples
PROOF_WALL_SECONDS = 300.0  # of all checks that a run samples, after which no other one begins
SCREENING_SECONDS = 30.0  # of each check before `llmbench score` or `generate`
SERVER_START_SECONDS = 600.0  # until a server that a card starts answers: it loads its weights
SERVER_SECONDS = 120.0  # without a byte from a server, unless a card says otherwise
SERVER_WAIT = 120.0  # that a server may ask to wait before the next try
WAIT_SECONDS = 3600.0  # in one wait of the operating system, which knows no months
CLOSES = 1000  # of a generator that goes on when it is closed
GOODBYE_SECONDS = 10.0  # for a worker that has said all to end
REGEX_SECONDS = 2.0  # of matching, and as much again for each REGEX_BYTES: some patterns never end
REGEX_BYTES = 10_000_000

# Times
# ----------------------------------------------------------------------------------------------

SERVER_TRIES_MOST = 20  # of one request: ten minutes of waiting
SERVER_TRIES = 6  # of one request, before a server is given up: 16 seconds of waiting in all
MOVES = 5  # of a model whose machines go away, after which it is left out
PLACE_SECONDS = 60.0  # without any machine of a cluster, until the rest is given up
DEATHS = 2  # of a run during the same model, after which it is left out
