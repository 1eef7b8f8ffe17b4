"""Markdown: sections between marks, and text that must stay text."""

import html
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokbench.errors import MarkdownError
from grokbench.results.markdown import inert, with_section, write_section


def test_a_section_is_replaced_between_its_marks() -> None:
    """The text around it and other sections stay."""
    content = "a\n<!-- x -->old<!-- /x -->\nb\n<!-- y -->\nkept\n<!-- /y -->\n"
    assert with_section(content, "x", "new") == "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n<!-- y -->\nkept\n<!-- /y -->\n"


@pytest.mark.parametrize("content", ["", "<!-- x -->", "<!-- /x --><!-- x -->", "<!-- y --><!-- /y -->"])
def test_missing_marks_are_an_error(tmp_path: Path, content: str) -> None:
    """The file stays as it is."""
    path = tmp_path / "README.md"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MarkdownError, match="needs the lines <!-- x --> and <!-- /x -->"):
        write_section(path, "x", "new")
    assert path.read_text(encoding="utf-8") == content


@given(text=st.text(max_size=50))
def test_inert_text_has_no_markup(text: str) -> None:
    """No character is left that HTML or Markdown could read as more than text, or that ends a line or a cell."""
    escaped = inert(text)
    assert not set(escaped) & set("<>[]()`*_|\\\"'@:!~{}\n\r\t.")


@given(text=st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=50))
def test_inert_text_reads_as_it_was(text: str) -> None:
    """A browser shows the same characters."""
    assert html.unescape(inert(text)) == text
