"""Every file of the corpus, and what is near it, is survived by its target.

Longer: ``make fuzz SECONDS=600``.
"""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import CORPUS
from tests.fuzz.targets import TARGETS

FILES = sorted(path for path in CORPUS.glob("*/*"))
SEEDS = {
    name: [path.read_bytes() for path in FILES if path.parent.name == name] for name in TARGETS
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_target_survives_the_file(path: Path):
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus_and_the_corpus_is_small():
    assert all(SEEDS.values())
    assert {path.parent.name for path in FILES} == TARGETS.keys()
    assert sum(path.stat().st_size for path in FILES) < 200_000


@pytest.mark.parametrize("name", TARGETS)
@given(st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_target_survives_what_is_near_a_file(name: str, chance: random.Random):
    TARGETS[name](mutate(chance, SEEDS[name]))


@pytest.mark.parametrize("name", TARGETS)
@given(st.binary(max_size=600))
@settings(max_examples=40)
def test_the_target_survives_anything(name: str, data: bytes):
    TARGETS[name](data)
