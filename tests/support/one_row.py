"""Run a row of the table in the working directory, and print how it ends: ``python one_row.py NAME``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.compatibility import Directory
from support.programs import ROWS

print(ROWS[sys.argv[1]].measured(Directory(Path.cwd())))
