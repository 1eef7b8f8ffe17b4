"""The draws of an instance, against Philox and the fingerprint written out in plain Python."""

import hashlib
import struct
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokbench.errors import TaskError
from grokbench.tasks import make_instance, parse_id
from grokbench.tasks.task import Draws

TASK = parse_id("add_mod7-0.5")
MASK = 2**64 - 1


def philox(key: int, count: int) -> list[int]:
    """Philox4x64-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", with numpy's counter from 1."""
    numbers: list[int] = []
    for counter in range(1, 2 + count // 4):
        x = [counter, 0, 0, 0]
        k0, k1 = key & MASK, key >> 64
        for _ in range(10):
            first, second = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
            x = [(second >> 64) ^ x[1] ^ k0, second & MASK, (first >> 64) ^ x[3] ^ k1, first & MASK]
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
        numbers += x
    return numbers[:count]


@pytest.mark.parametrize(("seed", "salt"), [(0, ""), (2**63 - 1, "ein Überraschungs-\0-Salz 🧂")])
def test_numbers_are_philox_keyed_by_sha256(seed: int, salt: str) -> None:
    """The key is the first half of the hash of task, seed, purpose and salt, least byte first."""
    digest = hashlib.sha256(b"\0".join([b"add_mod7-0.5-v1", str(seed).encode(), b"split", salt.encode()])).digest()
    expected = philox(int.from_bytes(digest[:16], "little"), 49)
    draws = Draws(TASK, seed, salt)
    assert draws.numbers("split", 49).tolist() == expected
    assert draws.order("split", 49).tolist() == sorted(range(49), key=expected.__getitem__)


def test_an_instance_follows_from_its_draws() -> None:
    """The training questions come first in the order of the split. Questions are those of the table sorted as shown."""
    draws, instance = Draws(TASK, 5, "s"), make_instance(TASK, 5, "s")
    shown = draws.order("symbols", 7).tolist()
    questions = sorted(product(range(7), repeat=2), key=lambda pair: (shown[pair[0]], shown[pair[1]]))
    assert [tuple(pair) for pair in instance.places.tolist()] == questions
    assert np.flatnonzero(instance.train).tolist() == sorted(draws.order("split", 49)[:24].tolist())
    assert instance.shown_answers.tolist() == [shown[(a + b) % 7] for a, b in questions]


def test_the_answers_of_a_control_are_remainders() -> None:
    """Of the 64-bit draws by the number of symbols, so that every symbol is as likely."""
    draws = Draws(parse_id("random_mod5-0.5"), 0, "")
    assert draws.answers().tolist() == [number % 5 for number in draws.numbers("answers", 25).tolist()]


def test_the_fingerprint_is_of_names_shapes_and_bytes() -> None:
    """Written out with `struct`: eight bytes a number and a byte a truth value, least byte first."""
    instance = make_instance(TASK, 3)
    parts = [f"inputs{(49, 2)}".encode() + struct.pack("<98q", *instance.places.ravel().tolist())]
    parts += [f"answers{(49,)}".encode() + struct.pack("<49q", *instance.answers.tolist())]
    parts += [f"seen{(49,)}".encode() + struct.pack("<49?", *instance.train.tolist())]
    parts += [f"symbols{(7,)}".encode() + struct.pack("<7q", *Draws(TASK, 3, "").order("symbols", 7).tolist())]
    assert instance.fingerprint == hashlib.sha256(b"".join(parts)).hexdigest()


@given(st.lists(st.tuples(st.sampled_from(["split", "agent"]), st.integers(0, 200), st.text(max_size=4)), unique=True))
def test_every_purpose_seed_and_salt_has_a_key_of_its_own(draws: list[tuple[str, int, str]]) -> None:
    """Seed 1 with salt "2" isn't seed 12, and salts of zeros, digits and signs are no exception."""
    keys = {Draws(TASK, seed, salt).key(purpose) for purpose, seed, salt in draws}
    assert len(keys) == len(draws)
    assert all(0 <= key < 2**128 for key in keys)


@pytest.mark.parametrize("salt", [1, None, b"salt", "\udcff"])
def test_a_salt_that_has_no_bytes_is_refused(salt: object) -> None:
    """A command line turns bytes that aren't UTF-8 into surrogates, which can't be hashed."""
    with pytest.raises(TaskError, match="a salt is text, got"):
        make_instance(TASK, 0, salt)  # type: ignore[arg-type]


def test_the_agents_seed_tells_nothing_of_the_instance() -> None:
    """It comes from a draw of its own, so it is none of the keys that made the instance, nor the seed itself."""
    instance = make_instance(TASK, 9)
    draws = Draws(TASK, 9, "")
    keys = {draws.key(purpose) >> 65 for purpose in ("symbols", "split", "answers", "order")}
    assert instance.agent_seed not in keys | {9}
    assert instance.agent_seed == draws.key("agent") >> 65
