"""Stop with a clear word when this Python is too old to install crosslens. Written for any Python 3."""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "error: crosslens needs Python 3.11 or newer; this is {}, {}.\n"
        "Name another one: make PYTHON=python3.12".format(sys.version.split()[0], sys.executable)
    )
