"""Entry point of ``python -m fastnn``: runs the command ``fastnn``."""

from .cli.main import run_process

run_process()
