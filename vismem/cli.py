"""Command lines to commands (commands.py). A user's mistake is one line and exit code 2."""

import argparse
import logging
import os
from pathlib import Path

from vismem import __version__, commands
from vismem.errors import UserError, reported

EXPANDER = "runs/expansion"  # what `vismem train experiments/expansion.py` makes


def main(argv: list[str] | None = None) -> int:
    """Runs a command line (the process's own by default) and returns the exit code."""
    logging.basicConfig(format="vismem: %(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax warns of what is meant
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torch is missing
    parser = arguments()
    options, settings = parser.parse_known_args(argv)

    def command() -> int | None:
        if settings and options.run not in (commands.train, commands.plan, commands.sweep):
            raise UserError(f"{settings[0]}: unknown argument; see vismem {options.command} --help")
        options.settings = settings
        return options.run(options)

    return reported("vismem", command)


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
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, help, **kwargs):
        sub = subparsers.add_parser(
            run.__name__, help=help, description=run.__doc__, allow_abbrev=False, **kwargs
        )
        sub.set_defaults(run=run)
        return sub

    sub = command(
        commands.train,
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

    sub = command(commands.evaluate, "repeat a run's final table")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/quickstart")

    sub = command(commands.draw, "draw texts with a trained run")
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

    sub = command(commands.talk, "draw in conversation, in the terminal")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/memory")
    sub.add_argument("--session", metavar="FILE", help="go on with what /save wrote")
    sub.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("talk"), help="for pictures (talk)"
    )
    sub.add_argument("--seed", type=seed, default=0, help="of the noise of a new session (0)")

    sub = command(commands.edit, "change a picture with a trained run")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/editing")
    sub.add_argument("text", metavar="TEXT", help="what is to be in the mask; or what to do")
    sub.add_argument("--image", metavar="FILE", required=True, help="the picture")
    sub.add_argument("--mask", metavar="FILE", help="as large, white where the picture may change")
    sub.add_argument("--out", type=Path, default=Path("out.png"), help="the new one (out.png)")
    sub.add_argument("--seed", type=seed, default=0, help="of the noise (0)")

    sub = command(commands.caption, "say what pictures show, with a trained run")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/captions")
    sub.add_argument("pictures", metavar="PICTURE", nargs="+", help="files")
    decoding(sub)

    sub = command(commands.ask, "ask a trained run about a picture")
    sub.add_argument("folder", metavar="RUN", help="a run's folder, e.g. runs/questions")
    sub.add_argument("picture", metavar="PICTURE", help="a file")
    sub.add_argument("questions", metavar="QUESTION", nargs="+")
    decoding(sub)

    sub = command(
        commands.plan,
        "say what a step would take of a machine that is not here",
        usage="vismem plan FILE[:ARGUMENT] --topology KIND:AxB[xC] [--sweep] "
        "[--config.KEY=VALUE ...]",
    )
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="e.g. experiments/xl.py")
    sub.add_argument("--topology", metavar="KIND:AxB[xC]", required=True, help="e.g. v5e:16x16")
    sub.add_argument("--sweep", action="store_true", help="look for the best mesh and batch")

    sub = command(commands.sweep, "train the runs of an experiment that are not done")
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="a config file with sweep()")
    sub.add_argument("--backend", default="local", help="where (local)")
    sub.epilog = (
        "Further options are the backend's, e.g. --jobs 2; see python -m launch local --help"
    )

    sub = command(commands.table, "make the table of an experiment's runs")
    sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="a config file with sweep(), table()")
    sub.add_argument("--commit", help="whose runs to show; default: those of the code as it is")

    sub = command(commands.compare, "show what differs between two runs")
    sub.add_argument("first", metavar="RUN", type=Path)
    sub.add_argument("second", metavar="RUN", type=Path)
    sub.add_argument("--out", type=Path, default=Path("compare.png"), help="the curves")
    sub.add_argument("--against", choices=["step", "seconds"], default="step", help="(step)")

    sub = command(commands.report, "write a run's page")
    sub.add_argument("folder", metavar="RUN", type=Path, help="a run's folder")

    sub = command(commands.verify, "compare a pretrained model with the outputs stored beside it")
    sub.add_argument("folder", metavar="FOLDER", help="with inputs.npz and outputs.npz")
    sub.add_argument("--tolerance", type=float, default=1e-5, help="the largest error (1e-5)")

    sub = command(commands.export, "write a run's pretrained encoder as files of another library")
    sub.add_argument("source", metavar="RUN", type=Path, help="a run's folder")
    sub.add_argument("--to", choices=["hf"], required=True, help="hf: Hugging Face's")
    sub.add_argument("--part", choices=["text", "vision"], default="text", help="whose (text)")
    sub.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder")

    sub = command(commands.index, "make an index of a folder's pictures, or add to it what is new")
    sub.add_argument("folder", metavar="FOLDER", type=Path, help="of pictures")
    sub.add_argument(
        "--run", dest="towers", metavar="RUN", type=Path, required=True, help="with two towers"
    )
    sub.add_argument("--out", metavar="INDEX", type=Path, required=True, help="the index's folder")

    sub = command(
        commands.search, "show the pictures of an index that fit a text or a picture best"
    )
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
