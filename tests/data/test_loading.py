from __future__ import annotations

import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbench.data import loading, splitting
from llmbench.data.overlap import overlap_share
from llmbench.data.rows import Row
from llmbench.data.splitting import block_edges
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.storage import write_lines


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_is_its_bytes_whatever_they_are(tmp_path):
    raw = b"line one\r\nline\ttwo \x00 \n\n"
    text = loading.load("test", write(tmp_path / "a.txt", raw))
    assert text.documents[0].text.encode() == raw
    assert text.sha256 == hashlib.sha256(raw).hexdigest()


def test_bytes_that_are_no_utf8_are_placed(tmp_path):
    path = write(tmp_path / "a.txt", b"good\nbad \xff here")
    with pytest.raises(UsageError, match=r"a\.txt:2:5: not UTF-8: byte 0xff"):
        loading.load("test", path)


def test_an_empty_or_missing_file_is_said_to_be_so(tmp_path):
    with pytest.raises(UsageError, match="empty"):
        loading.load("test", write(tmp_path / "a.txt", ""))
    with pytest.raises(UsageError, match="No such file"):
        loading.load("test", tmp_path / "none.txt")


def test_json_lines_are_documents_and_can_be_selected(tmp_path):
    rows = [{"text": "one\u2028still one", "kind": "x"}, {"text": "two", "kind": "y", "id": "zwei"}]
    path = write(
        tmp_path / "a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    )
    assert [d.text for d in loading.load("t", path).documents] == ["one\u2028still one", "two"]
    assert loading.load("t", path, select={"kind": "y"}).documents == (Document("zwei", "two"),)
    with pytest.raises(UsageError, match="did you mean 'kind'"):
        loading.load("t", path, select={"kin": "y"})


@pytest.mark.parametrize("known", [1, 2, 100])
def test_an_id_stands_once_however_many_are_held(tmp_path, monkeypatch, known):
    monkeypatch.setattr(loading, "IDS_AT_ONCE", known)
    path = tmp_path / "a.jsonl"
    rows = [{"id": str(i), "text": "x"} for i in range(7)]
    write_lines(path, rows)
    assert len(loading.load("t", path).documents) == 7
    write_lines(path, [*rows, {"id": "3", "text": "y"}, {"text": 3}])
    with pytest.raises(UsageError, match=r"a\.jsonl:8:1: the id '3' stands here a second time"):
        loading.load("t", path)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a"},
        {"text": "a", "id": "b"},
        {"id": "", "text": "a"},
        {"id": 3, "text": "a"},
        {"text": "", "id": "b"},
        {"text": "a", "lang": "de"},
        {"given": "a", "text": "b", "id": "c"},
    ],
)
def test_a_plain_row_is_read_as_every_row_is(row):
    short = loading._plain_document(Row(row, 7, "a", 7))
    whole = loading._document(row, "a:7:1", 7, None, None)
    assert short in (None, whole)
    assert (short is None) == (row.keys() > {"id", "text"} or "lang" in row or row.get("id") == 3)
    if short is not None:
        assert short.fields == whole.fields


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": 3}', "a.jsonl:2:1: a row must be an object with a string"),
        ("[1]", "a.jsonl:2:1"),
        ('{"text": "a",}', "a.jsonl:2:14: not JSON"),
        ('{"text": "b", "id": "1"}', "second time"),
        ('{"text": "\\ud800"}', "surrogate"),
        (
            '{"choices": ["a", "\\ud800"], "gold": 0}',
            "a.jsonl:2:1: the field `choices` holds half a surrogate pair",
        ),
    ],
)
def test_a_line_that_is_wrong_is_placed(tmp_path, line, complaint):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "id": "1"}\n' + line + "\n")
    with pytest.raises(UsageError, match=complaint):
        loading.load("t", path)


def test_splits_by_separator_start_and_fraction(tmp_path):
    path = write(tmp_path / "a.txt", "= A =\none\n= B =\ntwo\n")
    assert [d.text for d in loading.load("t", path, {"separator": "\n= B =\n"}).documents] == [
        "= A =\none",
        "two\n",
    ]
    assert [d.text for d in loading.load("t", path, {"regex": r"^= .* =$"}).documents] == [
        "= A =\none\n",
        "= B =\ntwo\n",
    ]
    assert loading.load("t", path, {"fraction": [0.5, 1.0]}).documents[0].text == "= B =\ntwo\n"
    with pytest.raises(UsageError, match="too short to split"):
        loading.load("t", path, {"separator": "zzz"})
    with pytest.raises(UsageError, match="regex"):
        loading.load("t", path, {"regex": "("})
    with pytest.raises(UsageError, match="too short to split"):
        loading.load("t", write(tmp_path / "b.txt", "x"), {"fraction": [0.0, 0.5]})


def test_documents_that_a_split_does_not_touch_stay_whole(tmp_path):
    rows = [
        {"id": "a", "text": "= A =\none\n= B =\ntwo\n"},
        {"id": "b", "text": "= C =\n"},
        {"id": "c", "text": "no title"},
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = loading.load("t", path, {"regex": r"^= .* =$"}).documents
    assert [(d.id, d.text) for d in found] == [
        ("a-1", "= A =\none\n"),
        ("a-2", "= B =\ntwo\n"),
        ("b", "= C =\n"),
        ("c", "no title"),
    ]
    assert [d.id for d in loading.load("t", path, {"separator": "two"}).documents] == [
        "a-1",
        "a-2",
        "b",
        "c",
    ]
    with pytest.raises(UsageError, match="occurs nowhere"):
        loading.load("t", path, {"regex": "^zzz"})


def test_white_space_before_the_first_document_stays_with_it(tmp_path):
    assert [
        d.text
        for d in loading.load(
            "t", write(tmp_path / "a.txt", " \n= A =\n= B =\n"), {"regex": "^= "}
        ).documents
    ] == [" \n= A =\n", "= B =\n"]
    assert (
        len(
            loading.load(
                "t", write(tmp_path / "b.txt", "words\n= A =\n= B =\n"), {"regex": "^= "}
            ).documents
        )
        == 3
    )


def test_lines_are_joined_before_the_text_is_cut(tmp_path):
    lines = ["= A =\n", "", "one\n", "= B =\n"]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in lines))
    assert loading.load("t", path, join=True).documents == (Document("t", "".join(lines)),)
    assert [d.text for d in loading.load("t", path, {"regex": "^= "}, join=True).documents] == [
        "= A =\none\n",
        "= B =\n",
    ]


@given(st.text(min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_fractions_of_a_text_join_to_the_text(text, share):
    parts = [splitting.cut_fraction(text, a, b) for a, b in ((0.0, share), (share, 1.0))]
    assert "".join(parts) == text


def test_shakespeares_last_tenth_has_the_published_size():
    from conftest import real

    path = real("tinyshakespeare/input.txt")
    assert loading.load("t", path, {"fraction": [0.9, 1.0]}).bytes == 111_540
    assert loading.load("t", path).sha256.startswith("86c4e6aa9db7")


def test_wikitext_splits_at_its_titles():
    from conftest import real

    text = loading.load("t", real("wikitext2-valid/valid.txt"), {"regex": r"^ = [^=].*[^=] = $"})
    assert len(text.documents) > 50
    assert text.bytes == 1_121_681
    assert all(document.text.startswith(" = ") for document in text.documents[1:])


def test_the_built_in_tales_hold_what_is_promised():
    parts = {
        split: loading.load(split, "fables", select={"part": "tales", "split": split})
        for split in ("train", "valid", "test")
    }
    everything = loading.load("all", "fables")
    assert everything.bytes >= 150_000
    assert len(everything.documents) >= 80
    assert len(parts["test"].documents) >= 16
    letters = loading.load("letters", "fables", select={"part": "letters"})
    assert 0.15 < letters.bytes / everything.bytes < 0.25
    assert overlap_share(parts["test"], parts["train"]) == 0.0
    domain = {
        split: loading.load(split, "fables", select={"part": "letters", "split": split})
        for split in ("train", "test")
    }
    assert (
        len(domain["test"].documents) >= 16
    )  # enough for ranks between as many models as a board has
    assert (
        overlap_share(domain["test"], domain["train"])
        == overlap_share(domain["test"], parts["train"])
        == 0.0
    )
    assert len({document.text for document in everything.documents}) == len(everything.documents)


def test_no_two_tales_share_a_sentence():
    import re

    seen: dict[str, str] = {}
    for document in loading.load("all", "fables").documents:
        for sentence in set(re.split(r"(?<=[.!?])\s", document.text)):
            if len(sentence.split()) >= 8:
                assert sentence not in seen, (document.id, seen.get(sentence), sentence)
                seen[sentence] = document.id


def test_a_damaged_built_in_text_is_refused(monkeypatch):
    monkeypatch.setitem(loading.BUILT_IN, "fables", ("fables.jsonl", "0" * 64))
    with pytest.raises(UsageError, match="checksum"):
        loading.load("t", "fables")


def test_a_limit_is_a_seeded_sample_in_the_old_order():
    text = Text("t", tuple(Document(str(i), f"text {i}") for i in range(50)))
    one, again, other = text.sample(5, 0), text.sample(5, 0), text.sample(5, 1)
    assert one == again != other
    assert [d.id for d in one.documents] != ["0", "1", "2", "3", "4"]
    assert [int(d.id) for d in one.documents] == sorted(int(d.id) for d in one.documents)
    assert text.sample(50, 0) is text


def test_held_out_tail_and_rest_are_the_whole():
    single = Text("t", (Document("a", "0123456789" * 10),))
    rest, tail = single.hold_out(0.1)
    assert (rest.bytes, tail.bytes) == (90, 10)
    many = Text("t", tuple(Document(str(i), "x" * 10) for i in range(10)))
    rest, tail = many.hold_out(0.15)
    assert [len(part.documents) for part in (rest, tail)] == [8, 2]


def test_a_single_pair_has_no_tail_and_of_several_each_stays_whole():
    pairs = (Document("a", "yes", "ja"), Document("b", "no", "nein"))
    with pytest.raises(UsageError, match="the text 't': nothing can be held out of a single pair"):
        Text("t", pairs[:1]).hold_out(0.1)
    rest, tail = Text("t", pairs).hold_out(0.1)
    assert rest.documents + tail.documents == pairs


@pytest.mark.parametrize(
    "how",
    [
        {"split": {"fraction": (0.0, 0.9)}},
        {"split": {"separator": "e"}},
        {"split": {"regex": "e"}},
        {"join": True},
    ],
)
@pytest.mark.parametrize(
    "row", [{"text": "yes", "given": "ja"}, {"choices": ["yes", "no"], "gold": 0}]
)
def test_pairs_and_questions_are_neither_cut_nor_joined(tmp_path, row, how):
    path = write(
        tmp_path / "a.jsonl",
        json.dumps({"text": "plain, yes"}) + "\n" + json.dumps({"id": "q", **row}) + "\n",
    )
    with pytest.raises(
        UsageError,
        match=r"a\.jsonl: 'q' is a pair or a question, which cannot be (cut|joined) \(leave out",
    ):
        loading.load("t", path, **how)


def test_a_digest_tells_pairs_and_questions_from_the_same_parts_as_documents():
    plain = Text("t", (Document("1", "a"), Document("2", "b")))
    parts = b"".join((1).to_bytes(8, "big") + part for part in (b"a", b"b"))
    assert plain.sha256 == hashlib.sha256(parts).hexdigest()
    others = [
        (Document("1", "a", "b"),),
        (Document("1", "a", "b"), Document("2", "a"), Document("3", "b")),
        (Document("1", "a", "b"), Document("2", "a", "b")),
        (Document("1", "a", "b", ("a", "b")),),
        (Document("1", "a", "", ("b", "a", "b")),),
    ]
    assert len({plain.sha256, *(Text("t", documents).sha256 for documents in others)}) == 1 + len(
        others
    )


@given(st.text(alphabet=st.sampled_from("ab \n\u00e9\U0001f680"), max_size=3000))
def test_block_edges_cut_between_characters_and_cover_everything(text):
    raw = text.encode()
    edges = block_edges(text)
    assert edges[0] == 0
    assert edges[-1] == len(raw)
    assert all(a < b for a, b in zip(edges[1:], edges[2:], strict=False))
    assert "".join(raw[a:b].decode() for a, b in zip(edges, edges[1:], strict=False)) == text


def test_a_long_text_has_thirty_blocks_at_blank_lines():
    text = "\n\n".join(
        f"A paragraph of some length, number {i}, which goes on for a while." for i in range(2000)
    )
    edges = block_edges(text)
    assert len(edges) - 1 >= 30
    assert all(text.encode()[edge - 2 : edge] == b"\n\n" for edge in edges[1:-1])
    assert len(block_edges("x" * 300)) == 2


def test_overlap_counts_substrings_of_fifty_bytes():
    train = Text(
        "train",
        (Document("a", "x" * 10 + "".join(chr(97 + i % 26) for i in range(60)) + "y" * 10),),
    )
    test = Text("test", (Document("b", "Q" * 30 + "".join(chr(97 + i % 26) for i in range(60))),))
    assert overlap_share(test, train) == pytest.approx(11 / 41)
    assert overlap_share(Text("t", (Document("c", "short"),)), train) is None


@pytest.mark.parametrize(
    "pattern", ["^ = [^=].* = $", r"^Chapter \d+$", "^", r"\n\n(?=[A-Z])", "(?i)^the ", r"\bx\b|^$"]
)
def test_a_pattern_with_a_time_limit_cuts_where_re_does(pattern):
    text = " = One = \nThe x.\n\nChapter 12\n\n = = Two = = \n\nthe end\n = Three = \n" * 3
    expected = [match.start() for match in re.finditer(pattern, text, re.MULTILINE)]
    found = splitting._starts(text, pattern, "here")
    assert found in (expected, [0, *expected])
    assert len(expected) > 1


def test_a_pattern_that_backtracks_for_ever_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("llmbench.limits.REGEX_SECONDS", 0.05)
    path = tmp_path / "a.txt"
    path.write_text("a" * 60 + "!\n")
    with pytest.raises(UsageError, match=r"a\.txt: the regex '\(a\|aa\)\+\$' takes longer than"):
        loading.load("test", path, {"regex": "(a|aa)+$"})


def test_a_value_that_no_row_has_is_suggested(tmp_path):
    with pytest.raises(UsageError, match=r"no row has part: tails \(did you mean 'tales'\?\)"):
        loading.load("test", "fables", select={"part": "tails"})


def test_an_id_of_thousands_of_letters_is_refused_at_its_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + json.dumps({"id": "x" * 1001, "text": "b"}))
    with pytest.raises(UsageError, match=r"a\.jsonl:2:1: the id has 1001 characters"):
        loading.load("test", path)
