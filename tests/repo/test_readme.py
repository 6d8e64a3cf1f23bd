"""The README says which test proves what: those tests are there."""

import re

import pytest

from shared.config import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", README))))
def test_a_test_that_is_named_is_there(name):
    """Under that very name."""
    files = (ROOT / "tests").rglob("test_*.py")

    assert any(re.search(rf"^ *def {name}\(", file.read_text("utf-8"), re.MULTILINE) for file in files)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:tests|functions|scheduler|shared|model)/[\w/]+\.\w+)`", README)))
)
def test_a_file_that_is_named_is_there(path):
    """But for those that the reader is told to write."""
    told_to_write = f"`{path}`:\n\n```python" in README

    assert (ROOT / path).is_file() != told_to_write
