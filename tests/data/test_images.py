import io
import zlib

import numpy as np
import pytest
from PIL import Image

from vismem.data import images
from vismem.errors import UserError

RED, BLUE = (200, 10, 20), (10, 20, 200)


def picture(mode="RGB", size=(12, 8)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(image, form="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(image, form="PNG", **options):
    result = images.decode(encoded(image, form, **options), "a.png", background=(0, 255, 0))
    assert result.dtype == np.uint8
    assert result.ndim == 3
    assert result.shape[-1] == 3
    return result


@pytest.mark.parametrize(
    ("mode", "form", "tolerance"),
    [
        ("RGB", "PNG", 0),
        ("P", "PNG", 0),
        ("P", "GIF", 0),
        ("CMYK", "JPEG", 40),
        ("CMYK", "TIFF", 2),
    ],
)
def test_modes_keep_their_colours(mode, form, tolerance):
    image = picture().quantize(8) if mode == "P" else picture(mode)
    pixels = decoded(image, form).astype(int)
    assert pixels.shape == (8, 12, 3)
    assert abs(pixels[4, 1] - RED).max() <= tolerance
    assert abs(pixels[4, 10] - BLUE).max() <= tolerance


def test_grey_of_1_8_and_16_bits_agree():
    ramp = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (4, 1))
    expected = np.repeat(ramp[..., None], 3, axis=-1)
    assert (decoded(Image.fromarray(ramp)) == expected).all()
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    for form in ("PNG", "TIFF"):
        assert (decoded(deep, form) == expected).all()
    assert (decoded(Image.fromarray(ramp.astype(np.int32) * 257), "TIFF") == expected).all()
    assert (images.decode(ramp[..., None], "a") == expected).all()
    assert (images.decode(ramp.astype(np.uint16) * 257, "a") == expected).all()
    assert set(np.unique(decoded(picture("1")))) <= {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_is_composited_on_the_background(mode):
    image = picture("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[255, 0]]), 8, 0)).resize((12, 8), 0))
    options = {}
    if mode == "P":  # palettes carry the index of the transparent colour
        image = picture().quantize(8)
        options = {"transparency": image.getpixel((10, 4))}
    elif mode == "RGB":  # as may true colour
        image, options = picture(), {"transparency": BLUE}
    else:
        image = image.convert(mode)
    pixels = decoded(image, **options)
    assert (pixels[4, 10] == (0, 255, 0)).all()
    assert (pixels[4, 1] == np.asarray(picture("L" if mode == "LA" else "RGB"))[4, 1]).all()


def test_what_rgb_does_not_hold_is_refused_where_it_must():
    holed = picture("RGBA")
    holed.putpixel((3, 3), (1, 2, 3, 254))
    deep = Image.fromarray(np.full((4, 4), 257, np.uint16))
    for image, form, said in (
        (holed, "PNG", "transparent in parts"),
        (deep, "PNG", "does not hold"),
        (picture("CMYK"), "TIFF", "does not hold"),
    ):
        with pytest.raises(UserError, match=f"in.png: .*{said}"):
            images.decode(encoded(image, form), "in.png", exact=True)
    for mode in ("RGB", "RGBA", "L", "P", "1"):
        image = picture(mode)
        kept = images.decode(encoded(image), "in.png", exact=True)
        np.testing.assert_array_equal(kept, np.asarray(image.convert("RGB")))


def test_half_transparent_is_mixed():
    pixels = decoded(Image.new("RGBA", (4, 4), (255, 0, 0, 128)))
    assert abs(pixels[0, 0].astype(int) - (128, 127, 0)).max() <= 1


def test_orientation_of_the_camera_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    pixels = decoded(picture(size=(32, 16)), "JPEG", exif=exif, quality=95)
    assert pixels.shape == (32, 16, 3)
    assert abs(pixels[2, 8].astype(int) - RED).max() < 20


def test_first_frame_of_an_animation():
    data = encoded(picture(), "GIF", save_all=True, append_images=[Image.new("RGB", (12, 8))])
    assert images.decode(data, "a.gif")[4, 1, 0] == RED[0]


def damaged():
    png, jpeg = encoded(picture(size=(64, 64))), encoded(picture(size=(64, 64)), "JPEG")
    broken = bytearray(png)
    broken[60] ^= 0xFF
    return {
        "empty": b"",
        "text": b"this is no picture",
        "truncated png": png[: len(png) // 2],
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "header alone": png[:33],
        "flipped bits": bytes(broken),
        "real numbers": encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
        "32 bits": encoded(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "pixels of no picture": np.zeros((4, 4, 7), np.uint8),
    }


@pytest.mark.parametrize("kind", damaged())
def test_what_is_damaged_is_refused_by_name(kind):
    with pytest.raises(UserError, match=r"^folder/x\.png: cannot be decoded") as error:
        images.decode(damaged()[kind], "folder/x.png")
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8_001, 12_000, 30_000])
def test_bombs_are_refused_before_they_are_unpacked(side, monkeypatch):
    png = bytearray(encoded(Image.new("1", (1, 1))))
    png[16:24] = side.to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was unpacked"))
    with pytest.raises(UserError, match=r"^bomb\.png: "):
        images.decode(bytes(png), "bomb.png")


def test_paths_stay_inside_the_folder(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "secret.png"
    (root / "sub").mkdir(parents=True)
    picture().save(outside)
    picture().save(root / "sub" / "a.png")
    (root / "link.png").symlink_to(outside)
    (root / "inner.png").symlink_to(root / "sub" / "a.png")
    for name in ("sub/a.png", "sub/../sub/a.png", "inner.png"):
        assert images.read(str(root), name).shape == (8, 12, 3)
    for name in ("../secret.png", str(outside), "link.png", "sub/../../secret.png"):
        with pytest.raises(UserError, match=r"leads out of the folder"):
            images.read(str(root), name)
    for name in ("missing.png", "sub", "nul\0.png"):
        with pytest.raises(UserError, match=name.split("\0")[0]):
            images.read(str(root), name)
    assert images.read_file(root / "link.png").shape == (8, 12, 3)  # named by its user


@pytest.mark.parametrize("shape", [(32, 32), (40, 100), (100, 40), (64, 65)])
def test_fit_takes_the_middle_square(shape):
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    image[..., 1] = np.linspace(0, 255, width).astype(np.uint8)
    result = images.fit(image, 32).astype(float)
    assert result.shape == (32, 32, 3)
    for channel, length in ((0, height), (1, width)):
        profile = result[..., channel].mean(1 - channel)
        assert abs(profile.mean() - image[..., channel].mean()) < 4  # centred
        span = 255 * min(height, width) / length
        assert abs(profile[-1] - profile[0] - span * 31 / 32) < 0.1 * span + 6


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 9)])
def test_fit_enlarges(shape):
    assert (images.fit(np.full((*shape, 3), 77, np.uint8), 32) == np.full((32, 32, 3), 77)).all()


def test_shrinking_averages():
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    result = images.fit(np.repeat(checks[..., None], 3, -1).astype(np.uint8), 16)
    assert abs(result.astype(int) - 127).max() < 30  # no aliasing
