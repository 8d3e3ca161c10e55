"""Texts as token ids: bytes, pieces or words learned from a source's texts, or a Hugging Face
tokenizer.

A tokenizer has `vocab_size`, `encode(text) -> int32 [length]`, `decode(ids) -> text`, `words() ->
{word: id}`, which is its vocabulary, and `save(folder)`. Texts are cut at `length` tokens and
padded with 0, which is the id of nothing else and where decoding stops.
"""

import functools
import itertools
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from vismem.data import TOKENIZERS, Source
from vismem.errors import UserError
from vismem.registry import build

FILE = "vismem_tokenizer.json"  # says which tokenizer a folder holds
# Captions of a small data set come again every epoch.
_CACHED = 65_536


class Tokenizer(Protocol):
    """Turns texts into ids below `vocab_size`."""

    vocab_size: int
    length: int

    def encode(self, text: str) -> np.ndarray: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def words(self) -> dict[str, int]: ...

    def save(self, folder: str | os.PathLike) -> None: ...


def _before_padding(ids: Sequence[int]) -> list[int]:
    return list(itertools.takewhile(lambda i: i > 0, map(int, ids)))


def _pad(ids: Sequence[int], length: int) -> np.ndarray:
    tokens = np.zeros(length, np.int32)
    tokens[: len(ids)] = ids[:length]
    return tokens


class ByteTokenizer:
    """UTF-8 bytes, each plus one: needs no file and knows every language.

    Args:
      length: tokens of a text.
    """

    vocab_size = 257

    def __init__(self, length: int = 128):
        self.length = _checked(length)

    def encode(self, text: str) -> np.ndarray:
        data = np.frombuffer(text.encode()[: self.length], np.uint8)
        return _pad(data.astype(np.int32) + 1, self.length)

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i - 1 for i in _before_padding(ids)).decode(errors="replace")

    def words(self) -> dict[str, int]:
        return {}

    def save(self, folder: str | os.PathLike) -> None:
        _write(folder, "byte", self.length)


class PieceTokenizer:
    """Words or pieces of them with a tokenizer of the `tokenizers` library; id 0 is its padding."""

    def __init__(self, backend: Any, length: int):
        self.length, self._backend = _checked(length), backend
        self.vocab_size: int = backend.get_vocab_size()
        self._ids = functools.lru_cache(_CACHED)(self._encode)

    def _encode(self, text: str) -> list[int]:
        text.encode()  # UnicodeError for halves of letters; the library has no word for it
        return self._backend.encode(text).ids[: self.length]

    def encode(self, text: str) -> np.ndarray:
        return _pad(self._ids(text), self.length)

    def decode(self, ids: Sequence[int]) -> str:
        return self._backend.decode(_before_padding(ids)).strip()

    def words(self) -> dict[str, int]:
        return self._backend.get_vocab()

    def save(self, folder: str | os.PathLike) -> None:
        _write(folder, "pieces", self.length)
        self._backend.save(str(Path(folder) / "tokenizer.json"))


class PretrainedTokenizer:
    """A Hugging Face tokenizer from a local folder; no code from it is run.

    Args:
      folder: with tokenizer.json or the older vocabulary files.
      length: tokens of a text, the special ones included.

    Attributes:
      offset: what is added to the tokenizer's own ids: 0 where its padding is 0, else 1, so that 0
        is padding alone. A pretrained embedding then gets a row more in front.
    """

    def __init__(self, folder: str, length: int = 64):
        from transformers import AutoTokenizer

        if not Path(folder).is_dir():
            raise UserError(f"data.tokenizer.folder={folder!r}: no such folder")
        try:
            self._backend = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # transformers raises nearly anything for a folder it cannot use
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"{folder}: holds no tokenizer that can be loaded ({reason})"
            ) from error
        self.length = _checked(length)
        self.offset = int(self._backend.pad_token_id != 0)
        self.vocab_size = len(self._backend) + self.offset
        self._ids = functools.lru_cache(_CACHED)(self._encode)

    def _encode(self, text: str) -> list[int]:
        text.encode()  # as above
        ids = self._backend(text, truncation=True, max_length=self.length)["input_ids"]
        return [i + self.offset for i in ids]

    def encode(self, text: str) -> np.ndarray:
        return _pad(self._ids(text), self.length)

    def decode(self, ids: Sequence[int]) -> str:
        own = [i - self.offset for i in _before_padding(ids)]
        return self._backend.decode(own, skip_special_tokens=True).strip()

    def words(self) -> dict[str, int]:
        return {word: i + self.offset for word, i in self._backend.get_vocab().items()}

    def save(self, folder: str | os.PathLike) -> None:
        _write(folder, "pretrained", self.length)
        self._backend.save_pretrained(str(folder))


def train_bpe(texts: Iterable[str], vocab_size: int = 1024, length: int = 64) -> PieceTokenizer:
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019): nothing is unknown to it.

    Args:
      texts: what it learns from.
      vocab_size: pieces at most, the 256 bytes and the padding included.
      length: tokens of a text.
    """
    from tokenizers import models, trainers

    return PieceTokenizer(_trained(models.BPE(), trainers.BpeTrainer, texts, vocab_size), length)


def train_unigram(texts: Iterable[str], vocab_size: int = 1024, length: int = 64) -> PieceTokenizer:
    """Unigram pieces (Kudo 2018) over bytes; arguments as for `train_bpe`.

    Pieces are what several words share: with few words, as a world has, BPE has shorter sequences.
    """
    from tokenizers import models, trainers

    backend = _trained(models.Unigram(), trainers.UnigramTrainer, texts, vocab_size)
    # Hosts that train their own must agree, but from one training to the next scores differ in the
    # last digits, and bytes that never occurred get scores from the least up, 0.0001 apart, in any
    # order.
    pad, *pieces = json.loads(backend.to_str())["model"]["vocab"]
    least = min(score for _, score in pieces)
    unseen = least + 1e-4 * 256
    pieces = [
        (piece, round(least if len(piece) == 1 and score <= unseen else score, 6))
        for piece, score in pieces
    ]
    pieces.sort(key=lambda item: (-item[1], item[0]))
    backend.model = models.Unigram([tuple(pad), *pieces])
    return PieceTokenizer(backend, length)


def train_words(texts: Iterable[str], vocab_size: int = 1024, length: int = 64) -> PieceTokenizer:
    """The most frequent words and signs, and single Chinese characters; all others are one unknown
    word. For encoders that know words (`text.name=vectors`); arguments as for `train_bpe`.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    if vocab_size < 3:
        raise UserError(f"data.tokenizer.vocab_size={vocab_size}: must be at least 3")
    backend = Tokenizer(models.WordLevel(unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.Whitespace()]
    )
    special = ["<pad>", "<unk>"]
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return PieceTokenizer(backend, length)


def _trained(model, trainer, texts, vocab_size):
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size <= len(alphabet):
        raise UserError(
            f"data.tokenizer.vocab_size={vocab_size}: must be above the {len(alphabet)} bytes"
        )
    backend = Tokenizer(model)
    # Case and width of letters carry nothing in a caption; its first word is a word like others.
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Prepend(" ")]
    )
    # Chinese is cut into characters: pieces over several would be whole phrases, and a pair of
    # words never seen together would become unknown pieces.
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts,
        trainer(
            vocab_size=vocab_size,
            special_tokens=["<pad>"],
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        ),
    )
    return backend


def _checked(length: int) -> int:
    if length < 1:
        raise UserError(f"data.tokenizer.length={length}: must be at least 1")
    return length


def _write(folder: str | os.PathLike, kind: str, length: int) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / FILE).write_text(json.dumps({"kind": kind, "length": length}) + "\n")


def make(
    choice: Mapping[str, Any],
    source: Source,
    on_error: Literal["raise", "skip"] = "raise",
    most: int = 10_000,
) -> Tokenizer:
    """The tokenizer a config chooses; one that learns does so from texts of `source`.

    Args:
      choice: `{"name": ..., **options}`.
      source: the training split.
      on_error: whether a text that cannot be read is an error or is not learned from.
      most: texts learned from at most, evenly spaced over the source.
    """
    return build(TOKENIZERS, choice, "data.tokenizer", texts=_texts(source, on_error, most))


def _texts(source: Source, on_error: Literal["raise", "skip"], most: int) -> Iterator[str]:
    text = getattr(source, "text", lambda index: source[index]["text"])
    for i in range(0, len(source), -(-len(source) // most)):
        try:
            found = text(i)
        except UserError as error:
            if on_error == "raise":
                raise UserError(f"{error} (data.on_error=skip passes over it)") from error
            continue
        yield from found.splitlines()  # a record's texts, which are encoded one by one


def warn_of_cut(
    folder: str | os.PathLike,
    source: Source,
    on_error: Literal["raise", "skip"],
    pad_to: int = 0,
    most: int = 256,
) -> None:
    """A warning if more than one in a hundred of a source's texts lose their end.

    Args:
      folder: of a tokenizer.
      source: the training split. on_error: as in `make`.
      pad_to: see `DataConfig`.
      most: records looked at, evenly spaced over the source.
    """
    length = pad_to or load(folder).length
    longer = load(folder, length + 1)
    cut = [longer.encode(text)[-1] > 0 for text in _texts(source, on_error, most)]
    if cut and np.mean(cut) > 0.01:
        logging.getLogger(__name__).warning(
            "data.%s=%d: %.0f%% of the texts are longer and lose their end; raise it",
            *("pad_to" if pad_to else "tokenizer.length", length, 100 * np.mean(cut)),
        )


def load(folder: str | os.PathLike, length: int | None = None) -> Tokenizer:
    """The tokenizer that `save` wrote to `folder`; its texts of another length, if one is given."""
    from tokenizers import Tokenizer as Backend

    try:
        saved = json.loads((Path(folder) / FILE).read_text())
        kind, length = saved["kind"], saved["length"] if length is None else length
        if kind == "byte":
            return ByteTokenizer(length)
        if kind == "pretrained":
            return PretrainedTokenizer(str(folder), length)
        return PieceTokenizer(Backend.from_file(str(Path(folder) / "tokenizer.json")), length)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{folder}: holds no tokenizer ({error.filename} is missing)") from None
    except Exception as error:  # the library raises bare exceptions for damaged files
        raise UserError(f"{folder}: its tokenizer is damaged ({error})") from error
