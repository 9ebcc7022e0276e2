"""The page in a real browser."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow  # a browser takes seconds to start

# Pixels that are not empty, of a canvas.
DRAWN = """(() => {
  const canvas = document.getElementById("%s");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.filter((value, place) => place %% 4 === 3 && value > 0).length;
})()"""

# What the picture shows, as a small grey thumbnail: to be compared with what it shows later.
THUMBNAIL = """(() => {
  const canvas = document.createElement("canvas"), image = document.getElementById("picture");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return Array.from(context.getImageData(0, 11, canvas.width, 1).data);
})()"""


def yellow(browser: Any) -> int:
    """The column in which the scene's yellow square stands."""
    row = np.array(browser.evaluate(THUMBNAIL), int).reshape(-1, 4)[:, :3]
    return int(np.abs(row - (250, 200, 40)).sum(axis=1).argmin())


def test_the_live_page(browser: Any, serving: Any, running: Any, scene: Any, tmp_path: Path) -> None:
    preview = serving()
    running(preview)
    browser.open(preview.url)
    browser.wait_for("Number(document.body.dataset.frame) > 0 && document.getElementById('picture').naturalWidth")
    # The picture moves: the square is at one column, then at another.
    first = yellow(browser)
    frame = int(browser.evaluate("document.body.dataset.frame"))
    browser.wait_for(f"Number(document.body.dataset.frame) > {frame + 5}")
    assert yellow(browser) != first
    # The charts fill: more and more is drawn.
    stages, age = browser.evaluate(DRAWN % "stages"), browser.evaluate(DRAWN % "age")
    browser.wait_for(f"Number(document.body.dataset.frame) > {frame + 40}")
    assert browser.evaluate(DRAWN % "stages") > stages > 0 and browser.evaluate(DRAWN % "age") > age > 0
    assert "infer 2" in browser.evaluate("document.getElementById('stages-now').textContent")
    # A slider changes the number of boxes: 0.95 … 0.35 are 7 at 0.3, and 0.95, 0.85 are 2 at 0.8.
    assert browser.evaluate("document.body.dataset.objects") == "7"
    browser.evaluate(
        "(() => { const slider = document.querySelector('input[name=score_threshold]'); slider.value = 0.8;"
        " slider.dispatchEvent(new Event('input')); })()"
    )
    browser.wait_for("document.body.dataset.objects === '2'")
    assert scene.threshold == 0.8
    # The state of each camera.
    cells = "[...document.querySelectorAll('#states td')].map((cell) => cell.textContent)"
    assert browser.evaluate(cells)[:2] == ["door", "running"]
    scene.camera_reports[0].state, scene.camera_reports[0].reason = "reconnecting", "it gives no more frames"
    browser.wait_for("document.getElementById('notice').textContent.startsWith('door is reconnecting: it gives no')")
    # Of a camera that has given nothing yet no picture is shown, least of all another one's.
    scene.camera_reports.append(type(scene)(names=("yard",)).camera_reports[0])
    browser.wait_for("Boolean(document.querySelector('button[data-camera=yard]'))")
    browser.evaluate("document.querySelector('button[data-camera=yard]').click()")
    browser.wait_for("document.getElementById('picture').hidden && document.getElementById('link').className === 'up'")
    # Nothing was asked of anybody else, and nothing went wrong.
    assert {urlsplit(url).netloc for url in browser.requests} == {urlsplit(preview.url).netloc}
    assert browser.errors == []
    picture = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 1280 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_the_page_behind_a_token(browser: Any, serving: Any, running: Any) -> None:
    token = hashlib.sha256(b"anything").hexdigest()
    preview = serving("0.0.0.0:0", token=token)
    running(preview)
    url = preview.url.replace("0.0.0.0", "127.0.0.1")
    browser.open(url)
    browser.wait_for("document.body.textContent.includes('a token is required')")
    browser.open(f"{url}?token={token}")
    browser.wait_for("Number(document.body.dataset.frame) > 0 && document.getElementById('picture').naturalWidth")
    assert browser.evaluate("location.href") == url  # the token is not in the address bar
    assert token not in browser.evaluate("document.cookie")


def test_it_comes_back_after_the_device_did(browser: Any, serving: Any, running: Any, scene: Any) -> None:
    preview = serving()
    running(preview)
    browser.open(preview.url)
    browser.wait_for("Number(document.body.dataset.frame) > 0")
    address = preview.url.removeprefix("http://").rstrip("/")
    preview.close()
    browser.wait_for("document.getElementById('link').textContent === 'no connection'")
    again = serving(address)
    frame = scene.made
    running(again)
    browser.wait_for(f"Number(document.body.dataset.frame) > {frame}")
    browser.wait_for("document.getElementById('link').textContent === 'live'")
    assert again.viewers == 2


def test_the_command_and_its_page(browser: Any, object_bundle: Any, tmp_path: Path) -> None:
    """`edgecv run --serve` as people start it: two cameras, of which one is lost now and then."""
    # cx, cy, w, h of an input of 8×6, objectness, and a score for each class.
    rows = np.float32(
        [
            [
                [2.2, 3, 2, 4, 1, 0.91, 0],
                [5.5, 3.4, 2, 3, 1, 0, 0.74],
                [4, 1.5, 1, 1, 1, 0.42, 0],
                [7, 5, 1, 1, 1, 0, 0.3],
            ]
        ]
    )
    bundle = object_bundle("yolov5", rows, labels=("person", "bicycle"))
    program = "import sys; from edgecv_runtime.cli import main; sys.exit(main())"
    command = [
        sys.executable, "-c", program, "run", str(bundle), "--serve", "127.0.0.1:0",
        "--source", "door=test://bars?size=1280x720&fps=12", "--source", "yard=test://bars?size=640x480&fps=5&lose=20",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().strip()
        try:
            browser.open(url)
            browser.wait_for("Number(document.body.dataset.frame) > 10")
            assert browser.evaluate("document.body.dataset.objects") == "4"
            first = browser.evaluate(THUMBNAIL)
            browser.wait_for("Number(document.body.dataset.frame) > 120", 120)
            assert browser.evaluate(THUMBNAIL) != first
            (tmp_path / "live_page.png").write_bytes(browser.screenshot())
            browser.evaluate(
                "(() => { const slider = document.querySelector('input[name=score_threshold]'); slider.value = 0.5;"
                " slider.dispatchEvent(new Event('input')); })()"
            )
            browser.wait_for("document.body.dataset.objects === '2'")
            browser.evaluate("document.querySelector('button[data-camera=yard]').click()")
            browser.wait_for("document.getElementById('picture').naturalWidth === 640")
            assert browser.errors == []
            assert {urlsplit(one).netloc for one in browser.requests} == {urlsplit(url).netloc}
        finally:
            process.kill()
