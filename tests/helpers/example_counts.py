"""Numbers of examples of property-based tests."""

import hypothesis


def with_examples(count):
    """Return the settings of a test with `count` examples, or with fewer where FASTNN_EXAMPLES is below 60.

    Other tests have 60 examples: the number changes in proportion.
    """
    return hypothesis.settings(max_examples=max(1, count * hypothesis.settings.default.max_examples // 60))
