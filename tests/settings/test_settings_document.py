from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings import document
from proxy.settings.document import Document, Expanded, Path, path_text, read_document, resolve_plain


def doc(text: str, **environ: str) -> Document:
    return read_document(text, environ=environ, source="f.yaml")


def value(text: str, **environ: str) -> Any:
    read = doc(text, **environ)
    assert not read.problems
    return read.value


def problem(text: str, **environ: str) -> str:
    (only,) = doc(text, **environ).problems
    return str(only)


class TestScalars:
    @pytest.mark.parametrize(
        ("text", "meaning"),
        [
            ("", None),
            ("~", None),
            ("null", None),
            ("true", True),
            ("False", False),
            ("no", "no"),
            ("on", "on"),
            ("12", 12),
            ("-3", -3),
            ("007", 7),
            ("0x10", "0x10"),
            ("1_000", "1_000"),
            ("1:30", "1:30"),
            ("2001-01-01", "2001-01-01"),
            (".inf", ".inf"),
            ("9" * 41, "9" * 41),
            ("'12'", "12"),
            ('"true"', "true"),
            ("header:x", "header:x"),
        ],
    )
    def test_mean_what_yaml_1_2_says(self, text: str, meaning: object) -> None:
        """Unquoted words are null, booleans or numbers by YAML 1.2's core schema, everything else is text."""
        read = value(f"a: {text}")["a"]
        assert (meaning, type(meaning)) == (read, type(read))

    @pytest.mark.parametrize("text", ["0.1", "1e-5", ".5", "1.", "-2.5E+3", "33.333333"])
    def test_decimals_are_exact(self, text: str) -> None:
        """A number with a point or exponent is the decimal that is written."""
        assert Decimal(text) == value(f"a: {text}")["a"]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("!foo x", "'!foo'"),
            ("!!int abc", "int"),
            ("!!python/name:os.system x", "python"),
            ("!!binary aGk=", "binary"),
            ("!!set {a}", "set"),
            ("!!omap [a: b]", "omap"),
        ],
    )
    def test_tags_are_refused(self, text: str, found: str) -> None:
        """A tag that is not plain data is a problem, never an object."""
        assert found in problem(f"a: {text}")

    def test_str_tag(self) -> None:
        """An explicit text tag makes text of a number."""
        assert value("a: !!str 12") == {"a": "12"}


class TestVariables:
    @pytest.mark.parametrize(
        ("text", "meaning"),
        [
            ("${X}", "v"),
            ("a${X}b${X}", "avbv"),
            ("${EMPTY}", None),
            ("${EMPTY:-d}", "d"),
            ("${UNSET:-d e}", "d e"),
            ("${UNSET:-}", None),
            ("'${UNSET:-}'", None),
            ("$$X", "$X"),
            ("$${X}", "${X}"),
            ("'$'", "$"),
            ("$X", "$X"),
            ("${YAML}", "{a: [1, 2]}"),
            ("${AGAIN}", "${X}"),
        ],
    )
    def test_expanded_once_as_text(self, text: str, meaning: object) -> None:
        """A variable is replaced once by its text, which is never read as YAML structure or expanded again."""
        assert meaning == value(f"a: {text}", X="v", EMPTY="", YAML="{a: [1, 2]}", AGAIN="${X}")["a"]

    def test_numbers(self) -> None:
        """A variable that holds a number can be text or the number, in quotes or not."""
        read = value("a: ${N}\nb: '${N}'\nc: ${N}0\nd: ${N}x", N="12")
        assert read == {"a": "12", "b": "12", "c": "120", "d": "12x"}
        assert [Expanded, Expanded, Expanded, str] == [type(v) for v in read.values()]

    def test_keys_are_not_expanded(self) -> None:
        """A variable in a key stays as it is written."""
        assert value("'${X}': 1", X="v") == {"${X}": 1}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("${MISSING}", "the environment variable MISSING to be set (or write ${MISSING:-default})"),
            ("${", "${NAME} or ${NAME:-default}"),
            ("'${a b}'", "${NAME} or ${NAME:-default}"),
            ("${1X}", "${NAME} or ${NAME:-default}"),
            ("${BIG}", "at most 65536 characters"),
            ("${HALF}", "UTF-8 text"),
            ("${NUL}", "UTF-8 text"),
        ],
    )
    def test_problems(self, text: str, expected: str) -> None:
        """A variable that is missing, misspelt, too long or no text is a problem with its line."""
        told = problem(f"a: 1\nb: {text}", BIG="x" * 70_000, HALF="\udc80", NUL="\0")
        assert told.startswith("f.yaml:2:4: b: found ")
        assert expected in told

    def test_every_missing_variable(self) -> None:
        """Two missing variables in one value are two problems."""
        assert len(doc("a: ${A}${B}").problems) == 2

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=50))
    def test_any_text_passes_unchanged(self, text: str) -> None:
        """What a variable holds arrives unchanged."""
        assert (text or None) == value("a: '${X}'", X=text)["a"]


class TestStructure:
    def test_places(self) -> None:
        """Every value knows the line and column of its key and of itself, from 1."""
        read = doc("a:\n  - b: 1\n    c:   two\n")
        place = read.source.places["a", 0, "c"]
        assert (place.line, place.column, place.key_line, place.key_column) == (3, 10, 3, 5)
        assert place.written == "'two'"

    def test_duplicate_keys(self) -> None:
        """A key that stands twice is a problem at its second place, which names the first."""
        expected = "f.yaml:3:1: a: found the key a second time (first in line 1), expected each key once"
        assert expected == problem("a: 1\nb: 2\na: 3")

    def test_anchors_and_merges(self) -> None:
        """Aliases repeat a value; merged keys give way to the mapping's own and to earlier merges."""
        text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\nw: {<<: *y, d: 3}\nl: *x"
        read = value(text)
        assert read["z"] == {"a": 0, "b": 1, "c": 2}
        assert read["w"] == {"b": 2, "c": 2, "d": 3}
        assert read["l"] == read["x"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("<<: 1", "an alias of a mapping"),
            ("<<: [1]", "an alias of a mapping"),
            ("? [a]\n: 1", "a plain key"),
            ('"\\ud800": 1', "a surrogate"),
            ('a: "\\ud800"', "a surrogate"),
        ],
    )
    def test_odd_keys(self, text: str, expected: str) -> None:
        """Merges of nothing, keys that are no text and half characters are problems."""
        assert expected in problem(text)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "f.yaml: found an empty document, expected a mapping with models and routes"),
            (
                "# only a comment",
                "f.yaml: found an empty document, expected a mapping with models and routes",
            ),
            ("a:\n\tb: 1", "f.yaml:2:1: found character '\\t' that cannot start any token, expected spaces"),
            ("a: *", "quotes"),
            ("a: *b", "f.yaml:1:4: found undefined alias 'b', expected an anchor of that name above"),
            (
                "a: b: c",
                "f.yaml:1:5: found text that is not YAML (mapping values are not allowed here), expected one key",
            ),
            (
                "a: [1, 2",
                "f.yaml:1:9: found text that is not YAML (expected ',' or ']', but got '<stream end>')",
            ),
            (
                "a: {b: ${X}}",
                "f.yaml:1:9: found text that is not YAML (expected ',' or '}', but got '{'), expected quotes",
            ),
            ("a: 'b", "f.yaml:1:6: found unexpected end of stream"),
            ("a: 1\n---\nb: 2", "f.yaml:2:1: found another document, expected one document"),
            ("a: 1\nb: \x07", "f.yaml:2:1: found the character U+0007, expected printable text in UTF-8"),
            ('a: "\\UFFFFFFFF"', "found text that is not YAML"),
            ("%YAML 9.0\n--- a", "found incompatible YAML document"),
            ("&a [*a]", "expected at most 32 levels after following aliases"),
            ("&a {<<: *a}", "expected at most 32 levels after following aliases"),
            ("[" * 40 + "]" * 40, "f.yaml:1:33: found deeper nesting, expected at most 32 levels"),
            ("- " * 5000 + "a", "found deeper nesting, expected at most 32 levels"),
            ("x" * (document.MAX_TEXT + 1), "found 1048577 characters, expected at most 1048576"),
        ],
    )
    def test_refused(self, text: str, told: str) -> None:
        """Text that is no document, or one beyond the bounds, is one problem that says how to mend it."""
        read = doc(text)
        assert read.value is None
        assert [told in str(p) for p in read.problems] == [True]

    def test_aliases_cannot_multiply(self) -> None:
        """A small text whose aliases unfold into more than the bound is refused instead of unfolded."""
        lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
        assert "at most 100000 after following aliases" in problem("\n".join(lines))

    @given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"#%@`\\\t\n $~<?0."), max_size=60))
    def test_total(self, text: str) -> None:
        """Any text is a value with places, or problems; never another exception."""
        read = doc(text)
        assert read.problems or read.value is not None or text
        for path in read.source.places:
            assert isinstance(path_text(path), str)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("routes", 0, "variants", 1, "weight"), "routes[0].variants[1].weight"),
        (("models", "wine-v1.2", "url"), "models.wine-v1.2.url"),
        (("a b", "c"), "'a b'.c"),
        (("a", "x" * 200), f"a.'{'x' * 59}…'"),
    ],
)
def test_path_text(path: Path, text: str) -> None:
    """A path reads as an operator would write it; odd keys are quoted and clipped."""
    assert text == path_text(path)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a: {b: c}", "a mapping"),
        ("a: [b]", "a list"),
        ("a: ", "nothing"),
        ("a: 0.10", "0.10"),
        ("a: text", "'text'"),
        ("a: http://user:pw@host/x", "'http://***@host/x'"),
        ("a: " + "x" * 100, f"'{'x' * 59}…'"),
        ("a: ${X:-d}", "'${X:-d}' (what the variable holds is not shown)"),
        ("a: 'b${X:-d}'", "'b${X:-d}' (what the variable holds is not shown)"),
    ],
)
def test_written(text: str, written: str) -> None:
    """A value is quoted as the file writes it: clipped, without passwords, without what variables hold."""
    assert written == doc(text, X="hidden").source.written(("a",))


def test_many_problems_of_one_value_are_few() -> None:
    """A value with thousands of variables that are not set, or that do not end, is told of in a moment."""
    missing = doc("a: '" + "".join(f"${{V{i}}}" for i in range(100_000)) + "'").problems
    assert len(missing) == 20
    assert "the environment variable V0 to be set" in missing[0].expected
    open_ended = doc("a: '" + "${A:-" * 200_000 + "'").problems
    assert "${NAME} or ${NAME:-default}" in open_ended[0].expected
    assert len(open_ended) == 2  # and what is left is too long
    (quoted,) = doc("a: '" + "/" * 1_000_000 + "'\nb: &x\n  c: *y").problems
    assert quoted.line == 3


def test_problem_at_what_is_not_there() -> None:
    """A path that does not exist is placed at the nearest value around it."""
    source = doc("a:\n  b: {c: 1}").source
    problem = source.problem(("a", "b", "d", 0), "something")
    assert (problem.line, problem.column, problem.path, problem.found) == (2, 6, "a.b.d[0]", "nothing")


@given(st.text(max_size=20))
def test_resolve_plain_is_total(text: str) -> None:
    """Any text has a meaning, and only the text itself is a str."""
    meaning = resolve_plain(text)
    assert meaning == text if isinstance(meaning, str) else meaning is None or Decimal(meaning).is_finite()
