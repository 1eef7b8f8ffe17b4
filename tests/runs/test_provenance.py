"""Provenance: what it states of machine and code, and when two of them promise the same exams."""

import json
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from grokbench.runs import provenance
from grokbench.runs.provenance import HASHED_CODE, ROOT, UNHASHED_CODE, Provenance, current_provenance
from tests.support.entries import PROVENANCE

OTHER_VALUES: dict[str, Any] = {
    "versions": {"python": "3.12"},
    "device": "cuda (H100)",
    "dtype": None,
    "captured": True,
    "threads": 3,
    "settings": {"gradients": "False"},
    "code": "1" * 64,
}


@pytest.mark.parametrize("name", sorted(set(Provenance.model_fields) - {"commit", "dirty"}))
def test_any_difference_but_the_commit_ends_the_promise(name: str) -> None:
    """Exams must repeat only where all else is equal."""
    other = PROVENANCE.model_copy(update={name: OTHER_VALUES[name]})
    assert not PROVENANCE.repeats(other)
    assert not other.repeats(PROVENANCE)


def test_the_commit_is_no_difference() -> None:
    """The hash of the code says more than the commit's name. Without that hash nothing is promised."""
    assert PROVENANCE.repeats(PROVENANCE.model_copy(update={"commit": "c", "dirty": True}))
    unknown = PROVENANCE.model_copy(update={"code": None})
    assert not unknown.repeats(unknown)


def test_it_states_this_process() -> None:
    """Versions, threads, and the processor with the instruction set that torch uses."""
    now = current_provenance("cpu", "float32")
    assert {name: now.versions[name] for name in ("numpy", "torch")} == {name: version(name) for name in ("numpy", "torch")}
    assert now.threads == torch.get_num_threads()
    assert now.device.startswith("cpu (")
    assert torch.backends.cpu.get_cpu_capability() in now.device
    assert now.repeats(current_provenance("cpu", "float32"))


def test_the_first_processor_is_described() -> None:
    """Not the last, whose values would overwrite those of the first."""
    assert provenance._cpuinfo().get("processor", "0") == "0"
    assert provenance.processor()


def test_required_keys_stay_when_they_are_null() -> None:
    """Only the optional keys are left out: the hash of the code, settings as usual, and on the CPU `captured`."""
    content = json.loads(PROVENANCE.model_copy(update={"code": None, "dtype": None}).model_dump_json())
    assert set(content) == set(Provenance.model_fields) - {"code", "captured", "settings"}
    assert Provenance.model_validate(content).dtype is None


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout with two files in each hashed folder, in place of this one."""
    for name in HASHED_CODE:
        path = tmp_path / name
        for file in [path] if path.suffix else [path / "a.py", path / "deep" / "b.py"]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"# {file.name}\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def code_hash() -> str:
    """The hash of the code as it is now, not as it was at the first call."""
    return provenance.code_hash.__wrapped__()


def test_hashed_paths_exist() -> None:
    """A renamed folder would silently leave the hash."""
    assert all((ROOT / name).exists() for name in (*HASHED_CODE, *UNHASHED_CODE))


def test_a_new_suite_leaves_the_hash(tree: Path) -> None:
    """No exam depends on the lists of tasks, so runs and checkpoints of before still count."""
    before = code_hash()
    for name in UNHASHED_CODE:
        (tree / name).write_text("# another suite\n")
    assert code_hash() == before


@pytest.mark.parametrize("name", HASHED_CODE)
def test_a_change_of_any_hashed_file_changes_the_hash(tree: Path, name: str) -> None:
    """A new, a changed, a renamed and a removed file."""
    hashes = [code_hash()]
    file = tree / name if name.endswith(".py") else tree / name / "deep" / "b.py"
    file.write_text("# changed\n")
    hashes.append(code_hash())
    if not name.endswith(".py"):
        file = file.rename(file.with_name("c.py"))
        hashes.append(code_hash())
        file.unlink()
        hashes.append(code_hash())
    assert len(set(hashes)) == len(hashes)


def test_text_that_moves_between_files_changes_the_hash(tree: Path) -> None:
    """The concatenated text stays the same."""
    first, second = tree / "baselines" / "a.py", tree / "baselines" / "deep" / "b.py"
    before = code_hash()
    text = first.read_text() + second.read_text()
    first.write_text(text[:3])
    second.write_text(text[3:])
    assert code_hash() != before


def test_other_code_does_not_change_the_hash(tree: Path) -> None:
    """Neither tables nor a compiled file can change an exam."""
    before = code_hash()
    (tree / "grokbench" / "results").mkdir()
    (tree / "grokbench" / "results" / "tables.py").write_text("new")
    (tree / "baselines" / "a.pyc").write_bytes(b"new")
    assert code_hash() == before


def git(folder: Path, *arguments: str) -> str:
    """The output of git."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def code_state() -> tuple[str | None, bool | None]:
    """The state of the checkout now."""
    state: Callable[[], tuple[str | None, bool | None]] = provenance._code_state.__wrapped__
    return state()


def test_the_commit_of_a_checkout_and_its_changes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that git doesn't track aren't changes. Without a commit, or without git, nothing is stated."""
    assert code_state() == (None, None)
    git(tree, "init", "--quiet")
    assert code_state() == (None, None)
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "x")
    commit = git(tree, "rev-parse", "HEAD")
    assert code_state() == (commit, False)
    (tree / "untracked").touch()
    assert code_state() == (commit, False)
    (tree / "baselines" / "a.py").write_text("changed")
    assert code_state() == (commit, True)
    monkeypatch.setenv("PATH", str(tree / "nowhere"))
    assert code_state() == (None, None)
