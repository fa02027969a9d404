"""The work of ``fastnn train``, ``fastnn predict`` and ``fastnn evaluate``."""
