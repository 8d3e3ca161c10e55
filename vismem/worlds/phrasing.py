"""Instructions to texts, and texts back to the instructions they were made of."""

from random import Random

from vismem.errors import UserError
from vismem.worlds.instructions import (
    IT,
    Add,
    Again,
    Alter,
    Beside,
    In,
    Instruction,
    Move,
    Named,
    PutBack,
    Recalled,
    Reference,
    Remove,
    Swap,
    Undo,
    Where,
)
from vismem.worlds.language import Language

_ENDS = (("side", "the"), ("second_side", "other"))  # slots of the one or two things beside
_TEMPLATES = (
    "add",
    "again",
    "remove",
    "put back",
    "restore color",
    "restore size",
    "alter color",
    "alter size",
    "move",
    "swap",
    "undo",
)


def phrase(instruction: Instruction, language: Language, chance: Random) -> str:
    """The text of an instruction.

    Args:
      chance: picks among synonyms; the same for the same sequence of random numbers.
    """

    def the(reference: Reference) -> str:
        if isinstance(reference, Named):
            return language.phrase("the", reference.kind, chance)
        return language.word("recalled", reference.role, chance)

    def place(where: Where, inside: str, slot: str) -> str:
        if isinstance(where[0], In):
            slots = {slot: language.word(slot, where[0].place, chance)}
            return language.say(inside, chance, **slots)
        slots = {}
        for (side, thing), beside in zip(_ENDS, where):
            slots[side] = language.word("side", beside.side, chance)
            slots[thing] = the(beside.thing)
        if len(where) == 2:
            return language.say("beside two", chance, **slots)
        if where[0].thing == IT and inside == "in":  # a thing to be moved has a left of its own
            slots["its_side"] = language.word("its_side", where[0].side, chance)
            return language.say("beside it", chance, **slots)
        return language.say("beside", chance, **slots)

    match instruction:
        case Add(kind, where):
            template = "add"
            slots = {"a": language.phrase("a", kind, chance), "where": place(where, "in", "place")}
        case Again(side):
            template, slots = "again", {"direction": language.word("direction", side, chance)}
        case Remove(thing):
            template, slots = "remove", {"the": the(thing)}
        case PutBack():
            template, slots = "put back", {}
        case Alter(thing, attribute, None):
            template, slots = f"restore {attribute}", {"the": the(thing)}
        case Alter(thing, attribute, value):
            template = f"alter {attribute}"
            slots = {"the": the(thing), attribute: language.word(attribute, value, chance)}
        case Move(thing, where):
            template = "move"
            slots = {"the": the(thing), "whither": place(where, "into", "to")}
        case Swap(first, second):
            template, slots = "swap", {"the": the(first), "other": the(second)}
        case Undo(number):
            template, slots = "undo", {"steps": language.word("steps", number, chance)}
    return language.say(template, chance, **slots)


def parse(text: str, language: Language) -> Instruction:
    """The instruction of a text in the world's own language; UserError if it is not in it."""

    def the(words: str) -> Reference:
        role = language.value("recalled", words)
        return Recalled(role) if role else Named(language.kind("the", words))

    def place(words: str, inside: str, slot: str) -> Where:
        if found := language.match(inside, words):
            return (In(language.value(slot, found[slot])),)
        found = language.match("beside two", words) or language.match("beside it", words)
        if "its_side" in found:
            return (Beside(language.value("its_side", found["its_side"]), IT),)
        return tuple(
            Beside(language.value("side", found[side]), the(found[thing]))
            for side, thing in _ENDS[: len(found) // 2]
        )

    for template in _TEMPLATES:
        found = language.match(template, text)
        if found is None:
            continue
        match template.split():
            case ["add"]:
                return Add(language.kind("a", found["a"]), place(found["where"], "in", "place"))
            case ["again"]:
                return Again(language.value("direction", found["direction"]))
            case ["remove"]:
                return Remove(the(found["the"]))
            case ["put", "back"]:
                return PutBack()
            case ["restore", attribute]:
                return Alter(the(found["the"]), attribute, None)
            case ["alter", attribute]:
                value = language.value(attribute, found[attribute])
                return Alter(the(found["the"]), attribute, value)
            case ["move"]:
                return Move(the(found["the"]), place(found["whither"], "into", "to"))
            case ["swap"]:
                return Swap(the(found["the"]), the(found["other"]))
            case ["undo"]:
                return Undo(language.value("steps", found["steps"]))
    raise UserError(f"instruction {text!r}: cannot be read; say it like 'remove the red circle'")
