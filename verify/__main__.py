"""``python -m verify``: the same as the command ``verify``, which is safer in a folder that others have filled.

Python looks for modules in the working folder before this file can take it off the path, so a few of its own modules
can be replaced there, and this package can; with ``python -P -m verify`` none can.
"""

from verify.import_path import exclude

exclude(".")

import sys  # noqa: E402

from verify.cli import main  # noqa: E402

sys.exit(main())
