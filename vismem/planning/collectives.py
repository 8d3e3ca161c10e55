"""What a compiled program sends between devices, read from its text (XLA's HLO)."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "f64": 8}

COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) \(")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\(")
ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+)\[([\d,]*)\]")
COLLECTIVE = re.compile(rf"({'|'.join(KINDS)})(-start)?")


@dataclass(frozen=True)
class Traffic:
    """Of one kind of collective, in one run of the program: how many each device takes part in, and
    the bytes it sends for them."""

    count: int = 0
    bytes: int = 0


class Instruction(NamedTuple):
    name: str
    result: str  # its type
    op: str
    line: str


def traffic(text: str) -> dict[str, Traffic]:
    """Kind of collective -> its traffic; loops count as often as they run.

    Bytes are those of the usual algorithms on a ring of n devices: an array of b bytes costs each
    device b (n - 1) / n to gather, to scatter or to exchange, and twice that to reduce for all.

    Args:
      text: `compiled.as_text()`.
    """
    computations, entry = parse(text)
    counts: Counter = Counter()
    sent: Counter = Counter()

    def visit(name: str, times: int) -> None:
        seen = set()
        for computation, instruction in reached(computations, name):
            if instruction.op == "while":
                body, condition = _called(instruction, "body"), _called(instruction, "condition")
                visit(body, times * trips(computations, condition, instruction))
            elif match := COLLECTIVE.fullmatch(instruction.op):
                # On TPUs one collective is spread over several fusions; its channel tells.
                channel = re.search(r"channel_id=(\d+)", instruction.line)
                inside = computation != name and channel
                if inside and channel[1] in seen:
                    continue
                seen |= {channel[1]} if inside else set()
                scattered = computation.startswith("all-reduce-scatter")
                kind = "reduce-scatter" if scattered else match[1]
                counts[kind] += times
                sent[kind] += times * _bytes(instruction, match[1], scattered)

    visit(entry, 1)
    return {kind: Traffic(counts[kind], sent[kind]) for kind in KINDS if counts[kind]}


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Computation -> its instructions, and the name of the one that is the program."""
    computations: dict[str, list[Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if line[:1].isspace():
            if match := INSTRUCTION.match(line):
                computations[current].append(Instruction(*match.groups(), line))
        elif match := COMPUTATION.match(line):
            current = match[2]
            computations[current] = []
            entry = current if match[1] else entry
    return computations, entry


def reached(
    computations: dict[str, list[Instruction]], name: str
) -> Iterator[tuple[str, Instruction]]:
    """The instructions of a computation and of all it calls, loops' bodies left out."""
    for instruction in computations.get(name, ()):
        yield name, instruction
        if instruction.op != "while":
            for called in re.findall(r"(?:calls|to_apply)=%?([\w.-]+)", instruction.line):
                yield from reached(computations, called)


def trips(computations: dict[str, list[Instruction]], condition: str, loop: Instruction) -> int:
    """How often a loop runs, as the compiler says or, counting up from 0, as its condition says."""
    if known := re.search(r'known_trip_count[^}]*?"n":"(\d+)"', loop.line):
        return int(known[1])
    limits = [
        int(constant[1])
        for _, instruction in reached(computations, condition)
        if (constant := re.search(r"[su]32\[\]\S* constant\((\d+)\)", instruction.line))
    ]
    return max(limits, default=1)


def _called(instruction: Instruction, role: str) -> str:
    return re.search(rf"{role}=%?([\w.-]+)", instruction.line)[1]


def _bytes(instruction: Instruction, kind: str, scattered: bool) -> int:
    result, started = instruction.result, instruction.op.endswith("-start")
    if started and result.startswith("(("):  # after what is sent, ((...), (...)) on GPUs
        result = result.partition("), ")[2]
        started = False
    arrays = [
        math.prod(map(int, filter(None, shape.split(",")))) * ITEM_BYTES.get(dtype, 4)
        for dtype, shape in ARRAY.findall(result)
    ]
    if started and kind in ("all-gather", "collective-permute"):  # (one, other, ...) on TPUs
        arrays = arrays[1:2]
    size, group = sum(arrays), _group(instruction.line)
    match kind:
        case "collective-permute":
            return size
        case "reduce-scatter":
            return size * (group - 1)
        case "all-reduce":
            return (1 if scattered else 2) * size * (group - 1) // group
        case _:
            return size * (group - 1) // group


def _group(line: str) -> int:
    """Devices that one collective is among."""
    if groups := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(groups[1])
    named = r"replica_groups=mesh\[(.*?)\](?:, device_ids=\S+)? ?\{(.*?)\}"
    if groups := re.search(named, line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", groups[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", groups[2]))
    if groups := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(groups[1].split(","))
    return 1
