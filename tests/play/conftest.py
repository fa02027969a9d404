"""Fixtures of tests of a page, with and without a browser."""

import pytest
from playing import FakePage

import fastnn


@pytest.fixture
def page():
    with FakePage() as page:
        yield page


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
    from visitors import VIEWPORT, Visitor

    contexts, opened = [], []

    def open_page():
        contexts.append(browser.new_context(viewport=VIEWPORT))
        opened.append(Visitor(contexts[-1].new_page()))
        return opened[-1]

    yield open_page
    for context in contexts:
        context.close()
    assert [error for visitor in opened for error in visitor.errors] == []


@pytest.fixture(scope="module")
def tab(browser):
    """Return the page of all tests that need no page of their own: Chromium opens pages slowly."""
    return browser.new_page()


@pytest.fixture
def visitor(tab):
    """Return a visitor whose page is as a new one, without scripts or routes of its own."""
    from visitors import visiting

    with visiting(tab) as visitor:
        yield visitor
