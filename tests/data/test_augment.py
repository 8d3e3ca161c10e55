import numpy as np
import pytest

from vismem.data import augment
from vismem.data.augment import Affine, Blur, Color, Crop, Flip, mirror

SIZE = 32
# Options that must leave a picture alone, and options that must not.
NEUTRAL = [
    Crop(SIZE, area=(1.0, 1.0), ratio=(1.0, 1.0)),
    Affine(),
    Color(),
    Blur(share=0.0),
    Blur(sigma=(1e-3, 1e-3), share=1.0),
]
ACTIVE = [
    Crop(SIZE),
    Flip(),
    Affine(rotate=20.0),
    Affine(shift=0.2),
    Affine(zoom=(0.5, 2.0)),
    Color(brightness=0.5),
    Color(contrast=0.5),
    Color(saturation=0.5),
    Color(hue=0.3),
    Blur(),
]


def example(text="a red circle left of a square"):
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack([x * 8, y * 8, (x + y) * 4 % 200], -1).astype(np.uint8)
    return {"image": image, "text": text, "label": 3}


def apply(augmentation, seed=0, **given):
    return augmentation({**example(), **given}, np.random.default_rng(seed))


@pytest.mark.parametrize("augmentation", NEUTRAL, ids=repr)
def test_nothing_asked_for_is_nothing_done(augmentation):
    for seed in range(5):
        assert (apply(augmentation, seed)["image"] == example()["image"]).all()


@pytest.mark.parametrize("augmentation", ACTIVE, ids=repr)
def test_a_function_of_the_random_numbers(augmentation):
    given = example()
    results = [apply(augmentation, seed, **given)["image"] for seed in range(20)]
    again = [apply(augmentation, seed)["image"] for seed in range(20)]
    assert all((a == b).all() for a, b in zip(results, again))
    assert len({r.tobytes() for r in results}) > 1
    assert all(r.shape == (SIZE, SIZE, 3) and r.dtype == np.uint8 for r in results)
    assert (given["image"] == example()["image"]).all()  # the source's own array is not written to
    assert all(apply(augmentation, seed)["label"] == 3 for seed in range(3))


def test_crop_is_of_any_picture_and_within_it():
    image = np.full((50, 20, 3), 9, np.uint8)
    for seed in range(50):
        result = apply(Crop(SIZE, area=(0.05, 1.0), ratio=(0.3, 3.0)), seed, image=image)["image"]
        assert (result == np.full((SIZE, SIZE, 3), 9)).all()


def test_crop_keeps_to_its_area():
    """In a ramp the range of values that is left shows the share of the width that was."""
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 256, 0)
    ramp = np.repeat(ramp, 3, -1)
    crop = Crop(SIZE, area=(0.25, 0.25), ratio=(1.0, 1.0))
    for seed in range(10):
        result = apply(crop, seed, image=ramp)["image"].astype(int)
        assert abs(result[0, -1, 0] - result[0, 0, 0] - 128 * 31 / 32) < 6


def test_flip_mirrors_pixels_and_words_together():
    flipped = 0
    for seed in range(40):
        result = apply(Flip(), seed)
        if result["text"] == example()["text"]:
            assert (result["image"] == example()["image"]).all()
        else:
            flipped += 1
            assert result["text"] == "a red circle right of a square"
            assert (result["image"] == example()["image"][:, ::-1]).all()
    assert 10 < flipped < 30


def test_flip_leaves_texts_with_sides_alone_if_asked():
    for text in ("one on the left", "the Rightmost", "在左边"):
        assert all(apply(Flip("skip"), s, text=text)["text"] == text for s in range(9))
        same = [
            (apply(Flip("skip"), s, text=text)["image"] == example()["image"]) for s in range(9)
        ]
        assert np.all(same)
    plain = [apply(Flip("skip"), s, text="above")["image"].tobytes() for s in range(20)]
    assert len(set(plain)) == 2


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("a circle to the left of a square", "a circle to the right of a square"),
        ("left, right and Left", "right, left and Right"),
        ("leftmost rightwards left-hand RIGHT", "rightmost leftwards right-hand LEFT"),
        ("LEFTWARDS ARROW Rightmost", "RIGHTWARDS ARROW Leftmost"),
        ("copyright, leftovers, upright", "copyright, leftovers, upright"),
        ("红色圆形在左上角，方块在它的右边", "红色圆形在右上角，方块在它的左边"),
        ("above the circle", "above the circle"),
    ],
)
def test_mirrored_words(text, mirrored):
    assert mirror(text) == mirrored
    assert mirror(mirrored) == text


def centre(image):
    """(x, y) of the dark spot on white."""
    weight = 255.0 - image[..., 0]
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def spot(x, y, radius=3):
    yy, xx = np.mgrid[:64, :64]
    inside = (xx - x) ** 2 + (yy - y) ** 2 <= radius**2
    return np.repeat(np.where(inside, 0, 255).astype(np.uint8)[..., None], 3, -1)


def test_affine_moves_things_as_far_as_it_says():
    middle = 31.5
    start = np.array([45.0, 31.5]) - middle
    for seed in range(10):
        turned = apply(Affine(rotate=30.0), seed, image=spot(45, 31.5))["image"]
        arm = centre(turned) - middle
        assert abs(np.hypot(*arm) - np.hypot(*start)) < 0.5
        assert abs(np.rad2deg(np.arctan2(*arm[::-1]))) <= 31
        zoomed = apply(Affine(zoom=(0.8, 1.25)), seed, image=spot(45, 31.5))["image"]
        assert 0.79 < (centre(zoomed) - middle)[0] / start[0] < 1.26
        shifted = apply(Affine(shift=0.1), seed, image=spot(45, 31.5))["image"]
        assert abs(centre(shifted) - (45, 31.5)).max() < 6.4 + 0.5
    both = [
        centre(apply(Affine(rotate=90.0), seed, image=spot(45, 31.5))["image"])
        for seed in range(20)
    ]
    assert min(c[1] for c in both) < 25
    assert max(c[1] for c in both) > 38  # either way


def test_affine_continues_the_edge():
    image = np.full((64, 64, 3), 200, np.uint8)
    for seed in range(5):
        result = apply(Affine(rotate=45.0, shift=0.5, zoom=(0.5, 1.0)), seed, image=image)["image"]
        assert (result == image).all()


def test_color_keeps_what_it_does_not_change():
    rng = np.random.default_rng(1)
    image = rng.integers(60, 180, (SIZE, SIZE, 3), dtype=np.uint8)

    def grey(x):
        return x.astype(float) @ [0.299, 0.587, 0.114]

    saturated = apply(Color(saturation=0.3), 1, image=image)["image"]
    assert abs(grey(saturated) - grey(image)).max() < 1.5
    contrasted = apply(Color(contrast=0.3), 1, image=image)["image"]
    assert abs(grey(contrasted).mean() - grey(image).mean()) < 1.5
    brighter = apply(Color(brightness=0.3), 1, image=image)["image"].astype(float)
    assert np.ptp(brighter / image) < 0.03
    turned = apply(Color(hue=0.4), 1, image=image)["image"]
    assert abs(turned.max(-1).astype(int) - image.max(-1)).max() <= 1  # HSV's value


def test_blur_spreads_and_keeps_the_sum():
    point = np.zeros((33, 33, 3), np.uint8)
    point[16, 16] = 255
    result = apply(Blur(sigma=(1.0, 1.0), share=1.0), image=point)["image"]
    assert abs(result[16, 16, 0] - 255 / (2 * np.pi)) < 2
    assert abs(result[..., 0].sum(dtype=int) - 255) < 25


def test_every_listed_augmentation_is_here():
    from vismem.data import AUGMENTATIONS

    assert {path.split(":")[1] for path in AUGMENTATIONS.values()} <= set(vars(augment))
