"""The one table of facts about metrics.

A new metric is its code and one row here. Light on purpose: a board is drawn from these facts
without numpy and torch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from llmbench.metrics.metric import (
    ALWAYS,
    ANY,
    NEVER,
    PERCENTAGE,
    POSITIVE,
    UNIT_INTERVAL,
    Better,
    Format,
    Metric,
    Test,
    Variant,
)
from llmbench.metrics.performance import PERFORMANCE

AT_LEAST_ONE = (1.0, math.inf)  # a perplexity
AT_MOST_ONE = (-math.inf, 1.0)  # a share less that of a baseline
TIE_BITS = 0.01  # bits per byte: a smaller difference is of no practical use
TIE_SHARE = 0.01  # one answer in a hundred
TIE_POINTS = 0.5  # of BLEU, chrF and TER
GREEDY = ":greedy"
VOTES = "votes"  # of people, which no run measures: they are counted when a board is drawn
JUDGED = "judge_win_share"  # of a judge, in its table and in CSV: never a score


def _mean(several: str, one: str, bounds: tuple[float, float], format: Format) -> Metric:
    help = f"mean of the {several} of several tasks, each of the same weight; more is better"
    name, shown = f"mean_{one.replace(' ', '_')}", (Variant("", f"mean {one}"),)
    made = Metric(name, "share", "higher", help, "answers", bounds, shown, format, "tasks")
    return replace(made, tie=TIE_SHARE, is_headline=True, is_ranked=True)


def _bits(name: str, label: str, help: str, headline: bool = True) -> Metric:
    return Metric(
        name,
        "bits/byte",
        "lower",
        help,
        "likelihood",
        POSITIVE if headline else ANY,
        (Variant("", label),),
        "bits",
        test="bits" if headline else "",
        tie=TIE_BITS if headline else 0.0,
        is_headline=headline,
        is_ranked=headline,
        is_derived=not headline,
    )


def _perplexity(name: str, label: str, help: str, priority: int, **facts: Any) -> Metric:
    variants = (Variant("", label, priority=priority, is_brief=name == "word_perplexity"),)
    better: Better = None if name == "token_perplexity" else "lower"
    return Metric(
        name,
        "perplexity",
        better,
        help,
        "likelihood",
        bounds=AT_LEAST_ONE,
        variants=variants,
        format="scaled",
        is_derived=True,
        **facts,
    )


def _share(name: str, label: str, help: str, priority: int, is_brief: bool = True) -> Metric:
    return Metric(
        name,
        "share",
        None,
        help,
        "likelihood",
        UNIT_INTERVAL,
        (Variant("", label, priority=priority, is_brief=is_brief),),
        "percent",
    )


def _corpus(name: str, unit: str, help: str, headline: bool = False) -> Metric:
    return Metric(
        name,
        unit,
        "lower" if unit == "TER" else "higher",
        help,
        "answers",
        POSITIVE if unit == "TER" else PERCENTAGE,
        (Variant("", unit),),
        "points",
        "corpus",
        TIE_POINTS,
        headline,
        headline,
    )


def _answer(
    name: str,
    label: str,
    help: str,
    *more: Variant,
    unit: str = "share",
    test: Test = "mean",
    headline: bool = False,
) -> Metric:
    return Metric(
        name,
        unit,
        "higher",
        help,
        "answers",
        UNIT_INTERVAL,
        (Variant("", label), *more),
        "percent",
        test,
        TIE_SHARE,
        headline,
        headline,
    )


def _generation(
    name: str,
    label: str,
    help: str,
    *,
    unit: str = "share",
    better: Better = None,
    bounds: tuple[float, float] = UNIT_INTERVAL,
    priorities: tuple[int, int] = (ALWAYS, ALWAYS),
    format: Format = "percent",
    test: Test = "mean",
    headline: bool = False,
) -> Metric:
    variants = (
        Variant("", label, priority=priorities[0]),
        Variant(GREEDY, f"{label}, greedy", f"{help}; greedy decoding", priorities[1]),
    )
    tie = TIE_SHARE if better and test else 0.0
    return Metric(
        name, unit, better, help, "generation", bounds, variants, format, test, tie, headline
    )


METRICS = (
    _bits(
        "bits_per_byte",
        "bits/byte",
        "bits that the model needs for the text / its UTF-8 bytes; comparable across tokenizers;"
        " less is better",
    ),
    _bits(
        "excess_bits_per_byte",
        "excess bits/byte",
        "bits/byte beyond the entropy of the source that generated the text; 0 is perfect",
        headline=False,
    ),
    _bits(
        "conditional_bits_per_byte",
        "bits/byte given source",
        "bits of the target and its end, given the source / bytes of the target; less is better",
    ),
    _bits(
        "pseudo_bits_per_byte",
        "pseudo-bits/byte",
        "pseudo-log-likelihood (PLL-word-l2r) of masked models, in bits per masked byte; not"
        " comparable with bits_per_byte",
    ),
    Metric(
        "divergence",
        "nats/token",
        "lower",
        "Kullback-Leibler divergence of the model's predictions from its parent's, over the whole"
        " vocabulary; the parent's own is 0; less is closer",
        "likelihood",
        POSITIVE,
        (Variant("", "divergence, nats/token"),),
        "bits",
        "bits",
        is_headline=True,
        is_distance=True,
    ),
    Metric(
        "top_token_agreement",
        "share",
        "higher",
        "share of the tokens at which the model finds the same one likeliest as its parent",
        "likelihood",
        UNIT_INTERVAL,
        (Variant("", "same likeliest token"),),
        "percent",
        "bits",
        TIE_SHARE,
    ),
    _corpus(
        "bleu",
        "BLEU",
        "n-gram precision against the reference, 0 to 100 (Papineni et al. 2002); sacrebleu, mixed"
        " case, 13a, exponential smoothing; more is better",
        headline=True,
    ),
    _corpus(
        "chrf",
        "chrF",
        "F-score of character n-grams, 0 to 100 (chrF2, Popovic 2015), sacrebleu's defaults; more"
        " is better",
    ),
    _corpus(
        "chrf_pp",
        "chrF++",
        "F-score of character n-grams and of words and word pairs, 0 to 100 (Popovic 2017),"
        " sacrebleu's chrF2++; more is better",
    ),
    _corpus(
        "ter",
        "TER",
        "edits that turn the output into the reference, in percent of its words (Snover et al."
        " 2006), sacrebleu's defaults; less is better",
    ),
    _answer(
        "exact_match",
        "exact match",
        "share of answers that equal the reference, without case, punctuation and articles"
        " (SQuAD's normalisation), or as the signature's task says; more is better",
        test="share",
        headline=True,
    ),
    _answer(
        "f1",
        "F1",
        "mean F1 of the words of answer and reference, normalised as for SQuAD; more is better",
    ),
    _answer(
        "accuracy",
        "accuracy",
        "share of questions answered correctly, with Wilson's 95 % interval; more is better",
        *(
            Variant(
                f":{norm}",
                f"accuracy, {label}",
                f"accuracy if the choice is the candidate with the fewest bits {what}",
                is_brief=False,
            )
            for norm, label, what in (
                ("byte", "byte-normalised", "per byte"),
                ("char", "character-normalised", "per character, which is lm-eval's acc_norm"),
                ("token", "token-normalised", "per token"),
                ("pmi", "PMI", "less those that it costs without the prompt"),
            )
        ),
        test="share",
        headline=True,
    ),
    _answer(
        "macro_accuracy",
        "macro accuracy",
        "mean of the accuracies of the groups of questions, as of MMLU's subjects; more is better",
    ),
    Metric(
        "centred_accuracy",
        "share",
        "higher",
        "(accuracy - baseline) / (1 - baseline): 0 at the accuracy of the baseline, guessing or the"
        " most common answer, 1 if all is right; more is better",
        "answers",
        AT_MOST_ONE,
        (Variant("", "centred accuracy"),),
        "bits",
        "mean",
        TIE_SHARE,
        is_derived=True,
        repeats="accuracy",
    ),
    _mean("centred accuracies", "centred accuracy", AT_MOST_ONE, "bits"),  # CORE
    _mean("accuracies", "accuracy", UNIT_INTERVAL, "percent"),
    _generation(
        "ngram_distance",
        "n-gram distance",
        "total variation distance of character 3-grams from held-out text, less that of other human"
        " text, which is at 0; less is better",
        better="lower",
        bounds=(-1.0, 1.0),
        format="bits",
        test="",
        headline=True,
    ),
    Metric(
        VOTES,
        "share",
        "higher",
        "share of people's blind votes that it would win against the average of the others",
        "generation",
        UNIT_INTERVAL,
        (Variant("", "win share, votes"),),
        "percent",
        "items",
    ),
    _generation(
        "distinct_2",
        "distinct-2",
        "share of distinct word pairs in the first 30 words of an answer (Li et al. 2016); best"
        " near human text's",
        priorities=(22, 18),
    ),
    _generation(
        "repetition_4",
        "repetition-4",
        "share of an answer's runs of four words that it repeats (seq-rep-4, Welleck et al. 2020);"
        " less is better",
        better="lower",
        priorities=(19, ALWAYS),
    ),
    _generation(
        "longest_copy_bytes",
        "longest copy, bytes",
        "longest span of an answer that occurs in the training text, mean; best near human text's",
        unit="bytes",
        bounds=POSITIVE,
        priorities=(21, 16),
        format="bytes",
    ),
    _generation(
        "answer_bytes",
        "answer, bytes",
        "length of an answer, mean",
        unit="bytes",
        bounds=POSITIVE,
        priorities=(17, 15),
        format="bytes",
    ),
    _generation(
        "long_copy_share",
        "long copies",
        "share of answers with a span of 50 bytes or more of the training text",
        priorities=(NEVER, NEVER),
        test="",
    ),
    *(
        _answer(
            name,
            name.upper().replace("LSUM", "Lsum"),
            f"ROUGE F-measure of {what} (Lin 2004), rouge-score without stemming; more is better",
            unit="F1",
        )
        for name, what in (
            ("rouge1", "words"),
            ("rouge2", "word pairs"),
            ("rougeL", "the longest common subsequence of words"),
            ("rougeLsum", "the union of those of its lines, as in summaries"),
        )
    ),
    _perplexity("byte_perplexity", "byte perplexity", "2^(bits/byte)", 1),
    _perplexity(
        "word_perplexity",
        "word perplexity",
        "2^(bits/words); words are maximal runs of non-white-space",
        30,
        test="bits",
        is_power=True,
    ),
    _perplexity(
        "token_perplexity",
        "token perplexity",
        "perplexity of the model's own tokens: not comparable across tokenizers",
        NEVER,
    ),
    _share("spelling_share", "spelled", "share of the bits that spell out-of-vocabulary pieces", 4),
    _share(
        "unknown_share", "unknown", "share of the tokens that are out of vocabulary", NEVER, False
    ),
    *PERFORMANCE,
)
FACTS = {metric.name: metric for metric in METRICS}
LEFT_OUT = {  # metric -> the answers that it does not count
    "distinct_2": "fewer than 30 words",
    "repetition_4": "fewer than 4 words",
}
HEADLINES = tuple(metric.name for metric in METRICS if metric.is_headline)
RANKED = tuple(metric.name for metric in METRICS if metric.is_ranked)
# the headlines by what they are of
BITS = tuple(name for name in HEADLINES if FACTS[name].group == "likelihood")
QUALITY = tuple(name for name in HEADLINES if FACTS[name].group == "answers")
BITS_PER_BYTE, CONDITIONAL_BITS, PSEUDO_BITS, DIVERGENCE = BITS
AGREEMENT = "top_token_agreement"
MEAN_OF = {f"mean_{name}": name for name in ("centred_accuracy", "accuracy")}  # over tasks
WRITING, SPEED = HEADLINES[-2:]
