"""Entry point of ``python -m fastnn``: runs the command ``fastnn``."""

import sys

from .cli.main import main

sys.exit(main())
