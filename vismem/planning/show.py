"""Plans in the terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from vismem.planning.plan import Plan

NAMES = {"params": "parameters", "opt": "optimizer", "ema": "average", "batch": "batch"}
G = 2**30


def show(plan: Plan, title: str, console: Console | None = None) -> None:
    """A plan as a table: what a chip holds, what a step computes and sends, and the bound."""
    table = Table("a chip's memory", "GiB", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for part, size in plan.state.items():
        table.add_row(NAMES[part], f"{size / G:.3f}")
    table.add_row("activations, gradients, program", f"{plan.working / G:.3f}")
    available = plan.available or plan.chip.memory
    table.add_row("all", f"{plan.used / G:.3f} of {available / G:.2f}", end_section=True)
    table.add_row("[bold]a step", "")
    table.add_row("model", f"{plan.model_flops / 1e12:.2f} TFLOP")
    table.add_row("products computed", f"{plan.flops / 1e12:.2f} TFLOP", end_section=True)
    for kind, traffic in (plan.collectives or {}).items():
        table.add_row(f"{traffic.count} x {kind}, a chip sends", f"{traffic.bytes / G:.3f}")
    if plan.collectives:
        table.rows[-1].end_section = True
    for what, seconds in plan.bounds.items():
        table.add_row(f"at least, for {what}", f"{1e3 * seconds:.1f} ms")
    console = console or Console()
    console.print(table)
    if not plan.fits:
        over = (plan.used - available) / G
        console.print(f"does not fit: {over:.2f} GiB a chip too much")
        return
    console.print(
        f"{plan.parameters / 1e6:,.1f} M parameters; a step of {plan.batch_size:,} takes at least "
        f"{1e3 * plan.seconds:.1f} ms, MFU at most {plan.mfu:.0%}; "
        f"compiled in {plan.compile_seconds:.0f} s"
    )


def remedy(settings: str, plan: Plan, console: Console | None = None) -> None:
    """The change that makes a plan fit, if there is one, and the plan then."""
    found = f"fits with {settings}: {line(plan)}" if settings else "no single change makes it fit"
    (console or Console()).print(found)


def compare(plans: Iterable[Plan], console: Console | None = None) -> None:
    """Plans as lines, as they come, and the one with the most pictures a second again."""
    console = console or Console()
    best = None
    for plan in plans:
        console.print(line(plan))
        if plan.fits and (best is None or rate(plan) > rate(best)):
            best = plan
    console.print(f"best: {line(best)}" if best else "nothing fits")


def rate(plan: Plan) -> float:
    """Pictures a second, at most."""
    return plan.batch_size / plan.seconds


def line(plan: Plan) -> str:
    """A plan on one line."""
    mesh = " ".join(f"{axis}={size}" for axis, size in plan.mesh.items() if size > 1)
    said = f"{mesh or 'one chip'} batch_size={plan.batch_size}: {plan.used / G:.2f} GiB a chip"
    if not plan.fits:
        return f"{said}, does not fit"
    return (
        f"{said}, step at least {1e3 * plan.seconds:.1f} ms, at most {rate(plan):,.0f} pictures/s, "
        f"MFU {plan.mfu:.0%}"
    )
