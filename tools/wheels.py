"""The wheels that a machine with PyTorch lacks for `make gpu`: `python -m tools.wheels FOLDER`, where there is a network.

What grokbench needs, in the versions installed here, without torch and the large packages that are there wherever people train.
"""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHON = "3.12"
PLATFORMS = [*(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)), "manylinux2014_x86_64", "manylinux1_x86_64"]
LEFT_OUT = {"torch", "numpy", "scipy", "matplotlib", "pandas", "pillow", "scikit-learn", "joblib", "datasets"}


def main(folder: Path) -> None:
    """Download the wheels."""
    pins = [f"{name}=={version(name)}" for name in sorted(needed("grokbench", extras={"images"}) - {"grokbench"})]
    platforms = [option for platform in PLATFORMS for option in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON]
    subprocess.run([*command, "--implementation", "cp", *platforms, "-d", str(folder), *pins], check=True)
    print(f"{len(pins)} wheels in {folder}: make gpu WHEELS={folder}")


def needed(name: str, extras: set[str] | None = None) -> set[str]:
    """The package and all that it needs, without `LEFT_OUT` and what only these need."""
    found: set[str] = set()
    todo = [(canonicalize_name(name), extras or set())]
    while todo:
        package, wanted = todo.pop()
        if package in found or package in LEFT_OUT:
            continue
        found.add(package)
        try:
            requirements = [Requirement(line) for line in requires(package) or []]
        except PackageNotFoundError:
            continue
        for requirement in requirements:
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                todo.append((canonicalize_name(requirement.name), set(requirement.extras)))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
