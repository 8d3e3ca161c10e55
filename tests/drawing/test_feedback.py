"""The feedback loop: what it keeps, when it stops, what it costs, and each strategy of it."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conversing import make_artist
from gaussian import Gaussian

from vismem import cli, registry
from vismem.drawing import STRATEGIES
from vismem.drawing.artist import Artist, DrawConfig, Drawing
from vismem.drawing.feedback import BestOfN, Correct, Gradient, Redraw, improve
from vismem.drawing.pull import Pull
from vismem.drawing.sessions import turn_seed
from vismem.errors import UserError
from vismem.models.generator import Carry

ROOT = Path(__file__).parents[2]
COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class Colors:
    """A critic that compares a picture's mean colour with the colours that a text names."""

    params = ()

    def images(self, pictures):
        means = np.stack(pictures).astype(np.float32).mean((1, 2)) / 255 + 1e-3
        return means / np.linalg.norm(means, axis=-1, keepdims=True)

    def texts(self, texts):
        rows = [sum(np.array(COLORS[c]) for c in COLORS if c in t) + 1e-3 for t in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def cosines(self, params, wanted, pictures):
        means = (pictures + 1).mean((1, 2)) / 2 + 1e-3
        return (means * wanted).sum(1) / jnp.linalg.norm(means, axis=1)


TEXTS = ["a red circle and a green star", "a blue square", "a green diamond"]


class Talker(Gaussian):
    """In colour, and willing to go on."""

    shape = (2, 2, 3)

    def converses(self, params):
        return True

    def inpaints(self, params):
        return False


def make_talker():
    words = SimpleNamespace(encode=lambda text: np.full(3, len(text), np.int32))
    return Artist(Talker(), words, DrawConfig(steps=3, guidance_scale=1.0), params={})


@pytest.fixture(scope="module")
def artist():
    return make_talker()


@pytest.fixture(scope="module")
def remembering():
    return make_artist(0)


def test_best_of_n_keeps_the_best_of_n(artist):
    rounds = improve(artist, Colors(), TEXTS, BestOfN(), rounds=5, seed=3)
    seeds = [3, *(turn_seed(3, n) for n in range(1, 5))]
    drawn = np.stack([artist.draw(TEXTS, seed=seed).images for seed in seeds])
    wanted = Colors().texts(TEXTS)
    scores = np.stack([(Colors().images(images) * wanted).sum(1) for images in drawn])
    assert len({*scores.argmax(0)}) > 1  # or it could be one round's pictures
    np.testing.assert_array_equal(rounds[-1].images, drawn[scores.argmax(0), range(3)])
    np.testing.assert_allclose(rounds[-1].scores, scores.max(0))
    assert len(rounds) == 5


@pytest.mark.parametrize("strategy", [BestOfN(), Redraw(), Gradient(), Correct()])
def test_no_strategy_lowers_a_score(artist, strategy):
    rounds = improve(artist, Colors(), TEXTS, strategy, rounds=3)
    scores = np.stack([best.scores for best in rounds])
    assert (np.diff(scores, axis=0) >= 0).all()
    last = rounds[-1]
    assert (Colors().images(last.images) == last.seen).all()
    np.testing.assert_array_equal(rounds[0].images, artist.draw(TEXTS, seed=0).images)


class Script:
    """Draws grey, then pictures that are as red as a list says, round by round."""

    def __init__(self, reds, independent=False):
        self.reds, self.independent = reds, independent

    def check(self, artist):
        pass

    def draw(self, task, best, number):
        images = np.zeros((len(task.texts), 2, 2, 3), np.uint8) + 100
        images[..., 0] = np.array(self.reds[number])[:, None, None]
        carry = Carry(np.full((len(images), 1, 1), number), images / 127.5 - 1)
        return Drawing(images, carry, evaluations=7)

    def artist(self):
        draw = lambda texts, **how: self.draw(SimpleNamespace(texts=texts), None, 0)  # noqa: E731
        return SimpleNamespace(draw=draw)


def test_stops_when_content_and_when_the_score_stops_rising():
    # The first text rises, falls and would rise again; the second passes at once; the third rises.
    script = Script([[100, 250, 100], [120, 0, 120], [110, 0, 140], [250, 0, 200]])
    texts = ["red", "red", "red"]
    rounds = improve(script.artist(), Colors(), texts, script, rounds=9, threshold=0.8)
    drawn = np.stack([best.drawn for best in rounds])
    np.testing.assert_array_equal(drawn.T, [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(rounds[-1].images[:, 0, 0, 0], [120, 250, 200])
    np.testing.assert_array_equal(rounds[-1].carry.memory.ravel(), [1, 0, 3])
    np.testing.assert_array_equal(rounds[-1].evaluations, [21, 7, 28])
    np.testing.assert_array_equal(rounds[-1].judgements, [3, 1, 4])


def test_independent_rounds_go_on_after_one_that_raises_nothing():
    script = Script([[100], [90], [200]], independent=True)
    rounds = improve(script.artist(), Colors(), ["red"], script, rounds=3)
    assert [best.images[0, 0, 0, 0] for best in rounds] == [100, 100, 200]


def counted(artist):
    """A list that gets the size of every batch that passes through the artist's network."""
    rows, step = [], artist.objective.step

    def counting(params, carry, canvas, time, context):
        jax.debug.callback(lambda: rows.append(len(canvas)))
        return step(params, carry, canvas, time, context)

    artist.objective.step = counting
    return rows


def test_redrawing_says_where_it_leaves_memory_out(caplog):
    for chained, warnings in ((True, 0), (False, 1)):
        caplog.clear()
        objective = SimpleNamespace(redraws=True, chained=chained)
        Redraw().check(SimpleNamespace(objective=objective))
        assert [("without it" in line) for line in caplog.messages] == [True] * warnings


@pytest.mark.parametrize(
    ("name", "solver"), [*((name, "euler") for name in STRATEGIES), ("redraw", "heun")]
)
def test_the_cost_is_what_passes_through_the_network(name, solver):
    artist, strategy = make_talker(), registry.resolve(STRATEGIES, name, "strategy")()
    rows = counted(artist)
    how = {"steps": 5, "solver": solver, "guidance_scale": 2.0}
    critic = Colors()
    rounds = improve(artist, critic, ["a red circle"], strategy, rounds=2, **how)
    jax.effects_barrier()
    assert len(rounds) == 2
    assert rounds[-1].evaluations == sum(rows)
    alone = {"euler": 5, "heun": 9}[solver]
    assert rounds[0].evaluations == 2 * alone
    assert rounds[-1].judgements == 2 + (name == "gradient") * 3 * alone


def test_redrawn_from_time_zero_it_is_drawn_afresh(remembering):
    artist = remembering
    begin = artist.objective.apply(artist.params, len(TEXTS), method="begin")
    fresh = artist.draw(TEXTS, seed=1)
    again = artist.draw(TEXTS, seed=1, again=jax.tree.map(np.asarray, begin))
    np.testing.assert_array_equal(again.images, fresh.images)
    np.testing.assert_array_equal(again.carry.memory, fresh.carry.memory)
    kept = artist.draw(TEXTS, seed=1, again=fresh.carry)
    assert (kept.images != fresh.images).any()  # memory goes along


def test_the_later_redrawn_the_more_is_kept(artist):
    texts = ["a"] * 64
    first = artist.draw(texts, steps=20, seed=1).carry

    def kept(since):
        drawn = artist.draw(texts, steps=20, seed=2, again=first, since=since).carry.estimate
        return np.corrcoef(drawn.ravel(), first.estimate.ravel())[0, 1]

    none, some, most = map(kept, (0.0, 0.7, 0.9))
    assert abs(none) < 0.15
    assert none + 0.2 < some < most
    assert most > 0.9


def test_a_pull_of_no_strength_changes_nothing(artist):
    pull = Pull(Colors().cosines, (), Colors().texts(TEXTS), 0.0)
    plain, pulled = artist.draw(TEXTS, seed=1), artist.draw(TEXTS, seed=1, pull=pull)
    np.testing.assert_array_equal(plain.images, pulled.images)
    np.testing.assert_array_equal(plain.carry.memory, pulled.carry.memory)
    assert (plain.pulls, pulled.pulls) == (0, 3)


def test_a_pull_raises_the_score_of_every_picture(artist):
    wanted = Colors().texts(TEXTS)

    def scores(strength):
        pull = Pull(Colors().cosines, (), wanted, strength)
        images = artist.draw(TEXTS, seed=1, steps=8, pull=pull).images
        return (Colors().images(images) * wanted).sum(1)

    weak, strong = scores(0.05), scores(0.4)
    assert (weak > scores(0.0)).all()
    assert (strong > weak).all()


def test_a_pull_has_its_strength_and_fades(artist):
    estimate = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4, 4, 3)))
    pull = Pull(Colors().cosines, (), Colors().texts(TEXTS), 0.3)
    for time in (0.0, 0.75):
        moved = pull(artist.objective, {}, estimate, jnp.asarray(time)) - estimate
        np.testing.assert_allclose(jnp.sqrt((moved**2).mean((1, 2, 3))), 0.3 * (1 - time), 1e-4)


def test_a_correction_names_the_clause_that_fails(artist):
    said = []

    class Spy(Artist):
        def draw(self, texts, **how):
            said.append((texts, how.get("carry")))
            images = np.zeros((len(texts), 2, 2, 3), np.uint8)
            images[..., 0] = 200  # all is red
            return Drawing(images, artist.draw(texts, seed=0).carry)

    spy = Spy(artist.objective, artist.tokenizer, DrawConfig(), artist.params)
    texts = ["a red circle above a green star", "draw a blue square on the left"]
    improve(spy, Colors(), texts, Correct(), rounds=2)
    (first, none), (second, carry) = said
    assert first == texts
    assert none is None
    assert second == ["there should be a green star", "there should be a blue square"]
    assert len(carry.memory) == 2


def test_what_a_model_cannot_do_is_one_line():
    def artist(**abilities):
        able = {"redraws": True, "converses": lambda params: True} | abilities
        draw = lambda *_, **__: pytest.fail("it has drawn")  # noqa: E731
        return SimpleNamespace(objective=SimpleNamespace(**able), params={}, draw=draw)

    for strategy, unable, said in (
        (Redraw(), {"redraws": False}, "redraw: the run's objective takes no drawing back"),
        (Gradient(), {"reveal": None}, "gradient: the run draws tokens"),
        (Correct(), {"converses": lambda params: False}, "correct: .* not learned from conv"),
    ):
        with pytest.raises(UserError, match=said):
            improve(artist(**unable), Colors(), TEXTS, strategy)
    with pytest.raises(UserError, match="rounds=0"):
        improve(artist(), Colors(), TEXTS, BestOfN(), rounds=0)
    with pytest.raises(UserError, match="threshold=25"):
        improve(artist(), Colors(), TEXTS, BestOfN(), threshold=25)
    with pytest.raises(UserError, match=r"since=1\.0"):
        make_talker().draw(["a"], since=1.0)


def test_the_command(monkeypatch, tmp_path, capsys, artist):
    monkeypatch.setattr("vismem.training.run.load", lambda folder: artist)
    monkeypatch.setattr("vismem.training.run.critic", lambda folder: Colors())
    draw = ["draw", "run", "a red circle", "--out", str(tmp_path / "out.png")]
    loop = [*draw, "--critic", "towers", "--feedback"]
    assert cli.main([*loop, "best_of_n", "--rounds", "3"]) == 0
    shown = capsys.readouterr().out
    assert "drawings: 3, passes: 9 of the generator, 3 of the critic" in shown
    assert cli.main([*loop, "gradient", "--threshold", "-1"]) == 0
    assert "drawings: 1, passes: 3 of the generator, 1 of the critic" in capsys.readouterr().out
    for wrong, said in (
        ([*draw, "--feedback", "redraw"], "needs --critic"),
        ([*draw, "--critic", "towers"], "needs --critic"),
        ([*draw, "--rounds", "3"], "no rounds to limit"),
        ([*loop, "best_of"], "did you mean 'best_of_n'?"),
        ([*loop, "redraw", "--threshold", "nan"], "must be a cosine"),
        ([*loop, "redraw", "--conversation"], "leave out --conversation"),
    ):
        assert cli.main(wrong) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    with pytest.raises(SystemExit) as stopped:  # argparse's own
        cli.main([*loop, "redraw", "--rounds", "0"])
    assert stopped.value.code == 2
    assert "--rounds: must be at least 1" in capsys.readouterr().err


def test_the_benchmark_corrects_what_converses(monkeypatch, tmp_path):
    artist, colors = make_artist(0, size=32), Colors()
    colors.score = lambda pictures, texts: (colors.images(pictures) * colors.texts(texts)).sum(1)
    monkeypatch.setattr("vismem.training.run.load", lambda folder: artist)
    monkeypatch.setattr("vismem.training.run.critic", lambda folder: colors)
    monkeypatch.chdir(tmp_path)
    data = {"source": {"name": "dialogue", "preset": "tiny"}, "size": 32}
    Path("config.json").write_text(json.dumps({"data": data}))
    command = "feedback.py . towers --count 2 --rounds 2 --threshold 1 --out table"
    monkeypatch.setattr("sys.argv", command.split())
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "benchmarks" / "feedback.py"), run_name="__main__")
    assert ended.value.code == 0
    table = Path("table.md").read_text()
    assert all(f"| {name} | 2 |" in table for name in STRATEGIES)
    assert Path("table.png").exists()
