"""Commands ``fastnn train``, ``fastnn predict`` and ``fastnn evaluate``, whose tables pandas reads."""

from ...system.extras import import_extra

import_extra("pandas", "cli", "reading a table")  # else the first import of pandas fails without a remedy
