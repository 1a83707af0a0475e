"""Judging a document: every problem is said, what says the same is unchanged, what differs is described."""

import hashlib

import pytest

from proxy.control.judge import Accepted, Refused, Unchanged, judge
from proxy.settings import Settings
from tests.control.publishing import BROKEN, GOOD, MOVED, RAISED


def accepted(content: bytes) -> Settings:
    """Return the settings of a good document."""
    verdict = judge(content, None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    return verdict.settings


class TestJudge:
    """The pure part."""

    def test_the_first_document(self) -> None:
        """A good document is accepted, with the digest that sha256sum prints."""
        verdict = judge(GOOD, None, source="a.yaml", environ={})
        assert isinstance(verdict, Accepted)
        assert verdict.digest == hashlib.sha256(GOOD).hexdigest()
        assert verdict.changes == ()

    def test_a_change_is_described(self) -> None:
        """What differs from the running settings is said in sentences."""
        verdict = judge(RAISED, accepted(GOOD), source="a.yaml", environ={})
        assert isinstance(verdict, Accepted)
        assert verdict.changes == ("routes[wine].variants[v2].weight: 5 → 20",)

    @pytest.mark.parametrize("content", [GOOD, b"# a comment\n" + GOOD, b"\xef\xbb\xbf" + GOOD])
    def test_what_says_the_same_is_unchanged(self, content: bytes) -> None:
        """A comment or a byte order mark makes no new table."""
        verdict = judge(content, accepted(GOOD), source="a.yaml", environ={})
        assert isinstance(verdict, Unchanged)
        assert verdict.digest == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (BROKEN, ["a.yaml:10", "a.yaml:11", "m9", "120"]),
            (b"\xff\xfe", ["a.yaml", "UTF-8", "byte 0"]),
            (b"", ["a.yaml"]),
            (b"routes: [", ["a.yaml"]),
            (MOVED, ["a.yaml", "listen", "8081", "needs a restart"]),
        ],
    )
    def test_every_problem_is_said(self, content: bytes, words: list[str]) -> None:
        """A refusal names the file and each problem."""
        verdict = judge(content, accepted(GOOD), source="a.yaml", environ={})
        assert isinstance(verdict, Refused)
        text = "\n".join(verdict.problems)
        assert [word for word in words if word not in text] == []

    def test_variables_come_from_the_given_environment(self) -> None:
        """Judging reads no variable of this process."""
        content = GOOD.replace(b"http://127.0.0.1:9001", b"http://${MODEL_HOST}:9001")
        assert isinstance(judge(content, None, source="a", environ={"MODEL_HOST": "h1"}), Accepted)
        assert isinstance(judge(content, None, source="a", environ={}), Refused)

    def test_warnings_do_not_refuse(self) -> None:
        """What is probably not meant is accepted, and said."""
        content = GOOD.replace(b"routes:", b'  m3: {url: "http://127.0.0.1:9003"}\nroutes:')
        verdict = judge(content, None, source="a.yaml", environ={})
        assert isinstance(verdict, Accepted)
        assert any("m3" in warning for warning in verdict.warnings)
