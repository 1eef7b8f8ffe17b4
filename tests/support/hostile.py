"""An `agent.py` with agents that misbehave, for the tests of the process that runs an entry's agent."""

from pathlib import Path

CODE = '''
import os, socket, time
import numpy as np
from grokbench.agents.agent import Agent

class Quiet(Agent):
    """Does nothing wrong, for add_mod5; prints to standard output."""
    feature_dims = (2,)
    def reset(self, observation, spec):
        print("to standard output", flush=True)
    def learn(self, steps):
        return {}
    def act(self):
        return {"answers": np.zeros(25, dtype=int), "features": np.ones((25, 2))}
    def state_dict(self): return {}
    def load_state_dict(self, state): pass

class Spy(Quiet):
    """Raises with the name of the first forbidden thing that it can do."""
    def learn(self, steps):
        secrets = [name for name in os.environ if "TOKEN" in name]
        if secrets: raise RuntimeError(f"secrets: {secrets}")
        for what, reach in REACH.items():
            try: reach()
            except OSError: continue
            raise RuntimeError(what)
        return {}

REACH = {
    "the network is there": lambda: socket.create_connection(("127.0.0.1", PORT), timeout=2).close(),
    "a file of the user's can be read": lambda: open("SECRET").close(),
    "the parent's runs can be read": lambda: os.listdir("FOLDER"),
    "its own folder can be written": lambda: open("planted", "w").close(),
    "another process is there": lambda: os.kill(PARENT, 0),
    "it has privileges": lambda: privileged(),
}

def privileged():
    effective = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
    if int(effective[0], 16) == 0: raise OSError("none")

class Backwards(Quiet):
    batched, seeds_together = True, -1

class Countless(Quiet):
    seeds_together = "many"

class Wide(Quiet):
    feature_dims = (2**40,)

class Costly(Quiet):
    def cost(self): return {"flops_per_step": 2**62}

class Priced(Quiet):
    def cost(self): return {"euros": 5}

class Sleeper(Quiet):
    def learn(self, steps): time.sleep(60)

class Quitter(Quiet):
    def learn(self, steps): os._exit(3)

class Talker(Quiet):
    """Writes into every file that it finds open, the pipe of answers among them."""
    def learn(self, steps):
        for fd in range(3, 20):
            try: os.write(fd, b"x" * 100)
            except OSError: pass
        return {}

class Eater(Quiet):
    def learn(self, steps): self.food = bytearray(200 << 30)
'''


def write_hostile_agents(folder: Path, **values: object) -> Path:
    """Write the file, with values for the names PORT, SECRET, FOLDER and PARENT, and return the folder."""
    code = CODE
    for name, value in ({"PORT": 1, "PARENT": 1} | values).items():
        code = code.replace(name, str(value))
    (folder / "agent.py").write_text(code, encoding="utf-8")
    return folder
