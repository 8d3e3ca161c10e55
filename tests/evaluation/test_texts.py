"""Evaluators of captions and answers, on texts whose worth is known."""

import pytest

from vismem import worlds
from vismem.data import DataConfig, source, tokenizers
from vismem.errors import UserError
from vismem.evaluation import answers, captions
from vismem.evaluation.reader import Reader

WORLD = worlds.world("tiny")
EXAMPLES = [WORLD.example("test", i, style="fixed") for i in range(40)]


class Writer:
    """Stands for an objective; what it is asked for is never made."""

    def answers(self, params):
        return True


def test_true_captions_hold_and_near_misses_do_not():
    for example in EXAMPLES:
        assert captions.holds(WORLD, example.text, example)
        assert captions.holds(WORLD, example.text.capitalize() + ".", example)
        assert not captions.holds(WORLD, example.near_miss(0).text, example)
    for text in ("", "a", "a red", f"{EXAMPLES[0].text} and", "colourless green ideas"):
        assert not captions.holds(WORLD, text, EXAMPLES[0])
    chinese = WORLD.example("test", 0, lang="zh")
    assert captions.holds(WORLD, chinese.text, chinese)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_captions_survive_a_tokenizer(lang):
    """What a captioner with the right tokens would write holds."""
    config = DataConfig(source={"name": "world", "preset": "tiny", "lang": lang})
    choice = {"name": "bpe", "vocab_size": 512, "length": 48}
    tokenizer = tokenizers.make(choice, source(config, "train"), most=1_000)
    for i in range(40):
        example = WORLD.example("test", i, lang=lang)
        assert captions.holds(WORLD, tokenizer.decode(tokenizer.encode(example.text)), example)


def test_similarity_is_full_for_the_reference_itself_and_falls():
    pytest.importorskip("sacrebleu")
    pytest.importorskip("pycocoevalcap")
    texts = [example.text for example in EXAMPLES]
    missed = [example.near_miss(0).text for example in EXAMPLES]
    said = [(text,) for text in texts]
    same, near = captions.similarity(said, texts), captions.similarity(said, missed)
    others = captions.similarity(said, texts[1:] + texts[:1])
    assert same["bleu"] == pytest.approx(100)
    assert same["cider"] == pytest.approx(10)
    for metric in ("bleu", "cider"):
        assert same[metric] > near[metric] > others[metric]
    zh = [WORLD.example("test", i, lang="zh").text for i in range(40)]
    said_zh = [(text,) for text in zh]
    assert captions.similarity(said_zh, zh)["cider"] == pytest.approx(10)
    moved = captions.similarity(said_zh, [text[1:] + text[0] for text in zh])
    assert 5 < moved["cider"] < 10  # characters are words
    mixed = said[:20] + said_zh[:20], missed[:20] + zh[:20]
    assert near["bleu"] < captions.similarity(*mixed)["bleu"] < 100
    several = [pair[: 1 + i % 2] for i, pair in enumerate(zip(missed, texts))]
    half = captions.similarity(several, texts)  # every other one has itself among its references
    assert near["bleu"] < half["bleu"] < 100
    assert near["cider"] < half["cider"] < 10


def test_captions_of_a_folder_are_compared_with_all_that_a_picture_has(monkeypatch):
    pytest.importorskip("sacrebleu")
    pytest.importorskip("pycocoevalcap")
    records = [{"image": None, "text": "a cat sleeps"}, {"image": None, "text": "two dogs run by"}]
    records[1]["captions"] = ("a pair of dogs", "two dogs run by")
    monkeypatch.setattr(captions.examples, "some", lambda *_, **__: records)
    folder = DataConfig(source={"name": "folder"})
    evaluator = captions.Captions(objective=Writer(), tokenizer=None, data=folder)
    written = ["a cat sleeps", "a pair of dogs"]
    monkeypatch.setattr(evaluator.reader, "read", lambda *_, **__: written)
    numbers = evaluator.run({"ema": None})
    assert numbers.keys() == {"test/bleu", "test/cider"}
    assert numbers["test/bleu"] == pytest.approx(100)
    records[0]["prompt"] = "how many cats?"
    with pytest.raises(UserError, match="asks questions; take answers"):
        captions.Captions(objective=Writer(), tokenizer=None, data=folder)


def test_right_answers_by_sort():
    records = [
        {"text": "yes", "about": "exist"},
        {"text": "2", "about": "count"},
        {"text": "1", "about": "count"},
        {"text": "1", "about": "count"},
    ]
    usual = answers.usual_answers(records)
    assert usual == {"exist": "yes", "count": "1"}
    assert usual["color"] == "1"
    found = answers.right(records, ["yes", "1", "1", "2"])
    assert found == {"": 0.5, "/count": 1 / 3, "/exist": 1.0}
    assert answers.right([{"text": "no"}], ["no"]) == {"": 1.0}


def test_the_answers_evaluator_counts_a_split(monkeypatch):
    config = DataConfig(source={"name": "questions", "preset": "tiny"})
    evaluator = answers.Answers(objective=Writer(), tokenizer=None, data=config, count=60)
    texts = [record["text"] for record in evaluator.records["test"]]
    monkeypatch.setattr(evaluator.reader, "read", lambda images, prompts, params: texts)
    numbers = evaluator.run({"ema": None})
    assert numbers["test/answers"] == 1
    assert 0.2 < numbers["test/majority"] < 0.8
    assert {f"test/answers/{about}" for about in ("count", "exist")} < numbers.keys()


def test_mistakes_are_named():
    given = {"objective": Writer(), "tokenizer": None}
    world = DataConfig(source={"name": "world", "preset": "tiny"})
    with pytest.raises(UserError, match="answers needs questions"):
        answers.Answers(**given, data=world, count=2)
    with pytest.raises(UserError, match="reads no pictures"):
        captions.Captions(objective=object(), tokenizer=None, data=world, count=1)
    with pytest.raises(UserError, match="2 pictures, but 1 questions"):
        Reader(**given).read([None, None], ["is there a star?"])
