"""What the checks send: texts that nobody can have trained on, and texts that tokenizers change."""

from __future__ import annotations

# Plain prose in pieces of rising length. Nobody can have trained on it, and nothing in it needs
# more than ASCII.
PROSE = (
    "The tap.",
    "It rained on Tuesday, and the kettle said so.",
    (
        'Nobody had asked the kettle. "You were not asked," said the tap, and it dripped twice,'
        " once for each word that it meant."
    ),
    (
        "There were nine cups on the shelf, a jug with no handle, and 14 spoons; the spoons kept to"
        " themselves.\n\nIn the evening the cups told one another what they had held. One had held"
        " tea. One had held a button, a week long, and did not like to say whose. The jug remarked"
        ' that a handle is not everything, which was felt to be brave.\n"Is it still raining?"'
        " asked the smallest spoon."
    ),
)
# Strings that harnesses and tokenizers have been seen to change.
TORTURE = (
    "cafe\u0301 and caf\u00e9 are two spellings",
    "a \U0001f469\u200d\U0001f680 and a \U0001f3f3\ufe0f\u200d\U0001f308",
    "line\r\nline\rline\n",
    "\ufefftext behind a mark of byte order",
    "nul \x00 bell \x07 escape \x1b[31m",
    "  two  spaces,   three,\ttabs\t\tand an end  ",
    "\u2581 is what SentencePiece writes for a space",
    "<|endoftext|> <s> </s> [MASK] <unk> are characters here",
    "\u0645\u0631\u062d\u0628\u0627 \u202egnirts a \u05e9\u05dc\u05d5\u05dd",
    "\u0130stanbul, STRASSE, stra\u00dfe, \ufb01ne",
    "\u4f60\u597d\uff0c\u4e16\u754c",
    " ",
    "\n",
)
PROMPTS = ("The tap", "It rained on Tuesday, and the kettle", "A")
SOURCE = "The tap dripped."  # for models that need one
