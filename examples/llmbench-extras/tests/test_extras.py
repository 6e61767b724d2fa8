"""The task and the metric, on values counted by hand."""

from llmbench_extras.sentence_ends import LivelyEnds
from llmbench_extras.word_order import WordOrder

from llmbench import Document, Text
from llmbench.testing import MockAdapter

TEXT = Text("test", (Document("a", "one two"), Document("b", "three four")))


def test_the_original_order_is_right() -> None:
    model = MockAdapter(bits_per_byte={"one two": 1.0, "two one": 2.0, "three four": 3.0})
    settings = WordOrder.Settings(task="word-order")
    outcome = WordOrder(TEXT, settings).run(model, lambda what, share, remark: None)
    right = [sample["statistics"]["word_order"][0] for sample in outcome.samples]
    assert right == [1.0, 1.0]  # "four three" costs 8 bits a byte
    assert outcome.scores[0]["value"] == 1.0


def test_lively_ends_are_counted() -> None:
    metric = LivelyEnds()
    rows = [metric.statistics("No. Yes! What?", ""), metric.statistics("Well.", "")]
    assert rows == [[2.0, 3.0], [0.0, 1.0]]
    found = metric.value(rows)
    assert found is not None
    assert found.value == 0.5
    assert metric.statistics("no end", "") == []
