"""Sessions, the talk in the terminal, and editing, with a small model of random parameters."""

import json
import re
import zipfile

import numpy as np
import pytest
from conversing import SIZE, make_artist
from PIL import Image
from safetensors.numpy import load, save

from vismem.data.edits import GREY
from vismem.drawing import sheets
from vismem.drawing.editing import edit
from vismem.drawing.sessions import converse, fingerprint
from vismem.drawing.talk import Talk, blocks
from vismem.errors import UserError


@pytest.fixture(scope="module")
def artist():
    return make_artist(0)


def test_the_same_seed_and_sentences_give_the_same_pictures(artist):
    said = ["a red circle", "make it blue"]
    one, two, other = (artist.session(seed=seed) for seed in (1, 1, 2))
    first = [one.say(text) for text in said]
    again = [two.say(text) for text in said]
    assert first[0].shape == (1, SIZE, SIZE, 3)
    np.testing.assert_array_equal(first, again)
    assert (other.say(said[0]) != first[0]).any()
    by_command = converse(artist, said, seed=1)
    np.testing.assert_array_equal(by_command[1].images, first[1])


def test_undo_takes_back_picture_and_memory(artist):
    session = artist.session()
    before = session.say("one")[0]
    then = session.say("two")[0]
    session.undo()
    np.testing.assert_array_equal(session.picture, before)
    np.testing.assert_array_equal(session.say("two")[0], then)
    session.undo(2)
    assert session.picture is None


def test_a_branch_leaves_its_origin_alone(artist):
    session = artist.session()
    session.say("one")
    branch = session.branch()
    there, here = branch.say("two")[0], session.say("three")[0]
    assert (there != here).any()
    np.testing.assert_array_equal(session.picture, here)
    assert [turn.text for turn in session.turns] == ["one", "three"]


def test_what_is_liked_is_what_memory_goes_on_from(artist):
    session = artist.session()
    session.say("one")
    candidates = session.say("two", candidates=2)
    assert (candidates[0] != candidates[1]).any()
    np.testing.assert_array_equal(session.picture, candidates[0])
    other = session.branch()
    np.testing.assert_array_equal(other.like(2), candidates[1])
    assert (session.say("next")[0] != other.say("next")[0]).any()


def test_the_session_of_the_issue(artist):
    """Word for word, and each of its sentences is in the world's language."""
    session = artist.session(seed=0)
    session.say("draw a large red circle in the middle")
    session.say("put a small blue square to its left")
    session.undo()
    session.branch()
    session.like(2)
    assert session.turns[0].images.shape == (2, SIZE, SIZE, 3)


def test_more_candidates_are_drawn_where_a_later_one_is_liked(artist, tmp_path):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:, 3:] = True
    session = artist.session(seed=5)
    before = session.say("one", candidates=2)[0]
    first = session.say("two", mask=mask)[0]
    several = session.branch()
    several.undo()
    several.say("two", candidates=3, mask=mask)
    session.save(tmp_path / "talk.vismem")
    resumed = artist.resume(tmp_path / "talk.vismem")
    liked = session.like(3)
    images = session.turns[1].images
    np.testing.assert_array_equal(images[0], first)
    np.testing.assert_array_equal(images, several.turns[1].images)  # as if asked for at once
    np.testing.assert_array_equal(liked, images[2])
    assert len({image.tobytes() for image in images}) == 3
    assert (images[:, ~mask] == before[~mask]).all()
    np.testing.assert_array_equal(resumed.like(3), liked)
    np.testing.assert_array_equal(resumed.say("three"), session.say("three"))


def test_a_session_goes_on_from_its_file_bit_by_bit(artist, tmp_path):
    path = tmp_path / "talk.vismem"
    session = artist.session(seed=5)
    session.say("one")
    session.say("two", candidates=2)
    session.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["talk.vismem"]
    resumed = artist.resume(path)
    for one in (session, resumed):
        one.like(2)
    np.testing.assert_array_equal(resumed.say("three"), session.say("three"))
    session.undo(2), resumed.undo(2)
    np.testing.assert_array_equal(resumed.picture, session.picture)
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("session.json"))["turns"][1]["text"] == "two"


def test_a_mask_is_all_that_may_change_and_is_kept_by_the_file(artist, tmp_path):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[2:5, 1:7] = True
    mask = mask.copy("F")  # as a transpose lies in memory
    session = artist.session(seed=5)
    before = session.say("one")[0]
    drawn = session.say("two", candidates=2, mask=mask)
    assert (drawn[:, ~mask] == before[~mask]).all()
    assert (drawn[0][mask] != before[mask]).any()
    session.like(2)
    session.save(tmp_path / "talk.vismem")
    resumed = artist.resume(tmp_path / "talk.vismem")
    np.testing.assert_array_equal(resumed.picture, session.picture)
    np.testing.assert_array_equal(resumed.turns[1].mask, mask)
    np.testing.assert_array_equal(resumed.say("three"), session.say("three"))
    session.undo(2), resumed.undo(2)
    for one in (session, resumed):
        np.testing.assert_array_equal(one.say("two", candidates=2, mask=mask), drawn)
    session.undo()
    assert (session.say("two", candidates=2) != drawn).any()


def test_a_model_that_knows_no_masks_keeps_to_them_as_well():
    artist = make_artist(0, masks=False)
    assert not artist.objective.inpaints(artist.params)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[2:5, 1:7] = True
    session = artist.session(seed=5)
    before = session.say("one")[0]
    free = session.branch().say("two")[0]
    drawn = session.say("two", mask=mask)[0]
    estimates = [np.asarray(turn.carries.estimate[0]) for turn in session.turns]
    assert (estimates[0][~mask] == estimates[1][~mask]).all()  # to the last bit of float32
    np.testing.assert_array_equal(drawn[~mask], before[~mask])
    assert (drawn[mask] != before[mask]).any()
    assert (drawn[mask] != free[mask]).any()  # what is kept is seen while the rest is drawn
    # Editing, it sees what is under the mask, and its sentence says what to do with that.
    edited = edit(artist, before, "two", mask)
    np.testing.assert_array_equal(edited[~mask], before[~mask])
    other = np.where(mask[..., None], 255 - before, before)
    assert (edit(artist, other, "two", mask)[mask] != edited[mask]).any()


def test_pixels_are_kept_of_a_picture_only(artist):
    with pytest.raises(UserError, match="no picture yet"):
        artist.draw(["a"], kept=np.ones((1, SIZE, SIZE), bool))


def test_files_of_another_model_or_damaged_ones_are_refused(artist, tmp_path):
    path = tmp_path / "talk.vismem"
    session = artist.session()
    session.say("one")
    session.save(path)
    with pytest.raises(UserError, match="with another model"):
        make_artist(1).resume(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a saved session"):
        artist.resume(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        artist.resume(tmp_path / "missing.vismem")
    with pytest.raises(UserError, match="a folder"):
        session.save(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        session.save(tmp_path / "no" / "folder.vismem")


def test_files_changed_by_hand_are_refused(artist, tmp_path):
    path, other = tmp_path / "talk.vismem", tmp_path / "other.vismem"
    session = artist.session()
    session.say("one", candidates=2)
    session.save(path)
    with zipfile.ZipFile(path) as file:
        about, carries = json.loads(file.read("session.json")), file.read("carries.safetensors")

    def refused(about: object, carries: bytes, said: str, flags: int = 0) -> None:
        with zipfile.ZipFile(other, "w") as file:
            file.writestr("session.json", json.dumps(about))
            file.writestr("carries.safetensors", carries)
            for entry in file.infolist():
                entry.flag_bits |= flags
        with pytest.raises(UserError, match=f"not a saved session.*{said}"):
            artist.resume(other)

    for liked in (2, -1, 1.0, True, "1", None):
        refused(about | {"turns": [{"text": "one", "liked": liked}]}, carries, "liked")
    for seed in (-1, 0.5, "0", None, True):
        refused(about | {"seed": seed}, carries, "seed")
    refused(about | {"turns": [{"text": 1, "liked": 0}]}, carries, "text")
    refused(about | {"turns": 3}, carries, "")
    refused([about], carries, "")
    tensors = load(carries)
    refused(about, save({**tensors, "0/memory": tensors["0/memory"][:1]}), "do not fit")
    refused(about, carries, "encrypted", flags=1)
    refused(about, carries, "", flags=0x40)  # strongly so, which zipfile does not implement


def test_the_fingerprint_is_of_every_parameter():
    params = {"a": np.zeros(2, np.float32), "b": {"c": np.ones(3, np.float32)}}
    same = {"b": {"c": np.ones(3, np.float32)}, "a": np.zeros(2, np.float32)}
    assert fingerprint(params) == fingerprint(same)
    same["b"]["c"][2] = np.nextafter(np.float32(1), 2)
    assert fingerprint(params) != fingerprint(same)


def test_mistakes_in_a_session_are_named(artist):
    session = artist.session()
    for mistake, said in (
        (lambda: session.undo(), "undo: 1: 0 turns"),
        (lambda: session.like(1), "nothing has been drawn"),
        (lambda: session.say("one", candidates=0), "candidates=0"),
        (lambda: session.say(" "), "text is empty"),
        (lambda: session.say("one", mask=np.ones((SIZE, SIZE), bool)), "no picture yet"),
    ):
        with pytest.raises(UserError, match=said):
            mistake()
    session.say("one")
    with pytest.raises(UserError, match="counted from 1"):
        session.like(0)
    for mask, said in (
        (np.ones((4, SIZE), bool), "mask: 8 x 4 pixels; the picture has 8 x 8"),
        (np.zeros((SIZE, SIZE), bool), "nothing may change"),
        (np.eye(SIZE, dtype=np.uint8), "uint8; must be bool"),
    ):
        with pytest.raises(UserError, match=said):
            session.say("two", mask=mask)
    assert len(session.turns) == 1


# --- in the terminal -----------------------------------------------------------------------------


def test_a_talk_goes_on_after_a_mistake(artist, tmp_path):
    shown = []
    talk = Talk(artist.session(), tmp_path / "out", shown.append)
    file = tmp_path / "t.vismem"
    said = ["one\n", "", "/undoo", "/undo x", "/undo 9", "/candidates 2", "two", "/like 2", "/like"]
    talk.run([*said, "/branch", "three", "/branch", f"/save {file}", "/help", "/quit", "not said"])
    assert [line for line in shown if line.startswith("vismem:")] == [
        "vismem: /undoo: unknown command; did you mean 'undo'?",
        "vismem: /undo takes a number, not 'x'",
        "vismem: undo: 9: 1 turns have been drawn",
        "vismem: /like takes a number, not ''",
    ]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("1.png", "2-1.png", "2-2.png", "b1-3-1.png", "b1-3-2.png")
    }
    liked = np.asarray(Image.open(tmp_path / "out" / "2-2.png"))
    np.testing.assert_array_equal(artist.resume(file).picture, liked)
    assert len(talk.session.turns) == 2


def test_a_mask_is_given_in_a_talk(artist, tmp_path):
    shown, out = [], tmp_path / "out"
    talk = Talk(artist.session(), out, shown.append)
    sketch = np.zeros((SIZE, SIZE, 4), np.uint8)  # transparent where nothing is drawn
    sketch[:4] = 255
    for name, pixels in (("sketch", sketch), ("large", np.ones((9, 9, 3), np.uint8))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    mistakes = ["0 0 1", "0.5 0 0.5 1", "0 0 nan 1", f"{tmp_path}/no.png", f"{tmp_path}/large.png"]
    said = ["/mask 0 0 1 1", "one", *(f"/mask {mistake}" for mistake in mistakes)]
    said += [f"/mask {tmp_path}/sketch.png", "two", "three", "/mask 0.5 0 1 0.3", "four"]
    talk.run([*said, "/mask 0 0 1 0.5", "/mask", "five"])
    named = [line for line in shown if line.startswith("vismem:")]
    order = "left before right"
    parts = ["no picture yet", "takes a file, or", order, order, "no.png", "the picture has 8 x 8"]
    assert len(named) == len(parts)
    assert all(part in line for part, line in zip(parts, named))
    one, two, three, four, five = (np.asarray(Image.open(out / f"{i}.png")) for i in range(1, 6))
    changed = [(a != b).any(-1) for a, b in ((one, two), (two, three), (three, four), (four, five))]
    assert not changed[0][4:].any()
    assert changed[0][:4].any()
    assert changed[1][4:].any()  # a mask is of one sentence
    assert changed[2][:3, 4:].any()
    changed[2][:3, 4:] = False
    assert not changed[2].any()
    assert changed[3][4:].any()  # it was taken back


def test_half_blocks_are_the_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (4, 3, 3)).astype(np.uint8)
    lines = blocks(picture).split("\n")
    assert len(lines) == 2
    for y, line in enumerate(lines):
        assert line.count("▀") == 3
        numbers = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)", line)
        pixels = np.array(numbers, int).reshape(3, 2, 3)
        np.testing.assert_array_equal(pixels, picture[2 * y : 2 * y + 2].swapaxes(0, 1))
    assert blocks(np.zeros((100, 200, 3), np.uint8)).count("▀") == 64 * 16


# --- editing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (20, 33)])
def test_nothing_changes_outside_a_mask(artist, shape):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    mask = np.zeros(shape, bool)
    mask[1:4, 2:7] = True
    edited = edit(artist, picture, "a star", mask)
    np.testing.assert_array_equal(edited[~mask], picture[~mask])
    assert (edited[mask] != picture[mask]).any()
    # What is under the mask is not looked at, what is beside it is.
    other = np.where(mask[..., None], 255 - picture, picture)
    np.testing.assert_array_equal(edit(artist, other, "a star", mask)[mask], edited[mask])
    other = np.where(mask[..., None], picture, 255 - picture)
    assert (edit(artist, other, "a star", mask)[mask] != edited[mask]).any()


def test_what_is_kept_is_in_the_drawing_from_the_first_estimate_on(artist):
    pictures = np.full((1, SIZE, SIZE, 3), GREY, np.uint8)
    pictures[:, :, :3] = 200
    kept = np.zeros((1, SIZE, SIZE), bool)
    kept[:, :, :3] = True
    drawing = artist.draw(["a"], carry=artist.open(pictures), kept=kept, trace=True)
    assert (drawing.estimates[:, kept] == 200).all()
    assert (drawing.images[kept] == 200).all()


def test_without_a_mask_the_picture_is_what_the_turn_begins_with(artist):
    picture = np.full((SIZE, SIZE, 3), 10, np.uint8)
    dark, light = edit(artist, picture, "a"), edit(artist, 255 - picture, "a")
    assert (dark != light).any()


def test_masks_that_do_not_fit_are_named(artist):
    picture = np.zeros((8, 12, 3), np.uint8)
    for mask, said in (
        (np.ones((8, 8), bool), "mask: 8 x 8 pixels; the picture has 12 x 8"),
        (np.zeros((8, 12), bool), "nothing may change"),
        (np.ones((8, 12), bool), "does not fit into a square of 8"),
    ):
        with pytest.raises(UserError, match=said):
            edit(artist, picture, "a star", mask)


# --- figures -------------------------------------------------------------------------------------


def test_a_conversation_on_a_sheet(artist):
    texts = ["one", "two"]
    plain = sheets.conversation(converse(artist, texts), texts)
    drawings = converse(artist, texts, trace=True)
    assert drawings[1].memory.shape == (2, 1, 3, 8)
    steps = sheets.conversation(drawings, texts)
    assert steps.height > 2 * plain.height


def test_like_slots_have_like_colours():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 8))
    memory = [np.stack([[one, one], [other, one]]), np.stack([[one, other]])]
    sheet = np.asarray(sheets.slots(memory, side=4))
    top = sheets.MARGIN + sheets.line_height()
    cells = sheet[top + 1 :: 4][:2]  # a row of pixels for each slot
    at = [sheets.MARGIN + 1, sheets.MARGIN + 5, 2 * sheets.MARGIN + 9]
    colors = cells[:, at].tolist()
    assert colors[0][0] == colors[1][0] == colors[1][1] == colors[0][2]
    assert colors[0][1] == colors[1][2] != colors[0][0]
