"""Text that isn't UTF-8 with the line ends of Unix: what hashes and readers make of it."""

import subprocess
from collections.abc import Callable
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest

from grokbench.agents import find_recipe, recipe
from grokbench.agents.sources import Sources
from grokbench.agents.texts import decoded, text_bytes
from grokbench.errors import RecipeError
from grokbench.runs import provenance

ROOT = Path(__file__).resolve().parents[2]
BOM = b"\xef\xbb\xbf"
AGENT = b"from tests.support.agents import AddingAgent\n\n\nclass Mine(AddingAgent):\n    text = 'a\\r\\n'\n"
Hash = Callable[[Path], str]


def crlf(content: bytes) -> bytes:
    """As git writes a text on Windows."""
    return content.replace(b"\n", b"\r\n")


def cr(content: bytes) -> bytes:
    """As an old editor writes a text."""
    return content.replace(b"\n", b"\r")


@pytest.mark.parametrize("ends", [bytes, crlf, cr])
def test_line_ends_are_no_part_of_a_text(tmp_path: Path, ends: Callable[[bytes], bytes]) -> None:
    """An escaped line end in the text stays."""
    (tmp_path / "a.py").write_bytes(ends(AGENT))
    assert text_bytes(tmp_path / "a.py") == AGENT
    assert b"a\\r\\n" in AGENT


@pytest.mark.parametrize("ends", [crlf, cr])
def test_the_hash_of_an_agent_does_not_depend_on_line_ends(
    tmp_path: Path, ends: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of a clone on Windows are those of the same agent."""
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for name, content in ((f"{ends.__name__}_unix", AGENT), (f"{ends.__name__}_other", ends(AGENT))):
        (tmp_path / f"{name}.py").write_bytes(content)
        invalidate_caches()
        hashes.append(Sources.of(import_module(name).Mine).modules[name])
    assert hashes[0] == hashes[1]


def hash_of_code(folder: Path, monkeypatch: pytest.MonkeyPatch, ends: Callable[[bytes], bytes]) -> str:
    """The code hash of a small checkout whose files have these line ends."""
    for name in ("baselines/__init__.py", "grokbench/agents/a.py", "grokbench/runs/loop.py"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ends(f'"""{name}"""\n\nx = 1\n'.encode()))
    monkeypatch.setattr(provenance, "ROOT", folder)
    monkeypatch.setattr(provenance, "HASHED_CODE", ("baselines", "grokbench/agents", "grokbench/runs/loop.py"))
    return provenance.code_hash.__wrapped__()


def test_the_code_hash_does_not_depend_on_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned, so that records of clones with line ends of Unix keep their hash."""
    hashes = [hash_of_code(tmp_path, monkeypatch, ends) for ends in (bytes, crlf, cr)]
    assert hashes == ["3d721af5d34c389d1250e6298e942d076b2a8766c4b5795045bfdcfa29827a49"] * 3


@pytest.mark.parametrize("mark", [b"", BOM], ids=["none", "mark"])
def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    """Nor of a recipe that it extends."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.toml").write_bytes(mark + b'extends = "mlp"\n[network]\nhidden = [8]\n')
    (tmp_path / "second.toml").write_bytes(mark + crlf(b'extends = "first.toml"\n[network]\nactivation = "relu"\n'))
    assert find_recipe("second.toml").hash == recipe("mlp", network={"hidden": [8], "activation": "relu"}).hash
    assert decoded(mark + "×".encode()) == "×"


def test_another_encoding_is_named(tmp_path: Path) -> None:
    """UTF-16, which some editors write by themselves."""
    (tmp_path / "a.toml").write_text('extends = "mlp"\n', encoding="utf-16")
    with pytest.raises(RecipeError, match=r"can't read the recipe .*utf-8"):
        find_recipe(str(tmp_path / "a.toml"))


def git(folder: Path, *arguments: str) -> None:
    """Run git in `folder`, without the user's settings."""
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def test_clones_have_the_line_ends_of_unix(tmp_path: Path) -> None:
    """Even where git is told to change them, and pictures and Parquet files are left alone."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    git(origin, "init")
    (origin / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    contents = {
        "a.py": AGENT,
        "runs.jsonl": b"{}\n{}\n",
        "entry.toml": b"a = 1\n",
        "a.png": b"1\n2\r\n3",
        "a.parquet": b"\n\r\n",
    }
    contents["a.parquet"] = b"\n\r\n"
    for name, content in contents.items():
        (origin / name).write_bytes(content)
    git(origin, "add", ".")
    git(origin, "commit", "--message", "all")
    git(tmp_path, "clone", "--config", "core.autocrlf=true", str(origin), str(clone))
    assert {name: (clone / name).read_bytes() for name in contents} == contents
