"""Fixtures of tests in a browser."""

import pytest

import fastnn


@pytest.fixture(scope="module")
def browser():
    from visitors import chromium  # not at the top: without Playwright the import skips the importing module

    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def server():
    running = fastnn.playground(browser=False, block=False)
    yield running
    running.close()


@pytest.fixture
def visitors(browser):
    """Return a function that opens a page; assert at the end that no page has logged an error."""
    from visitors import Visitor

    contexts, opened = [], []

    def open_page(**options):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}, **options))
        opened.append(Visitor(contexts[-1].new_page()))
        return opened[-1]

    yield open_page
    for context in contexts:
        context.close()
    assert [error for visitor in opened for error in visitor.errors] == []


@pytest.fixture
def visitor(visitors):
    return visitors()
