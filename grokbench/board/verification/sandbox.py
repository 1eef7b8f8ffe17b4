"""Where an entry's agent runs: bubblewrap, namespaces alone, or a container. No network, no secrets, nothing to write to."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from grokbench.agents.recipes import RECIPES

CHILD = "grokbench.board.verification.serve"
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/sys/devices/system")
BUBBLEWRAP = "bwrap --die-with-parent --new-session --proc /proc --dev /dev --perms 1777 --size 1073741824 --tmpfs /tmp"
OWN_USER = "--unshare-all --cap-drop ALL"
# Root's processes aren't counted, so under root the child becomes nobody.
AS_ROOT = "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID"
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps=-all"
NAMESPACES = "unshare --user --map-root-user --mount --net --ipc --pid --fork --kill-child"
BOX = """
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
"""  # a root of its own with the paths given, then the command without a privilege


def sandbox(command: Sequence[str], home: Path) -> list[str] | None:
    """`command` in a sandbox of this machine, bubblewrap's or one made of namespaces alone; None where there is none.

    It sees the system's programs and libraries, Python, grokbench and `home` as /agent, all read-only, and an empty /tmp: no
    network, no other process, no file of anybody's. The namespaces' root is made beside `home`.
    """
    packages = [str(files(package)) for package in ("grokbench", RECIPES)]
    visible = [path for path in dict.fromkeys((*SYSTEM, sys.base_prefix, sys.prefix, *packages)) if Path(path).exists()]
    root = home.with_name("root")
    root.mkdir(exist_ok=True)
    above = dict.fromkeys(str(one) for path in visible for one in reversed(Path(path).parents[:-1]))  # for all to pass through
    binds = [word for path in above for word in ("--dir", path)]
    binds += [word for path in visible for word in ("--ro-bind", path, path)]
    bubble = [*BUBBLEWRAP.split(), *binds, "--ro-bind", str(home), "/agent", "--chdir", "/agent"]
    as_root = [[*bubble, *AS_ROOT.split(), *NOBODY.split()]] if os.geteuid() == 0 else []
    ways = [
        *as_root,
        [*bubble, *OWN_USER.split()],
        [*NAMESPACES.split(), "sh", "-euc", BOX, "box", str(root), str(home), *visible, "--"],
    ]
    for way in ways:
        trial = [*way, sys.executable, "-c", "import grokbench"]
        if shutil.which(way[0]) and subprocess.run(trial, capture_output=True, check=False).returncode == 0:
            return [*way, *command]
    return None


def container(image: str, home: Path, seconds: float) -> list[str]:
    """The child in a container: no network, nothing to write to, no user, no privileges, little memory, few processes."""
    options = "--interactive --rm --init --network none --read-only --tmpfs /tmp --user 65534:65534 --cap-drop ALL"
    options += " --security-opt no-new-privileges --memory 8g --pids-limit 256 --workdir /agent"
    mount = ["--volume", f"{home.resolve()}:/agent:ro"]
    return ["docker", "run", *options.split(), *mount, image, "timeout", f"{seconds:.0f}", "python", "-m", CHILD]
