"""The main job on real photographs, as a user would type it: make demo.

The photographs are those that scikit-image carries in its package; nothing is downloaded. Everything lies
in the folder demo/ and stays there to play with.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import skimage
from PIL import Image

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "demo"
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
)  # fmt: skip


def run(*arguments: str) -> None:
    """Show a command and run it."""
    print(f"\n$ crosslens {shlex.join(arguments)}", flush=True)
    crosslens = Path(sys.executable).with_name("crosslens")
    # Its own place for what was said once, so that your first run of your own is greeted too.
    environment = {**os.environ, "XDG_STATE_HOME": str(DEMO / "state")}
    status = subprocess.run([crosslens, *arguments], cwd=ROOT, env=environment, check=False).returncode
    if status:
        sys.exit(status)


def prepare() -> None:
    """Lay out the photographs, and one to search by: the cat's face, cut out and mirrored."""
    shutil.rmtree(DEMO, ignore_errors=True)
    pictures = DEMO / "pictures"
    pictures.mkdir(parents=True)
    source = Path(skimage.__file__).parent / "data"
    for name in PHOTOGRAPHS:
        shutil.copy(source / name, pictures)
    with Image.open(pictures / "chelsea.png") as cat:
        face = cat.crop((100, 40, 340, 260)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        face.save(DEMO / "cat-face.jpg")


def main() -> None:
    started = time.monotonic()
    prepare()
    library = ("-L", "demo/library")
    run("index", *library, "demo/pictures")
    for words in ("a cat", "a cup of coffee", "a woman in a space suit", "green grass"):
        run("search", *library, words, "-k", "3")
    run("search", *library, "--image", "demo/cat-face.jpg", "-k", "3")
    run("search", *library, "--image", "demo/cat-face.jpg", "a cup of coffee", "-k", "3")
    run("score", "demo/pictures/chelsea.png", "a cat", "a dog", "a cup of coffee")
    seconds = time.monotonic() - started
    print(f"\n{len(PHOTOGRAPHS)} photographs indexed and searched in {seconds:.1f} s, all offline.")
    print("They are in demo/pictures, the library in demo/library. Go on with:")
    print("  . .venv/bin/activate")
    print('  crosslens search -L demo/library "a brick wall"')
    print("  crosslens index FOLDER_WITH_YOUR_PICTURES && crosslens search WORDS")


if __name__ == "__main__":
    main()
