import pytest

from entangle_cli.text import csv_cell, parse_json, plain, suggestion


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("conv1>relu", "conv1>relu"),
        ("größe 漢字", "größe 漢字"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("right\u202eleft", "right\\u202eleft"),
        ("bell\x07", "bell\\x07"),
    ],
)
def test_text_that_a_terminal_would_obey_is_shown_as_escapes(given, shown):
    assert plain(given) == shown


def test_names_that_differ_in_control_characters_stay_apart():
    assert plain("a\x00b") != plain("a\x01b")


@pytest.mark.parametrize("formula", ["=cmd()", "+1", "-1", "@x"])
def test_formulas_are_quoted_for_spreadsheets(formula):
    assert csv_cell(formula) == "'" + formula


def test_numbers_stay_numbers_in_csv():
    assert csv_cell(-1.5) == -1.5


def test_a_near_miss_gets_a_suggestion_and_nonsense_does_not():
    assert suggestion("holdot", ["train", "holdout"]) == " (did you mean 'holdout'?)"
    assert suggestion("xyz", ["train", "holdout"]) == ""


def test_json_that_is_nested_too_deeply_is_no_json():
    assert parse_json('{"a": [1]}') == {"a": [1]}
    for text in ("[" * 100_000, b'{"a":' * 50_000, "{", "1" * 5000):
        with pytest.raises(ValueError, match=r"nested|Expecting|Exceeds"):
            parse_json(text)
