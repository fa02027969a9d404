"""The command ``fastnn``."""
