"""What all tests share: an empty home, no network, pictures of one colour, and the two models."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from crosslens import Matcher
from crosslens.towers.fake_model import COLOURS, FakeModel

# How long an example takes is a matter of what else the machine does.
settings.register_profile("crosslens", deadline=None)
settings.load_profile("crosslens")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests behind the scenes has Ctrl-C ignored, and processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"

_NETWORK_EVENTS = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
)
_network_is_off = False
_loopback_is_on = False


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _network_is_off or event not in _NETWORK_EVENTS:
        return
    # A host, or a socket and (host, port).
    hosts = (arguments[0], *(address[0] for address in arguments[1:2] if isinstance(address, tuple)))
    if not (_loopback_is_on and "127.0.0.1" in hosts):
        raise AssertionError(f"a test reached for the network: {event} {arguments}")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Any connection or name look-up fails the test that makes it."""
    global _network_is_off  # noqa: PLW0603 (an audit hook cannot be removed, only switched)
    _network_is_off = True
    yield
    _network_is_off = False


@pytest.fixture
def loopback(no_network: None) -> Iterator[None]:
    """This machine may be reached, and nothing else."""
    global _loopback_is_on  # noqa: PLW0603 (as above)
    _loopback_is_on = True
    yield
    _loopback_is_on = False


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home for the whole run: nothing of the user's is read or written."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        for name in (
            "XDG_DATA_HOME",
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
            "XDG_STATE_HOME",
            "CROSSLENS_LIBRARY",
        ):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture
def fake() -> Matcher:
    """A matcher whose vectors can be worked out by hand; see crosslens.towers.fake_model."""
    return Matcher(FakeModel())


@pytest.fixture(scope="session")
def starter() -> Matcher:
    """The embedded model, in float32."""
    return Matcher("starter", precision="f32")


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture of one colour: paint("a/red.png") or paint("x.jpg", "blue", (40, 30))."""

    def write(name: str, colour: str | None = None, size: tuple[int, int] = (16, 16)) -> Path:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb = tuple(int(255 * part) for part in COLOURS[colour or path.stem])
        Image.fromarray(np.full((size[1], size[0], 3), rgb, dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def pictures(paint: Callable[..., Path]) -> Path:
    """A folder with red.png, green.png, blue.png and yellow.png."""
    for colour in ("red", "green", "blue", "yellow"):
        paint(f"{colour}.png")
    return paint("red.png").parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The evaluation pictures; the test skips where they are absent."""
    if not (SHARED / "eval").is_dir():
        pytest.skip("needs the evaluation pictures in ../shared")
    return SHARED
