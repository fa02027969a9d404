"""Addresses of the playground's page in Chromium: they restore a state, and invalid ones are explained."""

import re

import numpy as np
import pytest
from visitors import NEEDS_CHROMIUM, expect

pytestmark = NEEDS_CHROMIUM

# Addresses that could break the page, and the explanations that the page shows.
CRAFTED = {
    "layers=abc": "every entry of layers must be an integer",
    "layers=1000000000&noise=x": "Noise must be a number from 0 to 1, got 'x'; every entry of layers must be",
    "optimizer=toString&dataset=circles": "Optimizer must be one of sgd",
    "seed=1e400": "Seed must be an integer",
    "dataset=__proto__": "dataset must be one of moons",
    "x_column=<img src=x>&dataset=table": "there is no table",
    f"points={';'.join(['1,2,0'] * 6000)}&dataset=painted": "points takes at most 5,000 entries",
}


@pytest.mark.parametrize("fragment", CRAFTED, ids=lambda fragment: fragment[:20])
def test_an_unusable_address_is_explained_and_defaults_are_used(visitor, server, fragment):
    page = visitor.page
    page.goto(f"{server.address}#{fragment}")
    notices = page.locator("#notices")
    expect(notices).to_contain_text(re.compile("The usual values? (is|are) taken"))
    expect(notices).to_contain_text(CRAFTED[fragment])
    if "painted" in fragment:
        assert "paint some points" in page.inner_text("#plane-caption")
        return
    visitor.wait_for_frame(2)
    assert page.locator("[aria-invalid=true]").count() == 0
    page.click("#step")
    visitor.wait_for_step(1)


@pytest.mark.parametrize(
    ("fragment", "widths"),
    [("points=1,2,1000000000", [2, 3, 6]), ("points=&layers=1000000000,x", [2, 128, 1, 2])],
)
def test_an_address_without_enough_points_cannot_fill_the_page(visitor, server, fragment, widths):
    page = visitor.page
    page.goto(f"{server.address}#dataset=painted&{fragment}")
    visitor.wait_for_frame(1)
    assert visitor.widths == widths
    assert page.inner_text("#problems") == ""
    assert "paint some points" in page.inner_text("#plane-caption")


def test_an_address_that_is_too_long_for_the_server_is_explained_and_the_default_is_used(visitor, server):
    page = visitor.page
    page.goto(f"{server.address}#x_column={'a' * 1_100_000}&layers=5")
    notices = page.locator("#notices")
    expect(notices).to_contain_text("Along x is too long for the server. The usual value is taken")
    visitor.wait_for_frame(1)
    assert visitor.widths == [2, 5, 2]
    page.click("#step")
    visitor.wait_for_step(1)


def test_the_last_seed_is_followed_by_the_first(visitor, server):
    page = visitor.visit(server, f"seed={2**31 - 1}").page
    visitor.change(lambda: page.click(".dice"))
    assert page.input_value("#field-seed") == "0"
    assert page.inner_text("#problems") == ""


def test_an_address_restores_all_settings_and_follows_their_changes(visitor, visitors, server):
    fragment = (
        "view=probability&speed=2&sample=7&dataset=spiral&arms=3&noise=0.05&n_samples=150&test_share=0.4&seed=5"
        "&layers=5,4&activations=relu,sigmoid&optimizer=adam&learning_rate=0.02&batch_size=30&l2=0.001&dropout=0.1"
        "&batch_norm=1"
    )
    pages = [one.visit(server, fragment) for one in (visitor, visitors())]
    for visitor in pages:
        assert sorted(visitor.fragment.split("&")) == sorted(fragment.split("&"))
        assert visitor.widths == [2, 5, 4, 3]
        assert visitor.page.input_value("#field-learning_rate") == "0.02"
        assert visitor.page.is_checked("#field-batch_norm")
        assert visitor.page.is_checked("#view input[value=probability]")
        for _ in range(2):
            visitor.page.click("#epoch")
        visitor.wait_for_step(6)
    np.testing.assert_array_equal(pages[0].pixels(), pages[1].pixels())

    # A change of a setting updates the address, and a pasted address changes the settings.
    first = pages[0]
    first.change(lambda: first.page.locator("#field-seed").fill("6") or first.page.keyboard.press("Enter"))
    assert "seed=6" in first.fragment
    first.change(lambda: first.page.evaluate("location.hash = '#dataset=xor&layers=4'"))
    assert first.widths == [2, 4, 2]
    assert first.page.locator("input[name=dataset][value=xor]").is_checked()


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("layers=10000", ["layers", "10,?000"]),
        ("layers=3,3,3,3,3,3,3,3,3,3,3,3", ["layers", "at most"]),
        ("learning_rate=fast", ["Learning rate", "fast"]),
        ("n_samples=1000000", ["Points", "1,?000,?000"]),
        ("optimizer=adan", ["Optimizer", "adan"]),
        ("nonsense=1", ["nonsense"]),
    ],
)
def test_an_invalid_setting_in_an_address_is_explained(visitor, server, fragment, words):
    page = visitor.page
    page.goto(f"{server.address}#{fragment}")
    page.wait_for_selector(".notice:not(.busy)")
    text = page.inner_text("#problems") + page.inner_text("#notices")
    for word in words:
        assert re.search(word, text), text
    # The page still works: another data set trains with the default settings.
    page.evaluate("location.hash = '#dataset=circles'")
    visitor.wait_for_frame()
    page.keyboard.press("s")
    visitor.wait_for_step(1)
