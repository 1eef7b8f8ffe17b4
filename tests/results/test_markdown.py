"""Markdown: sections between marks, and text that must stay text."""

import html
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from grokbench.errors import MarkdownError
from grokbench.results.markdown import inert, with_front_matter, with_section, write_section


def test_a_section_is_replaced_between_its_marks() -> None:
    """The text around it stays, and so do other sections."""
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
    """No character is left that opens a tag, a link or a mention, or that ends a line or a cell."""
    escaped = inert(text)
    assert not set(escaped) & set("<>[]()`*_|\\\"'@:!~{}\n\r\t.")


@given(text=st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=50))
def test_inert_text_reads_as_it_was(text: str) -> None:
    """A browser shows the same characters."""
    assert html.unescape(inert(text)) == text


MARKUP = st.text(alphabet=" ab1-+*_#>=~`|[]()<>!&;:.\\/\n\t\u202e", max_size=30)


@given(text=MARKUP)
def test_a_markdown_parser_reads_inert_text_as_text(text: str) -> None:
    """As a paragraph and as a cell of a table, it renders as the same words and nothing else."""
    visible = "".join(c if c.isprintable() else " " for c in text)
    words = html.escape(" ".join(visible.split()))
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    assert parser.render(inert(text)) == (f"<p>{words}</p>\n" if words else "")
    cell = parser.render(f"| a | b |\n|--|--|\n| {inert(text)} | c |\n").split("<td>")[1:]
    assert [part.partition("</td>")[0] for part in cell] == [words, "c"]


@given(text=MARKUP, content=st.text(max_size=20))
def test_a_section_is_written_once(text: str, content: str) -> None:
    """Writing it again changes nothing, even if the text names the closing mark."""
    hostile = inert(f"<!-- /x -->{text}<!-- x -->")
    once = with_section(f"before<!-- x -->{inert(content)}<!-- /x -->after", "x", hostile)
    assert once == f"before<!-- x -->\n\n{hostile}\n\n<!-- /x -->after"
    assert with_section(once, "x", hostile) == once


def test_a_section_is_not_taken_for_one_with_a_longer_name() -> None:
    """The whole name counts."""
    content = "<!-- board-old -->kept<!-- /board-old --><!-- board -->replaced<!-- /board -->"
    assert "<!-- board-old -->kept<!-- /board-old -->" in with_section(content, "board", "new")


def test_a_file_keeps_its_letters(tmp_path: Path) -> None:
    """It is read and written as UTF-8, whatever the system's encoding."""
    path = tmp_path / "README.md"
    path.write_bytes("größer – 大<!-- x --><!-- /x -->".encode())
    write_section(path, "x", "×4.84")
    assert path.read_bytes().decode() == "größer – 大<!-- x -->\n\n×4.84\n\n<!-- /x -->"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("# Title\n\nText\n", id="none"),
        pytest.param("---\nold: 1\n---\n\n# Title\n\nText\n", id="another"),
        pytest.param("---\n---\n# Title\n\nText\n", id="an empty one"),
    ],
)
def test_front_matter_is_replaced(content: str) -> None:
    """The text below it stays, and a second time changes nothing."""
    written = with_front_matter(content, "new: 2")
    assert written == "---\nnew: 2\n---\n\n# Title\n\nText\n"
    assert with_front_matter(written, "new: 2") == written


def test_a_rule_is_no_front_matter() -> None:
    """A line of hyphens that no other closes, or that comes later."""
    for content in ("---\nText\n", "Text\n\n---\n\nmore\n---\n"):
        assert with_front_matter(content, "a: 1") == f"---\na: 1\n---\n\n{content}"
