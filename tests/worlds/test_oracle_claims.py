"""Claims checked on pictures through the oracle agree with claims checked on the scenes."""

import numpy as np
import pytest

from vismem.worlds import oracle
from vismem.worlds.claims import (
    ATTRIBUTES,
    DIRECTIONS,
    MARGIN,
    Background,
    Claim,
    Count,
    Kind,
    NothingElse,
    Related,
)
from vismem.worlds.render import render
from vismem.worlds.scene import PRESETS, sample_scene

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def full_claim(scene):
    """Everything that is true of a scene beyond doubt: kinds, relations, background, no more."""
    kinds = tuple(Kind(t.shape, t.color, t.size, t.fill) for t in scene.things)
    single = [i for i, kind in enumerate(kinds) if kinds.count(kind) == 1]  # "it" is not a twin
    pairs = [(i, j) for i in single for j in single if i != j]
    relations = [Related(r, pair) for r in DIRECTIONS for pair in pairs]
    clauses = [r for r in relations if Claim(kinds, (r,)).holds(scene, MARGIN)]
    return Claim(kinds, (*clauses, Background(scene.background), NothingElse()))


def near_misses(claim, preset, scene):
    """Claims with one attribute, relation or count changed, that are false beyond doubt."""
    changed = []
    for i, kind in enumerate(claim.things):
        for attribute in ATTRIBUTES:
            for value in getattr(preset, f"{attribute}s"):
                things = list(claim.things)
                things[i] = kind._replace(**{attribute: value})
                changed.append(Claim(tuple(things), claim.clauses))
        changed.append(Claim(claim.things[:i] + claim.things[i + 1 :], (NothingElse(),)))
        count = sum(map(kind.matches, scene.things))
        changed += [Claim((), (Count(kind, n),)) for n in (count - 1, count + 1)]
    for clause in claim.clauses:
        if isinstance(clause, Related):
            changed.append(
                Claim(claim.things, (Related(OPPOSITE[clause.relation], clause.things),))
            )
    changed += [Claim((), (Background(b),)) for b in preset.backgrounds]
    return [c for c in changed if not c.holds(scene, -MARGIN)]


@pytest.mark.parametrize(("name", "size"), [("tiny", 32), ("default", 32), ("default", 64)])
def test_pictures_satisfy_their_claims_and_no_near_miss(name, size):
    preset, rng = PRESETS[name], np.random.default_rng(0)
    held, accepted = [], []
    for i in range(150):
        scene = sample_scene(rng, preset, 1 + i % (preset.most + 1))
        read = oracle.read(render(scene, size))
        claim = full_claim(scene)
        held.append(claim.holds(read))
        accepted += [miss.holds(read) for miss in near_misses(claim, preset, scene)]
    assert np.mean(held) >= 0.99
    assert len(accepted) > 2000
    assert np.mean(accepted) <= 0.001
