"""The embedded world: scenes, pictures of them, texts with claims about them, and an oracle.

world = worlds.world("tiny")
example = world.example("train", 0)   # .scene, .text, .claim, .image(32), .questions()
example.claim.holds(worlds.oracle.read(example.image(32)))
talk = worlds.dialogue("tiny").example("train", 0)   # .texts, .scenes, .claims, .needs_memory
worlds.corrections.correction(talk.claims[0], talk.near_miss(0).scene)   # what is wrong with it
"""

import importlib

from vismem.worlds.dialogue import Conversation, Dialogue, dialogue
from vismem.worlds.edits import Edit, Edits
from vismem.worlds.world import Example, World, world

__all__ = [
    "Conversation",
    "Dialogue",
    "Edit",
    "Edits",
    "Example",
    "World",
    "corrections",
    "dialogue",
    "oracle",
    "world",
]


def __getattr__(name: str):
    if name in ("oracle", "corrections"):  # need scipy, which takes its time
        return importlib.import_module(f"vismem.worlds.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
