"""Commands ``fastnn train``, ``fastnn predict`` and ``fastnn evaluate``."""
