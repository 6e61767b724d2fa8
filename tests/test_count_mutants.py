"""The script that counts mutants: what it takes for a change of behaviour."""

from __future__ import annotations

import count_mutants
import pytest

LISTED = """
# All lengths are equal,
# so nothing is cut.

m.py f
- zip(a, b,
-     strict=True)
+ zip(a, b, strict=False)
+ zip(a, b, )

m.py C.g
- return 1 if x else 2
+ return 1

# Another reason.
m.py f
- a
+ b
"""


def test_a_listed_mutant_is_known_by_its_function_and_lines_with_the_reason_above_it():
    found = count_mutants.parse(LISTED)
    cut = "All lengths are equal, so nothing is cut."
    assert found == {
        ("m.py f", "zip(a, b, strict=True)", "zip(a, b, strict=False)"): cut,
        ("m.py f", "zip(a, b, strict=True)", "zip(a, b, )"): cut,
        ("m.py C.g", "return 1 if x else 2", "return 1"): cut,
        ("m.py f", "a", "b"): "Another reason.",
    }


def test_the_lines_of_a_diff_make_a_change_without_their_surroundings():
    diff = ["--- m.py", "+++ m.py", "@@ -1,3 +1,3 @@", " def f():", "-    a = 1", "+    a = None"]
    assert count_mutants.change("m.py f", diff) == ("m.py f", "a = 1", "a = None")


@pytest.mark.parametrize(
    ("old", "new", "is_wording"),
    [
        ('hint="set it to ids",', 'hint="XXset it to idsXX",', True),
        ('hint="set it to ids",', 'hint="SET IT TO IDS",', True),
        ('hint="set it to ids",', "hint=None,", False),
        ('f(a, "no such")', 'f(b, "NO SUCH")', False),
        ('kind == "token"', 'kind == "TOKEN"', False),
        ('kind == "token"', 'kind == "XXtokenXX"', False),
        ("a + 1", "a - 1", False),
    ],
)
def test_a_sentence_in_other_letters_is_wording_and_a_name_is_not(old, new, is_wording):
    assert count_mutants.is_wording(old, new) == is_wording


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("killed", "killed"),
        ("timeout", "killed"),
        ("segfault", "killed"),
        ("not checked", "not tried"),
        ("survived", "survived"),
        ("no tests", "survived"),
        ("suspicious", "survived"),
    ],
)
def test_a_mutant_that_no_test_notices_survives(status, kind):
    found = count_mutants.Change("m.py f", "a", "b")
    assert count_mutants.sort(status, found, []) == kind
    if kind == "survived":
        assert count_mutants.sort(status, found, [found]) == "equivalent"


def test_every_listed_mutant_has_a_reason():
    assert all(count_mutants.parse(count_mutants.LISTED.read_text()).values())
