"""Plans in the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from vismem.planning.plan import Plan

NAMES = {"params": "parameters", "opt": "optimizer", "ema": "average", "batch": "batch"}
G = 2**30
LOOSE = (
    "the bound for the interconnect is loose: a slower network joins slices, and hosts of GPUs, "
    "but all that is sent is taken to go over the chips' own links"
)


def show(plan: Plan, title: str, console: Console | None = None) -> None:
    """A plan as a table: what a chip holds, what a step computes and sends, and the bound."""
    table = Table("a chip's memory", "GiB", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for part, size in plan.state.items():
        table.add_row(NAMES[part], f"{size / G:.3f}")
    gradients = min(plan.gradients, plan.working)  # not all are held at once, if it is less
    table.add_row("gradients", f"{gradients / G:.3f}")
    table.add_row("activations, program", f"{(plan.working - gradients) / G:.3f}")
    table.add_row("all", f"{plan.used / G:.3f} of {plan.memory / G:.2f}", end_section=True)
    table.add_row("[bold]a step", "")
    table.add_row("model", f"{plan.model_flops / 1e12:.2f} TFLOP ({plan.share:.0%})")
    table.add_row("products computed", f"{plan.flops / 1e12:.2f} TFLOP", end_section=True)
    for kind, traffic in (plan.collectives or {}).items():
        table.add_row(f"{traffic.count} x {kind}, a chip sends", f"{traffic.bytes / G:.3f}")
    if plan.collectives:
        table.rows[-1].end_section = True
    for what, seconds in plan.bounds.items():
        table.add_row(f"at least, for {what}", f"{1e3 * seconds:.1f} ms")
    console = console or Console()
    console.print(table)
    said = f"a step of {plan.batch_size:,} does not fit: {plan.over / G:.2f} GiB a chip too much"
    if plan.fits:
        said = (
            f"a step of {plan.batch_size:,} takes at least {1e3 * plan.seconds:.1f} ms, "
            f"MFU at most {plan.mfu:.0%}"
        )
    console.print(
        f"{plan.parameters / 1e6:,.1f} M parameters; {said}; "
        f"compiled in {plan.compile_seconds:.0f} s",
        soft_wrap=True,
    )


def remedy(settings: Mapping[str, Any], plan: Plan, console: Console | None = None) -> None:
    """The changes that make a plan fit, if there are any, and the plan then."""
    written = " ".join(f"{key}={value}" for key, value in settings.items())
    found = "no two changes make it fit, nor a smaller batch besides"
    if settings:
        found = f"fits with {written}: {line(plan)}"
    if "batch_size" in settings:
        found += "; fewer pictures a step are another experiment, not only another layout"
    (console or Console()).print(found, soft_wrap=True)


def compare(plans: Iterable[Plan], console: Console | None = None) -> Plan | None:
    """Plans as lines, as they come, and the one with the most pictures a second again, which is
    returned; None if nothing fits."""
    console = console or Console()
    best = least = None
    for plan in plans:
        console.print(line(plan), soft_wrap=True)
        least = plan if least is None else min(plan, least, key=lambda plan: plan.over)
        if plan.fits and (best is None or plan.rate > best.rate):
            best = plan
    if best:
        console.print(f"best: {line(best)}", soft_wrap=True)
    elif least:
        console.print(f"nothing fits; at best {least.over / G:.2f} GiB a chip are too much")
    return best


def line(plan: Plan) -> str:
    """A plan on one line."""
    mesh = " ".join(f"{axis}={size}" for axis, size in plan.mesh.items() if size > 1)
    said = f"{mesh or 'one chip'} batch_size={plan.batch_size}: {plan.used / G:.2f} GiB a chip"
    if not plan.fits:
        return f"{said}, does not fit"
    return (
        f"{said}, step at least {1e3 * plan.seconds:.1f} ms, at most {plan.rate:,.0f} pictures/s, "
        f"MFU {plan.mfu:.0%}"
    )
