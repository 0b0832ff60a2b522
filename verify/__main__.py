"""``python -m verify``: the same as the command ``verify``, which is safer in a folder that others have filled.

Python puts the working folder first on its path, and imports a few modules of its own before this file can take it off
again; ``python -P -m verify`` never looks there.
"""

import os
import sys

# before anything else is imported; import_path does the rest
if sys.path[0] in ("", os.getcwd()) and not os.path.samefile(os.path.dirname(os.path.dirname(__file__)), "."):  # noqa: PTH109, PTH120, PTH121
    del sys.path[0]

from verify.cli.main import main

sys.exit(main())
