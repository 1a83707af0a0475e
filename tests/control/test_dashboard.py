"""The dashboard holds all it needs and trusts nothing it shows."""

import re
from base64 import b64encode
from hashlib import sha256

from proxy.control.dashboard import CONTENT_SECURITY_POLICY, PAGE, build_policy


def test_policy_names_each_inline_part() -> None:
    """The digest of every inline style and script is in the policy, so the page works under it."""
    page = b"<style>a</style><script>b</script><script>c\n</script>"
    for content in (b"a", b"b", b"c\n"):
        assert f"'sha256-{b64encode(sha256(content).digest()).decode()}'" in build_policy(page)
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; style-src 'sha256-")


def test_nothing_comes_from_elsewhere() -> None:
    """The page loads nothing: no source, no import, no address but the proxy's own."""
    text = PAGE.decode()
    outside = set(re.findall(r"https?://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
    assert set() == outside
    assert re.findall(r"\bsrc=|@import|url\(", text) == []
    assert re.findall(r'fetch\("([^"]+)"', text) == ["/api/v1/status"]


def test_nothing_shown_is_read_as_markup() -> None:
    """Names from the configuration reach the page as text, never as HTML or as code."""
    text = PAGE.decode()
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text) == []
    )
    assert re.findall(r"<[^>]+\s(on\w+|style)=", text.partition("<script>")[0]) == []
