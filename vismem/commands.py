"""The commands, each a few lines into a room."""

import argparse
from pathlib import Path

from vismem.errors import UserError

# Rooms are imported inside the commands: help and mistakes should not wait for jax.


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
    sheets.write(sheet, options.out)
    print(options.out)


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

    picture = images.read_file(options.image, exact=bool(options.mask))
    mask = masks.read(options.mask) if options.mask else None

    import vismem
    from vismem.drawing import editing, sheets

    artist = vismem.load(options.folder)
    edited = editing.edit(artist, picture, options.text, mask, options.seed)
    sheets.write(Image.fromarray(edited), options.out)
    print(options.out)


def caption(options: argparse.Namespace) -> None:
    """Says what pictures show, a line each."""
    print(*read(options, options.pictures), sep="\n")


def ask(options: argparse.Namespace) -> None:
    """Answers questions about a picture, a line each."""
    print(*read(options, [options.picture] * len(options.questions), options.questions), sep="\n")


def read(options: argparse.Namespace, files: list[str], prompts: list[str] | None = None):
    """The texts that a run's reader has for pictures in files."""
    from vismem.data import images

    pictures = [images.read_file(file) for file in files]

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
    """Makes table.md, table.tex and table.csv of an experiment's runs, beside them; of a commit's
    runs, files with its name in theirs."""
    from vismem.reports import sweep_table

    rows = sweep_table.make(options.file, options.commit)
    print(sweep_table.markdown(rows))
    print(*sweep_table.save(options.file, rows, options.commit))


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
    from vismem.drawing import sheets
    from vismem.evaluation import index

    found = index.Index(options.folder)
    sheet = found.sheet(vismem.critic(found.run), options.query, options.count)
    sheets.write(sheet, options.out)
    print(options.out)
