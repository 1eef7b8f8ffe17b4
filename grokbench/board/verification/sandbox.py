"""Where an entry's agent runs: bubblewrap, bare namespaces, or a container.

None of them gives it network, secrets, or a place to write other than an empty /tmp.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from grokbench.agents.shipped import baselines_folder
from grokbench.board.verification.environment import PASSED_ON
from grokbench.board.verification.serve import MODULE
from grokbench.errors import VerificationError

SYSTEM_PATHS = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/sys/devices/system")
BUBBLEWRAP = "bwrap --die-with-parent --new-session --proc /proc --dev /dev --perms 1777 --size 1073741824 --tmpfs /tmp"
OWN_USER = "--unshare-all --cap-drop ALL"
# The kernel doesn't count root's processes, so under root the agent becomes nobody.
AS_ROOT = "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID"
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps=-all"
# Without --pdeathsig, a process that is killed would leave its sandbox behind.
NAMESPACES = "setpriv --pdeathsig KILL unshare --user --map-root-user --mount --net --ipc --pid --fork --kill-child"
# Makes a root with the given paths alone, then runs the command without privileges.
NEW_ROOT = """
root=$1; home=$2; shift 2
mount -t tmpfs -o size=1g box "$root"
bind() {
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; touch "$root$2"; fi
    mount --rbind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2" || mount -o remount,bind,ro,nosuid,nodev "$root$2"
}
while [ "$1" != -- ]; do bind "$1" "$1"; shift; done
shift
bind "$home" /agent
mkdir -p "$root/tmp" "$root/proc" "$root/dev" "$root/old"
mount -t proc proc "$root/proc"
for device in null zero random urandom; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
cd "$root"
pivot_root . old
umount -l /old
cd /agent
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
CONTAINER = (
    "docker run --interactive --rm --init --network none --read-only --tmpfs /tmp --user 65534:65534 --cap-drop ALL "
    "--security-opt no-new-privileges --memory 8g --pids-limit 256 --workdir /agent"
)
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]*")  # an image's name, which docker can't take for an option


def sandboxed_command(command: Sequence[str], home: Path) -> list[str] | None:
    """`command` in a sandbox of this machine, or None if no tool makes one here.

    The command sees the system's programs and libraries, Python, grokbench, and the folder `home` as /agent, all of them
    read-only, and an empty /tmp. It sees no network, no other process and no other file. A sandbox of bare namespaces makes
    its root in a folder beside `home`.
    """
    visible = _visible_paths()
    bubblewrap = _bubblewrap(visible, home)
    prefixes = [[*bubblewrap, *OWN_USER.split(), "--"], _namespaces(visible, home)]
    if os.geteuid() == 0:
        prefixes.insert(0, [*bubblewrap, *AS_ROOT.split(), "--", *NOBODY.split(), "--"])
    working = next(filter(_works, prefixes), None)
    return None if working is None else [*working, *command]


def container_command(image: str, home: Path, *, seconds: float) -> list[str]:
    """The command that serves an agent in a container, with little memory, few processes, no user and no privileges.

    Raises:
        VerificationError: no image can have this name.
    """
    if not IMAGE.fullmatch(image):
        raise VerificationError(f"a container image has letters, digits and ./:@_- in its name, got {image!r}")
    volume = f"{home.resolve()}:/agent:ro"
    variables = [f"--env={name}" for name in PASSED_ON]  # with the values that docker itself has, if it has them
    return [*CONTAINER.split(), *variables, f"--volume={volume}", image, "timeout", f"{seconds:.0f}", "python", "-m", MODULE]


def _visible_paths() -> list[str]:
    baselines = baselines_folder()
    packages = [str(baselines.with_name("grokbench")), str(baselines)]
    paths = dict.fromkeys((*SYSTEM_PATHS, sys.base_prefix, sys.prefix, *packages))
    return [path for path in paths if Path(path).exists()]


def _bubblewrap(visible: Sequence[str], home: Path) -> list[str]:
    parents = dict.fromkeys(str(parent) for path in visible for parent in reversed(Path(path).parents[:-1]))
    folders = [word for path in parents for word in ("--dir", path)]  # which any user may pass through
    binds = [word for path in visible for word in ("--ro-bind", path, path)]
    return [*BUBBLEWRAP.split(), *folders, *binds, "--ro-bind", str(home), "/agent", "--chdir", "/agent"]


def _namespaces(visible: Sequence[str], home: Path) -> list[str]:
    root = home.with_name("root")
    root.mkdir(exist_ok=True)
    return [*NAMESPACES.split(), "sh", "-euc", NEW_ROOT, "box", str(root), str(home), *visible, "--"]


def _works(prefix: Sequence[str]) -> bool:
    """Whether grokbench can be imported in this sandbox."""
    if not shutil.which(prefix[0]):
        return False
    trial = [*prefix, sys.executable, "-c", "import grokbench"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0
