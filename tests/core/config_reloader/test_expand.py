"""`$(NAME)` in bytes: the table of Kubernetes' own tests, and what files add to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.config_reloader.core.expand import UnsetVariable, expand
from sidecars.config_reloader.core.steps import Unset

ENVIRON = {"VAR_A": "A", "VAR_B": "B", "VAR_C": "C", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": "", "a.b-c": "dotted"}

# The cases of third_party/forked/golang/expansion/expand_test.go, where a variable that is not set stays as it stands.
AS_KUBERNETES: dict[str, tuple[str, str]] = {
    "whole string": ("$(VAR_A)", "A"),
    "repeat": ("$(VAR_A)-$(VAR_A)", "A-A"),
    "compound": ("$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
    "middle": ("___$(VAR_B)___", "___B___"),
    "escape and expand": ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
    "mixed in escapes": ("f000-$$VAR_A", "f000-$VAR_A"),
    "a backslash is no escape": ("foo\\$(VAR_C)bar", "foo\\Cbar"),
    "nested": ("$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))"),
    "nested, second type": ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
    "a value that is a reference": ("%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%"),
    "an empty value": ("foo$(VAR_EMPTY)bar", "foobar"),
    "unterminated": ("foo$(VAR_Awhoops!", "foo$(VAR_Awhoops!"),
    "without operator": ("f00__(VAR_A)__", "f00__(VAR_A)__"),
    "shell's own variables": ("$?_boo_$!", "$?_boo_$!"),
    "a bare name": ("$VAR_A", "$VAR_A"),
    "not set": ("$(VAR_DNE)", "$(VAR_DNE)"),
    "even operators, not set": ("$$$$$$(BIG_MONEY)", "$$$(BIG_MONEY)"),
    "even operators, set": ("$$$$$$(VAR_A)", "$$$(VAR_A)"),
    "odd operators, not set": ("$$$$$$$(GOOD_ODDS)", "$$$$(GOOD_ODDS)"),
    "odd operators, set": ("$$$$$$$(VAR_A)", "$$$A"),
    "missing open": ("$VAR_A)", "$VAR_A)"),
    "braces": ("${VAR_A}", "${VAR_A}"),
    "incomplete at the end": ("$(VAR_B)_______$(A", "B_______$(A"),
    "open at the end": ("$(VAR_C)_______$(", "C_______$("),
    "operator at the end": ("$(VAR_A)foobarzab$", "Afoobarzab$"),
    "lots of opens": ("--$($($($($--", "--$($($($($--"),
    "an escape after an open": ("$(a $$(VAR_A $$$ $", "$(a $(VAR_A $$ $"),
    "operators in a name": ("$(foo$$var)", "$(foo$$var)"),
    "newline": ("\n", "\n"),
    "dots and dashes in a name": ("$(a.b-c)", "dotted"),
    "no name": ("$()$( VAR_A )$(1A)", "$()$( VAR_A )$(1A)"),
}


@pytest.mark.parametrize(("text", "expected"), AS_KUBERNETES.values(), ids=AS_KUBERNETES.keys())
def test_text_is_expanded_as_kubernetes_expands_arguments(text: str, expected: str) -> None:
    assert expand(text.encode(), ENVIRON, Unset.KEEP) == expected.encode()


def test_an_unclosed_reference_does_not_swallow_the_next_line() -> None:
    assert expand(b"$(open\n$(VAR_A)\n", ENVIRON, Unset.KEEP) == b"$(open\nA\n"


def test_an_unset_variable_is_an_error_that_names_it_and_its_line() -> None:
    with pytest.raises(UnsetVariable) as caught:
        expand(b"$(VAR_A)\r\n\n x $$(FINE) $(MISSING) $(OTHER)", ENVIRON, Unset.ERROR)
    assert (caught.value.name, caught.value.line) == ("MISSING", 3)


@pytest.mark.parametrize(("unset", "expected"), [(Unset.KEEP, b"<$(NO)>"), (Unset.EMPTY, b"<>")])
def test_an_unset_variable_may_stay_or_vanish(unset: Unset, expected: bytes) -> None:
    assert expand(b"<$(NO)>", ENVIRON, unset) == expected


@pytest.mark.parametrize("unset", Unset)
def test_what_is_no_name_is_never_missing(unset: Unset) -> None:
    assert expand(b"$(date +%s) $(jq '.a')", {}, unset) == b"$(date +%s) $(jq '.a')"


def test_binary_content_is_left_as_it_is() -> None:
    assert expand(b"$(VAR_A)\0$$", ENVIRON, Unset.ERROR) == b"$(VAR_A)\0$$"


def test_bytes_of_any_encoding_around_a_reference_survive() -> None:
    assert expand(b"\xff\xfe$(VAR_A)\x80", ENVIRON, Unset.ERROR) == b"\xff\xfeA\x80"


def test_a_value_that_is_not_utf8_comes_out_as_it_went_in() -> None:
    assert expand(b"$(V)", {"V": "\udcff\u00e4"}, Unset.ERROR) == b"\xff\xc3\xa4"


@given(st.text(alphabet="$(){}VAR_\n \\", max_size=40))
def test_doubling_every_operator_protects_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$").encode(), ENVIRON, Unset.ERROR) == text.encode()


def test_many_opens_cost_little() -> None:
    """A pattern that looked to the end of the file for every open would take hours for this."""
    content = b"$(" * 2_000_000
    assert expand(content, {}, Unset.ERROR) == content
