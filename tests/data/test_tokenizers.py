import json
import subprocess
import sys
import zlib

import numpy as np
import pytest

from vismem.data import tokenizers
from vismem.errors import UserError

WORDS = ("a", "large", "small", "red", "blue", "circle", "square", "above", "left", "of", "the")
CHINESE = ["一个大的红色圆形在左上角", "蓝色方块在绿色三角形的上方", "没有三角形，有两个红色的东西"]


def captions():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 9)) for _ in range(300)] + [
        *(f"{word}s un{word}" for word in WORDS),
        *CHINESE * 20,
    ]


TRAINERS = {
    "bpe": lambda **options: tokenizers.train_bpe(captions(), **options),
    "unigram": lambda **options: tokenizers.train_unigram(captions(), **options),
}


def pretrained(folder, pad):
    """A Hugging Face tokenizer folder, made with the library itself; `pad` is its padding's id."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i + 1 for i, word in enumerate([*WORDS, "<unk>"])}
    vocab["<pad>" if pad == 0 else "first"] = 0
    if pad:
        vocab["<pad>"] = len(vocab)
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(str(folder))
    return fast


@pytest.fixture(params=["byte", "bpe", "unigram", "words", "pretrained"])
def tokenizer(request, tmp_path):
    if request.param == "byte":
        return tokenizers.ByteTokenizer(48)
    if request.param == "pretrained":
        pretrained(tmp_path / "hf", pad=3)
        return tokenizers.PretrainedTokenizer(str(tmp_path / "hf"), 48)
    if request.param == "words":
        return tokenizers.train_words(captions(), length=48)
    return TRAINERS[request.param](vocab_size=400, length=48)


def test_zero_is_padding_and_nothing_else(tokenizer):
    for text in ("a red circle", "first", CHINESE[0], "Ünïcödé \U0001f600 \x00"):
        tokens = tokenizer.encode(text)
        assert tokens.dtype == np.int32
        assert tokens.shape == (48,)
        count = np.count_nonzero(tokens)
        assert count > 0
        assert (tokens[:count] > 0).all()
        assert (tokens[count:] == 0).all()
        assert tokens.max() < tokenizer.vocab_size


def test_long_texts_are_cut(tokenizer):
    long, start = tokenizer.encode("a red circle " * 50), tokenizer.encode("a red circle " * 5)
    count = np.count_nonzero(start) - 1  # a last space may join what follows
    assert (long > 0).all()
    assert (long[:count] == start[:count]).all()


def test_what_utf_8_cannot_say_is_no_text(tokenizer):
    """A command line may hold it, for bytes that are no letters."""
    with pytest.raises(UnicodeError):
        tokenizer.encode("a \udcff")


@pytest.mark.parametrize("extra", [0, 1])
def test_texts_that_lose_their_end_are_told(tokenizer, extra, tmp_path, caplog):
    text, records = "a red circle", [{"text": "a"}] * 98
    longest = int(np.count_nonzero(tokenizer.encode(text))) - extra
    tokenizer.save(tmp_path / "whole")
    tokenizers.load(tmp_path / "whole", longest).save(tmp_path / "saved")
    tokenizers.warn_of_cut(tmp_path / "saved", [*records, *[{"text": text}] * 2], "raise")
    expected = [f"data.tokenizer.length={longest}: 2% of the texts are longer and lose their end; "]
    assert [line[: len(expected[0])] for line in caplog.messages] == expected * extra
    tokenizers.warn_of_cut(tmp_path / "whole", [{"text": text}], "raise", pad_to=longest)
    padded = f"data.pad_to={longest}: 100% of the texts are longer"
    assert [line[: len(padded)] for line in caplog.messages[extra:]] == [padded] * extra


def test_result_may_be_written_to(tokenizer):
    tokenizer.encode("a red circle")[:] = 0
    assert tokenizer.encode("a red circle").any()


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "saved")
    loaded = tokenizers.load(tmp_path / "saved")
    assert (loaded.vocab_size, loaded.length) == (tokenizer.vocab_size, tokenizer.length)
    for text in captions()[::20]:
        assert (loaded.encode(text) == tokenizer.encode(text)).all()
    for text in ("a red circle", "the large blue square above a circle"):
        tokens = loaded.encode(text)
        assert loaded.decode(tokens) == text
        assert loaded.decode([*tokens[:2], 0, *tokens[2:]]) == loaded.decode(tokens[:2])


@pytest.mark.parametrize("name", TRAINERS)
def test_trained_pieces(name):
    tokenizer = TRAINERS[name](vocab_size=400, length=200)

    def encode(text):
        tokens = tokenizer.encode(text)
        return tokens[tokens > 0].tolist()

    # Never seen: bytes, told apart.
    unseen = [tuple(encode(text)) for text in ("鸟", "鱼", "\U0001f600", "ß", "Ω")]
    assert len(set(unseen)) == len(unseen)
    # Learned: fewer pieces than letters; for BPE a piece a word.
    assert len(encode("circle")) <= {"bpe": 1, "unigram": 3}[name]
    # Place, case and width of a word change nothing.
    assert encode("circle red circle") == encode("circle") + encode("red") + encode("circle")
    assert encode("Circle ") == encode("ｃｉｒｃｌｅ") == encode("circle")
    # Nor do neighbours of a Chinese word: pairs never seen together have known pieces.
    before = encode("一")
    for head, tail in (("红色", "圆形"), ("绿色", "三角形"), ("形", "在")):
        assert encode("一" + head + tail)[len(before) :] == (
            encode("一" + head)[len(before) :] + encode("一" + tail)[len(before) :]
        )


def test_words_are_whole():
    texts = ["Red, red blue red green", "blue 大的"]
    tokenizer = tokenizers.train_words(texts, vocab_size=6, length=9)
    assert tokenizer.words() == {
        **{"<pad>": 0, "<unk>": 1},
        **{"red": 2, "blue": 3, ",": 4, "green": 5},
    }
    assert tokenizer.encode("BLUE, 大 red").tolist() == [3, 4, 1, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("name", TRAINERS)
def test_training_again_gives_the_same(name, tmp_path):
    """In another process, where hashes and threads fall otherwise: hosts must agree."""
    code = (
        "import json, sys, zlib; from vismem.data import tokenizers\n"
        "texts, name = json.load(sys.stdin)\n"
        "made = getattr(tokenizers, 'train_' + name)(texts, vocab_size=400, length=48)\n"
        "print(zlib.crc32(b''.join(made.encode(t).tobytes() for t in texts + ['鸟 QXZ'])))"
    )
    given = json.dumps([captions(), name])
    there = subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, text=True
    )
    here = TRAINERS[name](vocab_size=400, length=48)
    tokens = b"".join(here.encode(t).tobytes() for t in [*captions(), "鸟 QXZ"])
    assert int(there.stdout) == zlib.crc32(tokens)


@pytest.mark.parametrize("pad", [0, 3])
def test_pretrained_ids_are_the_librarys(tmp_path, pad):
    reference = pretrained(tmp_path, pad)
    tokenizer = tokenizers.PretrainedTokenizer(str(tmp_path), 16)
    assert tokenizer.offset == (pad != 0)
    assert tokenizer.vocab_size == len(reference) + tokenizer.offset
    ids = reference("a large red circle", max_length=16)["input_ids"]
    assert tokenizer.encode("a large red circle")[:4].tolist() == [
        i + tokenizer.offset for i in ids
    ]


def test_pretrained_runs_no_code_of_the_folder(tmp_path):
    pretrained(tmp_path, 0)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    try:
        tokenizers.PretrainedTokenizer(str(tmp_path))
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either is fine: refused, or read as plain data)
    assert not (tmp_path / "ran").exists()


def test_errors(tmp_path):
    with pytest.raises(UserError, match=r"no such folder"):
        tokenizers.PretrainedTokenizer(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"holds no tokenizer"):
        tokenizers.PretrainedTokenizer(str(tmp_path))
    with pytest.raises(UserError, match=r"holds no tokenizer \(.*is missing"):
        tokenizers.load(tmp_path)
    TRAINERS["bpe"](vocab_size=300, length=8).save(tmp_path)
    data = (tmp_path / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"damaged"):
        tokenizers.load(tmp_path)
    with pytest.raises(UserError, match=r"vocab_size=100"):
        TRAINERS["bpe"](vocab_size=100)
    with pytest.raises(UserError, match=r"length=0"):
        tokenizers.ByteTokenizer(0)


def test_texts_that_cannot_be_read_are_passed_over_if_they_may_be():
    class Texts(list):
        def text(self, index):
            if self[index] is None:
                raise UserError(f"record {index}: its text is empty")
            return self[index]

    choice, source = {"name": "words", "vocab_size": 20}, Texts(["a circle", None, "a star"])
    made = tokenizers.make(choice, source, "skip")
    assert made.words() == tokenizers.make(choice, Texts(["a circle", "a star"])).words()
    with pytest.raises(UserError, match=r"record 1: .* \(data\.on_error=skip passes over it\)"):
        tokenizers.make(choice, source)


def test_made_from_a_source_without_reading_its_pictures():
    class Texts:
        asked = 0

        def __len__(self):
            return 1000

        def __getitem__(self, index):
            raise AssertionError("a picture was read")

        def text(self, index):
            self.asked += 1
            return "a red circle"

    source = Texts()
    made = tokenizers.make({"name": "bpe", "vocab_size": 300, "length": 7}, source, most=100)
    assert source.asked == 100
    assert made.encode("a red circle").shape == (7,)
    assert np.count_nonzero(made.encode("a red circle")) == 3
    with pytest.raises(
        UserError, match=r"data\.tokenizer\.vocab: unknown key; did you mean 'vocab_"
    ):
        tokenizers.make({"name": "bpe", "vocab": 300}, source)
    with pytest.raises(UserError, match=r"data\.tokenizer\.name: unknown name 'bpee'"):
        tokenizers.make({"name": "bpee"}, source)
    assert tokenizers.make({"name": "byte"}, source).vocab_size == 257
