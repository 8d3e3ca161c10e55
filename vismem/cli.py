"""The commands, each a few lines into a room. A user's mistake is one line and exit code 2."""

import argparse
import errno
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vismem import __version__
from vismem.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

# Rooms are imported inside the commands: help and mistakes should not wait for jax.

FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, which the system says without a file's name
EXPANDER = "runs/expansion"  # what `vismem train experiments/expansion.py` makes


def main(argv: list[str] | None = None) -> int:
    """Runs a command line (the process's own by default) and returns the exit code."""
    logging.basicConfig(format="vismem: %(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax warns of what is meant
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torch is missing
    parser = arguments()
    options, settings = parser.parse_known_args(argv)
    try:
        if settings and options.run not in (train, plan, sweep):
            raise UserError(f"{settings[0]}: unknown argument; see vismem {options.command} --help")
        options.settings = settings
        return options.run(options) or 0
    # Files that the system refuses, and bytes that are no text, are the user's to put right too.
    except (UserError, OSError, UnicodeError) as error:
        if isinstance(error, OSError) and not (error.filename or error.errno in FULL):
            raise
        print(f"vismem: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class Parser(argparse.ArgumentParser):
    """argparse, with its own complaints as one line too."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def seed(text: str) -> int:
    """One that both numpy and jax take."""
    number = int(text)
    if not 0 <= number < 2**32:
        raise ValueError
    return number


def positive(text: str) -> int:
    """At least 1."""
    if (number := natural(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def natural(text: str) -> int:
    """At least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number that is not negative")
    return int(text)


def expander(folder: str) -> str:
    """The folder of a run; a text that follows --expand is taken for one."""
    from vismem import config

    if not Path(folder, config.FILE).is_file():
        raise argparse.ArgumentTypeError(
            f"{folder!r} is not a run; texts go before --expand, and {EXPANDER}, which it takes by "
            "default, is made by `vismem train experiments/expansion.py`"
        )
    return folder


def arguments() -> argparse.ArgumentParser:
    parser = Parser(prog="vismem", description="Draws images from language, with a memory.")
    parser.add_argument("--version", action="version", version=f"vismem {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, help, **kwargs):
        sub = commands.add_parser(
            run.__name__, help=help, description=run.__doc__, allow_abbrev=False, **kwargs
        )
        sub.set_defaults(run=run)
        return sub

    sub = command(
        train,
        "train what a config file describes; the same command again resumes",
        usage="vismem train FILE[:ARGUMENT] [--config.KEY=VALUE ...] [--workdir FOLDER] "
        "[--profile FIRST:LAST]",
    )
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="e.g. experiments/quickstart.py")
    sub.add_argument(
        "--workdir", metavar="FOLDER", help="the run's folder; default runs/FILE[-ARGUMENT]"
    )
    sub.add_argument(
        "--profile", metavar="FIRST:LAST", default="", help="trace these steps, into RUN/profile"
    )
    sub.epilog = "--config.KEY=VALUE sets a key of the config, e.g. --config.optimizer.lr=3e-4"

    sub = command(evaluate, "repeat a run's final table")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/quickstart")

    sub = command(draw, "draw texts with a trained run")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/quickstart")
    sub.add_argument("texts", metavar="TEXT", nargs="+", help="what to draw, a picture each")
    sub.add_argument("--out", type=Path, default=Path("out.png"), help="the picture (out.png)")
    sub.add_argument("--steps", type=positive, help="drawing steps; default as the config has it")
    sub.add_argument("--guidance", type=float, help="guidance scale, 1 for none")
    sub.add_argument("--solver", help="as drawing.solver; default as the config has it")
    sub.add_argument("--diversity", help="among drawings of a text: cads, repulsion or slots")
    sub.add_argument("--seed", type=seed, default=0, help="of the noise (0)")
    sub.add_argument(
        "--steps-strip",
        action="store_true",
        help="show every step's estimate, and what each memory slot attended to",
    )
    sub.add_argument(
        "--expand",
        metavar="RUN2",
        nargs="?",
        type=expander,
        const=EXPANDER,
        help=f"draw full descriptions that this run makes of the texts ({EXPANDER})",
    )
    sub.add_argument(
        "--conversation", action="store_true", help="the texts are the turns of one conversation"
    )
    sub.add_argument("--feedback", help="best_of_n, redraw, gradient or correct")
    sub.add_argument("--critic", metavar="RUN3", help="with two towers, that scores the drawings")
    sub.add_argument("--rounds", type=positive, help="the most drawings of a text (4)")
    sub.add_argument("--threshold", type=float, help="the cosine that is good enough (1: none is)")

    sub = command(talk, "draw in conversation, in the terminal")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/memory")
    sub.add_argument("--session", metavar="FILE", help="go on with what /save wrote")
    sub.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("talk"), help="for pictures (talk)"
    )
    sub.add_argument("--seed", type=seed, default=0, help="of the noise of a new session (0)")

    sub = command(edit, "change a picture with a trained run")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/editing")
    sub.add_argument("text", metavar="TEXT", help="what is to be in the mask; or what to do")
    sub.add_argument("--image", metavar="FILE", required=True, help="the picture")
    sub.add_argument("--mask", metavar="FILE", help="as large, white where the picture may change")
    sub.add_argument("--out", type=Path, default=Path("out.png"), help="the new one (out.png)")
    sub.add_argument("--seed", type=seed, default=0, help="of the noise (0)")

    sub = command(caption, "say what pictures show, with a trained run")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/captions")
    sub.add_argument("pictures", metavar="PICTURE", nargs="+", help="files")
    decoding(sub)

    sub = command(ask, "ask a trained run about a picture")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/questions")
    sub.add_argument("picture", metavar="PICTURE", help="a file")
    sub.add_argument("questions", metavar="QUESTION", nargs="+")
    decoding(sub)

    sub = command(
        plan,
        "say what a step would take of a machine that is not here",
        usage="vismem plan FILE[:ARGUMENT] --topology KIND:AxB[xC] [--sweep] "
        "[--config.KEY=VALUE ...]",
    )
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="e.g. experiments/xl.py")
    sub.add_argument("--topology", metavar="KIND:AxB[xC]", required=True, help="e.g. v5e:16x16")
    sub.add_argument("--sweep", action="store_true", help="look for the best mesh and batch")

    sub = command(sweep, "train the runs of an experiment that are not done")
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="a config file with sweep()")
    sub.add_argument("--backend", default="local", help="where (local)")
    sub.epilog = (
        "Further options are the backend's, e.g. --jobs 2; see python -m launch local --help"
    )

    sub = command(table, "make the table of an experiment's runs")
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="a config file with sweep(), table()")
    sub.add_argument("--commit", help="whose runs to show; default: those of the code as it is")

    sub = command(compare, "show what differs between two runs")
    sub.add_argument("first", metavar="RUN", type=Path)
    sub.add_argument("second", metavar="RUN", type=Path)
    sub.add_argument("--out", type=Path, default=Path("compare.png"), help="the curves")
    sub.add_argument("--against", choices=["step", "seconds"], default="step", help="(step)")

    sub = command(report, "write a run's page")
    sub.add_argument("folder", metavar="RUN", type=Path, help="a run's folder")

    sub = command(verify, "compare a pretrained model with the outputs stored beside it")
    sub.add_argument("folder", metavar="FOLDER", help="with inputs.npz and outputs.npz")
    sub.add_argument("--tolerance", type=float, default=1e-5, help="the largest error (1e-5)")

    sub = command(export, "write a run's pretrained encoder as files of another library")
    sub.add_argument("source", metavar="RUN", type=Path, help="a run's folder")
    sub.add_argument("--to", choices=["hf"], required=True, help="hf: Hugging Face's")
    sub.add_argument("--part", choices=["text", "vision"], default="text", help="whose (text)")
    sub.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder")

    sub = command(index, "make an index of a folder's pictures, or add to it what is new")
    sub.add_argument("folder", metavar="FOLDER", type=Path, help="of pictures")
    sub.add_argument(
        "--run", dest="towers", metavar="RUN", type=Path, required=True, help="with two towers"
    )
    sub.add_argument("--out", metavar="INDEX", type=Path, required=True, help="the index's folder")

    sub = command(search, "show the pictures of an index that fit a text or a picture best")
    sub.add_argument("folder", metavar="INDEX", type=Path, help="as vismem index made it")
    sub.add_argument("query", metavar="QUERY", help="a text, or a picture's file")
    sub.add_argument("--count", type=positive, default=12, help="pictures shown (12)")
    sub.add_argument("--out", type=Path, default=Path("search.png"), help="(search.png)")
    return parser


def decoding(parser: argparse.ArgumentParser) -> None:
    """The options for how texts are made."""
    parser.add_argument("--beams", type=positive, default=1, help="texts extended side by side (1)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 for no chance (0)")
    parser.add_argument("--top-p", type=float, default=1.0, help="share of a nucleus (1)")
    parser.add_argument("--seed", type=seed, default=0, help="of random texts (0)")


def train(options: argparse.Namespace) -> None:
    """Trains what a config file describes, then shows the final table. Resumes what was begun."""
    from vismem import config
    from vismem.reports import sweeps

    settings = config.override(config.load(options.file), options.settings)
    folder = Path(options.workdir or sweeps.RUNS / sweeps.name(options.file))
    run = config.run_config(settings)

    from vismem.parallel import hosts, locks
    from vismem.reports import curves, table
    from vismem.training import loop

    with hosts.joined(), locks.held(folder):
        hosts.on_first(config.write, settings, folder)
        summary = loop.train(run, folder, options.profile)

        def show() -> None:
            curves.save(folder)
            table.show(summary["metrics"], title=str(folder))

        hosts.on_first(show)


def evaluate(options: argparse.Namespace) -> None:
    """Evaluates a run's newest checkpoint: the table that its training ended with."""
    from vismem import config

    settings = config.run_config(config.read(options.folder))

    from vismem.parallel import hosts
    from vismem.reports import table
    from vismem.training import run

    with hosts.joined():
        metrics = run.evaluate(settings, Path(options.folder))
        hosts.on_first(lambda: table.show(metrics, title=options.folder))


def draw(options: argparse.Namespace) -> None:
    """Draws texts with a trained run, a picture each, with the texts under them."""
    check_picture(options.out)

    import vismem
    from vismem import registry
    from vismem.drawing import STRATEGIES, sessions, sheets
    from vismem.drawing.artist import make_diversity

    if options.expand and options.conversation:
        raise UserError("--expand: makes full descriptions, not turns; leave out --conversation")
    limits = {"rounds": options.rounds, "threshold": options.threshold}
    limits = {name: value for name, value in limits.items() if value is not None}
    if bool(options.feedback) != bool(options.critic) or (limits and not options.feedback):
        raise UserError("--feedback: needs --critic RUN; without it there are no rounds to limit")
    if options.feedback and (options.conversation or options.steps_strip):
        raise UserError("--feedback: leave out --conversation and --steps-strip")
    strategy = options.feedback and registry.resolve(STRATEGIES, options.feedback, "--feedback")()
    artist, texts = vismem.load(options.folder), options.texts
    if options.expand:
        texts = vismem.expander(options.expand).expand(texts, seed=options.seed)
    how = {
        "seed": options.seed,
        "steps": options.steps,
        "solver": options.solver,
        "guidance_scale": options.guidance,
        "diversity": options.diversity and make_diversity({"name": options.diversity}),
        "trace": options.steps_strip,
    }
    if options.feedback:
        from vismem.drawing import feedback

        del how["trace"]
        critic = vismem.critic(options.critic)
        found = feedback.improve(artist, critic, texts, strategy, **limits, **how)
        print(*feedback.account(found, texts), sep="\n")
        sheet = sheets.grid(found[-1].images, texts)
    elif options.conversation:
        sheet = sheets.conversation(sessions.converse(artist, texts, **how), texts)
    else:
        drawing = artist.draw(texts, **how)
        if options.steps_strip:
            sheet = sheets.strip(drawing, texts)
        else:
            sheet = sheets.grid(drawing.images, texts)
    save(sheet, options.out)


def check_picture(out: Path, lossless: bool = False) -> None:
    """Before the work that it is to hold is done."""
    from PIL import Image

    kind = Image.registered_extensions().get(out.suffix.lower())
    if kind not in Image.SAVE:  # some are only read
        raise UserError(f"--out {out}: not a kind of picture; end it in .png")
    if lossless and kind not in ("PNG", "TIFF", "BMP", "PPM"):
        raise UserError(
            f"--out {out}: {kind} does not keep every bit outside --mask; end it in .png"
        )


def save(sheet: "Image.Image", out: Path) -> None:
    """Writes a sheet and says where."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    print(out)


def talk(options: argparse.Namespace) -> None:
    """Draws in conversation: a line says what to draw or to change; /help says what else."""
    import vismem
    from vismem.drawing import talk

    artist = vismem.load(options.folder)
    session = artist.resume(options.session) if options.session else artist.session(options.seed)
    talk.Talk(session, options.out).run(talk.lines())


def edit(options: argparse.Namespace) -> None:
    """Changes a picture: inside a mask, where nothing else changes by a bit; or as told."""
    check_picture(options.out, lossless=bool(options.mask))

    from PIL import Image

    from vismem.data import images
    from vismem.drawing import masks

    where = os.path.split(os.path.abspath(options.image))
    picture = images.read(*where, exact=bool(options.mask))
    mask = masks.read(options.mask) if options.mask else None

    import vismem
    from vismem.drawing import editing

    artist = vismem.load(options.folder)
    edited = editing.edit(artist, picture, options.text, mask, options.seed)
    save(Image.fromarray(edited), options.out)


def caption(options: argparse.Namespace) -> None:
    """Says what pictures show, a line each."""
    print(*read(options, options.pictures), sep="\n")


def ask(options: argparse.Namespace) -> None:
    """Answers questions about a picture, a line each."""
    print(*read(options, [options.picture] * len(options.questions), options.questions), sep="\n")


def read(options: argparse.Namespace, files: list[str], prompts: list[str] | None = None):
    """The texts that a run's reader has for pictures in files."""
    from vismem.data import images

    pictures = [images.read(*os.path.split(os.path.abspath(file))) for file in files]

    from vismem.training import run

    return run.reader(options.folder).read(
        pictures,
        prompts,
        seed=options.seed,
        beams=options.beams,
        temperature=options.temperature,
        top_p=options.top_p,
    )


def plan(options: argparse.Namespace) -> int:
    """Compiles the train step for a machine that is not here; exit code 1 where it does not fit."""
    from vismem import config

    settings = config.run_config(config.override(config.load(options.file), options.settings))

    from vismem.planning import machine, plan, search, show

    chip, devices = machine.devices(options.topology, settings.mesh.slices)
    if machine.has_slower_links(options.topology, settings.mesh.slices):
        print(show.LOOSE)
    if options.sweep:
        best = show.compare(search.sweep(settings, chip, devices))
        return int(best is None)
    found = plan.make(settings, chip, devices)
    show.show(found, f"{options.file} on {options.topology}")
    if not found.fits:
        show.remedy(*search.remedy(settings, chip, devices, found))
    return int(not found.fits)


def sweep(options: argparse.Namespace) -> int:
    """Trains what is missing of an experiment's sweep and resumes what broke, seed after seed."""
    from launch.__main__ import arguments, launch

    given = [options.backend, options.file, "--sweep", *options.settings]
    return launch(arguments().parse_args(given))


def table(options: argparse.Namespace) -> None:
    """Makes table.md, table.tex and table.csv of an experiment's runs, beside them."""
    from vismem.reports import sweep_table

    rows = sweep_table.make(options.file, options.commit)
    print(sweep_table.markdown(rows))
    print(*sweep_table.save(options.file, rows))


def compare(options: argparse.Namespace) -> None:
    """Prints where two runs' configs differ and what both ended with, and draws their curves."""
    from vismem.reports import compare, curves

    compare.show(options.first, options.second)
    curves.write(compare.draw(options.first, options.second, options.against), options.out)
    print(options.out)


def report(options: argparse.Namespace) -> None:
    """Writes RUN/page.html: config, curves, drawings over time, numbers, timings, versions."""
    from vismem.reports import page

    print(page.write(options.folder))


def verify(options: argparse.Namespace) -> int:
    """Runs inputs.npz and compares with outputs.npz; exit code 1 where an error is too large."""
    from vismem.pretrained import verify

    errors = verify.errors(options.folder)
    verify.show(errors, options.tolerance, options.folder)
    return int(not all(error <= options.tolerance for error in errors.values()))


def export(options: argparse.Namespace) -> None:
    """Writes a run's pretrained encoder or T5, tuned or not, to a new folder, with tokenizer."""
    from vismem.training.export import export

    export(options.source, options.folder, options.part)
    print(options.folder)


def index(options: argparse.Namespace) -> None:
    """Embeds the pictures that INDEX does not have yet; the same command again goes on."""
    import vismem
    from vismem.evaluation.index import build

    critic = vismem.critic(options.towers)
    added, unread = build(options.folder, critic, options.towers, options.out)
    print(f"{options.out}: {added} pictures added" + f", {unread} cannot be read" * bool(unread))


def search(options: argparse.Namespace) -> None:
    """Shows the pictures of an index that fit best, with their cosines, on a sheet."""
    check_picture(options.out)

    import vismem
    from vismem.evaluation import index

    found = index.Index(options.folder)
    sheet = found.sheet(vismem.critic(found.run), options.query, options.count)
    save(sheet, options.out)
