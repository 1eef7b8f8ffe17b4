"""The workflow files, checked offline against the schema that comes with check-jsonschema, and for what they may do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_files_are_valid() -> None:
    """Every workflow follows GitHub's schema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_script_is_built_from_the_event(path: Path) -> None:
    """What a pull request's author can choose reaches a shell through the environment alone."""
    text = path.read_text(encoding="utf-8")
    scripts = re.findall(r"run: (?:\|\n((?:          .*\n)+)|(.*)\n)", text)
    assert scripts
    assert not any("github.event" in part for script in scripts for part in script)
    assert "pull_request_target" not in text
    assert "${{ secrets" not in text


def test_only_the_comment_may_write() -> None:
    """What reads or runs an entry has a read-only token."""
    for path in WORKFLOWS:
        assert ("pull-requests: write" in path.read_text(encoding="utf-8")) == (path.name == "comment.yml")


def test_every_command_is_a_make_target() -> None:
    """The targets that the workflows call are the Makefile's."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = {name for path in WORKFLOWS for name in re.findall(r"make ([a-z]+)", path.read_text(encoding="utf-8"))}
    assert called
    assert called <= targets
