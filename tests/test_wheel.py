"""The built wheel, in an environment of its own outside the checkout."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_package_data_is_in_the_wheel(wheel: Path) -> None:
    """Recipes, fingerprints, the reference, type markers; no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("baselines/recipes/mlp.toml", "grokbench/tasks/fingerprints.json", "grokbench/results/reference.json"):
        assert name in names
    assert "grokbench/py.typed" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    """`grokbench.make` and `grokbench run` work from it alone; what it depends on is lent by this environment."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = tmp_path / "venv" / "lib" / version / "site-packages"
    zipfile.ZipFile(wheel).extractall(site)
    # Only the folder is lent, not its .pth files, so that the checkout's editable install stays out.
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    code = "import grokbench; print(grokbench.__file__); grokbench.make('add_mod5-0.5').reset(seed=0)"
    made = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(str(site))
    arguments = ("run", "--agents", "mlp", "--tasks", "add_mod5-0.5", "--seeds", "0", "--max-steps", "50")
    result = subprocess.run([python, "-m", "grokbench", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("runs/*/*/seed-0.json"))) == 1
