"""A run's page, as it is written and as a browser shows it."""

import errno
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vismem import cli

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "figures").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"optimizer": {"name": "<muon>"}, "steps": 40}))
    lines = [{"step": s, "loss": 1 / s} for s in range(1, 41)] + [{"step": 40, "test/exact": 0.75}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    times = [
        {"step": s, "images_per_second": 100 * s, "data_seconds": s / 8, "goodput": s / 4}
        for s in (1, 2, 3)
    ]
    (folder / "timings.jsonl").write_text("\n".join(map(json.dumps, times)))
    for step, colour in ((400, "red"), (40, "blue")):
        Image.new("RGB", (50, 30), colour).save(folder / "figures" / f"grid_{step}.png")
    facts = {"seconds": 12.5, "metrics": {"test/exact": 0.75, "val/exact": 0.5}, "commit": "abc123"}
    (folder / "summary.json").write_text(json.dumps(facts | {"versions": {"jax": "0.10.2"}}))
    return folder


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.captions, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.sources.append(attributes["src"])
            self.captions.append(attributes["alt"])
        assert tag not in ("script", "link", "iframe")


def test_everything_is_in_the_one_file(run, capsys):
    assert cli.main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "page.html")
    text = (run / "page.html").read_text()
    page = Page(text)
    assert page.captions == ["loss", "accuracy", "step 40", "step 400"]
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not re.search(r"https?://|url\(", text)
    assert "<muon>" not in text
    assert re.search("optimizer.name<td>&lt;muon&gt;", text)
    assert re.search("exact<td>0.75<td>0.5", text)
    for fact in (
        "abc123",
        "0.10.2",
        "per_second, median<td>200",
        "data_seconds, median<td>0.25",
        "goodput<td>0.75",
    ):
        assert fact in text


def test_a_run_that_goes_on_has_a_page_too(run):
    (run / "summary.json").unlink()
    assert cli.main(["report", str(run)]) == 0
    assert "has not ended" in (run / "page.html").read_text()


@pytest.mark.parametrize("text", ['{"metr', "[1]"])
def test_a_damaged_summary_is_a_user_s_error(run, capsys, text):
    (run / "summary.json").write_text(text)
    assert cli.main(["report", str(run)]) == 2
    assert "summary.json: damaged" in capsys.readouterr().err


def test_a_page_is_never_half_written(run, monkeypatch):
    def fail(source, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    (run / "page.html").write_text("old")
    monkeypatch.setattr("os.replace", fail)
    assert cli.main(["report", str(run)]) == 2
    assert (run / "page.html").read_text() == "old"


def test_no_run_is_a_user_s_error(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "not a run" in capsys.readouterr().err


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: the page was not opened in a browser")
def test_a_browser_shows_it(run, tmp_path):
    cli.main(["report", str(run)])
    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,3000"]
    browser += [f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    shot = tmp_path / "page.png"
    url = (run / "page.html").as_uri()
    subprocess.run([*browser, f"--screenshot={shot}", url], capture_output=True, timeout=300)
    pixels = np.asarray(Image.open(shot).convert("RGB"), int)
    for colour in ((255, 0, 0), (0, 0, 255)):  # both sheets are on the page, side by side
        assert (pixels == colour).all(-1).sum() >= 50 * 30
