"""All evidence from one CUDA machine, the most telling first: `make gpu`. Needs no network.

Every stage is a few commands, whose output goes to a file. A stage that has ended well isn't repeated, and runs that stopped
go on, so the same command goes on where it was stopped. All results are packed at the end, to be carried away.

The machine brings torch. What else is missing can come as a folder of wheels, which are unpacked beside the results. With
--device cpu the stages run where there is no GPU, to try them.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPEED = ("README.md", "speed-cuda.json")  # of benchmarks/, which `benchmarks.speed` writes on a CUDA machine
GRACE = 15  # seconds, for a stage that is asked to stop
PACKING = 15  # seconds, to pack the results

STAGES = {  # name → what `python -m` executes, a line each
    "tests": "pytest -q -m cuda -p no:cacheprovider tests/test_cuda.py tests/baselines/training/test_shards.py",
    "speed": "benchmarks.speed variants seeds",
    "mini": """
        grokbench run --device DEVICE --out OUT/runs/mini --suite mini --agents transformer_tuned mlp_tuned
        tools.same_on_cuda OUT/runs/mini
        """,
    "core": """
        grokbench run --device DEVICE --out OUT/runs/core --suite core --agents transformer_tuned mlp_tuned
        tools.same_on_cuda OUT/runs/core
        """,
    "tf32": """
        grokbench sweep --device DEVICE --out OUT/runs/tf32 --agents transformer_tuned \
            --tasks sub_mod37-0.6 add_mod47-0.35 div_mod43-0.55 --budget 5000 --seeds 0-9 --vary dtype=tf32
        tools.same_on_cuda OUT/runs/tf32
        """,
    "diagram": """
        grokbench sweep --device DEVICE --out OUT/runs/diagram --agents transformer --tasks sub_mod31-{ratio} \
            --vary ratio=0.45:0.9:10 weight_decay=0.1:10:10:log --seeds 0-9 --budget 1500 --exams sparse
        """,
    "all-speed": "benchmarks.speed runs sweeps moduli deep",
    "deep": """
        grokbench sweep --device DEVICE --out OUT/runs/deep --agents deep_mlp --tasks mnist5k-n2000-to100000 \
            --vary depth=12 width=400 weight_decay=0.01 dtype=float64 --seeds 0-2
        """,
}


def main() -> None:
    """Execute the stages that haven't ended well, until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="the folder of results (default: gpu)")
    parser.add_argument("--limit", type=float, default=3600, help="stop after so many seconds (default: 3600)")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to unpack first")
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=STAGES, help="these stages alone")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu tries the stages without a GPU")
    options = parser.parse_args()
    deadline = time.monotonic() + options.limit - GRACE - PACKING
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    environment = _environment(out, options.wheels) | {"GROKBENCH_CUDA_TESTS": options.device}
    ends = _read_ends(out)
    for name in options.stages:
        if ends.get(name) == "ended well":
            continue
        began = time.monotonic()
        commands = [_filled(line, out, options.device) for line in STAGES[name].strip().splitlines()]
        ends[name] = _end_of(commands, out / f"{name}.txt", environment, deadline)
        print(f"{name}: {ends[name]}, {time.monotonic() - began:.0f} s", flush=True)
        (out / "ends.json").write_text(json.dumps(ends, indent=1) + "\n", encoding="utf-8")
    _pack(out)


def _filled(line: str, out: Path, device: str) -> list[str]:
    """The words of a stage's line."""
    return [word.replace("OUT", str(out)).replace("DEVICE", device) for word in line.split()]


def _pack(out: Path) -> None:
    """Pack all results but checkpoints and wheels as results.tar.gz, to be carried away."""
    with tarfile.open(out / "results.tar.gz", "w:gz") as packed:
        for path in (ROOT / "benchmarks" / name for name in SPEED):
            if path.exists():
                packed.add(path, arcname=path.name)
        for path in sorted(out.rglob("*")):
            parts = path.relative_to(out).parts
            if path.suffix in (".json", ".txt", ".png") and parts[0] != "site":
                packed.add(path, arcname="/".join(parts))


def _read_ends(out: Path) -> dict[str, str]:
    """How each stage ended before."""
    path = out / "ends.json"
    ends: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return ends


def _environment(out: Path, wheels: Path | None) -> dict[str, str]:
    """The environment of all stages, with the unpacked wheels and this checkout on the path."""
    site = out / "site"
    if wheels and not site.exists():
        found = sorted(map(str, wheels.glob("*.whl")))
        if not found:
            sys.exit(f"{wheels} has no wheels")
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site)]
        subprocess.run([*install, *found], check=True)
    paths = [*([str(site)] if site.exists() else []), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def _end_of(commands: list[list[str]], log: Path, environment: dict[str, str], deadline: float) -> str:
    """How a stage ended, whose output goes to `log`."""
    with log.open("a", encoding="utf-8") as output:
        for command in commands:
            left = deadline - time.monotonic()
            if left <= 0:
                return "not begun in time"
            arguments = [sys.executable, "-m", *command]
            process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
            try:
                status = process.wait(left)
            except subprocess.TimeoutExpired:
                _stop(process)
                return "stopped: the time was over"
            if status:
                return f"failed with status {status}"
    return "ended well"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, as Ctrl-C does: runs write a checkpoint and end."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
