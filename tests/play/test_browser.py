"""The playground's page in Chromium: a journey through all that it does, addresses, layout, connection."""

import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from visitors import NEEDS_CHROMIUM, expect

import fastnn
from fastnn.optimizers import OPTIMIZERS, STEPPING

pytestmark = NEEDS_CHROMIUM
MINUS = "\N{MINUS SIGN}"


def test_a_journey_through_the_page(visitor, server, tmp_path):
    visitor.visit(server, "layers=3&speed=13")
    train_and_pause(visitor)
    do_single_steps(visitor)
    change_settings_while_it_trains(visitor)
    change_the_network(visitor)
    set_numbers_by_hand(visitor)
    read_the_numbers_of_a_step(visitor)
    take_the_best_settings(visitor)
    paint_points(visitor)
    look_in_other_ways(visitor)
    save_everything(visitor, tmp_path)


def train_and_pause(visitor):
    page = visitor.page
    assert (visitor.step, visitor.widths) == (0, [2, 3, 2])
    assert page.inner_text("#network-size").endswith(" 17 parameters")
    visitor.rest()
    before = visitor.pixels()
    visitor.press("Space")
    visitor.wait_for_step(1000)
    assert visitor.is_playing
    assert visitor.pixels().shape == (256, 256, 3)  # sent often; as many pixels as the screen has at rest
    visitor.press("Space")
    visitor.rest()
    assert not visitor.is_playing
    assert visitor.percent("#score-train") > 90
    spoken = page.inner_text("#spoken")
    assert re.fullmatch(r"Step [\d,]+: test accuracy [\d.]+ %, training [\d.]+ %\.", spoken)
    after = visitor.pixels()
    assert (after != before).any()
    # Blue above and on the left, orange below and on the right.
    assert after[10, 10, 2] > after[10, 10, 0]
    assert after[-10, -10, 0] > after[-10, -10, 2]
    stopped = visitor.step
    page.wait_for_timeout(300)
    assert visitor.step == stopped
    for selector in (".curves canvas", ".links", "[data-key=unit-1-0] canvas"):
        assert len(np.unique(visitor.pixels(selector))) > 8, selector


def do_single_steps(visitor):
    page = visitor.page
    visitor.go_to("batch_size=40&speed=3")
    assert page.inner_text("#speed-text") == "10 steps/s"
    assert page.inner_text(".readouts > :has(#pace) dt") == "Steps/s"
    visitor.press("+")
    assert page.get_attribute("#speed", "aria-valuetext") == "20 steps per second"
    page.click("#step")
    visitor.wait_for_step(1)
    visitor.press("s")
    visitor.wait_for_step(2)
    visitor.press("e")
    visitor.wait_for_step(4)  # 160 samples are 4 steps of 40
    assert [page.inner_text(f"#{name}-count") for name in ("epoch", "step")] == ["1", "4"]
    visitor.change(lambda: visitor.press("r"))
    assert visitor.step == 0
    page.click("#epoch")
    visitor.wait_for_step(4)


def change_settings_while_it_trains(visitor):
    page, run = visitor.page, visitor.run
    visitor.press("Space")
    visitor.wait_for_step(10)
    visitor.type_into("#field-learning_rate", "0.002")
    visitor.type_into("#field-l2", "0.5")
    visitor.type_into("#field-batch_size", "20")
    step = visitor.step
    visitor.wait_for_step(step + 5)
    assert (visitor.run, visitor.is_playing) == (run, True)
    page.keyboard.press("Control+z")  # within the field
    expect(page.locator("#field-batch_size")).to_have_value("40")
    assert visitor.state["learning_rate"] == "0.002"
    visitor.press("Space", "p")
    page.wait_for_selector("#script-dialog[open]")
    script = page.inner_text("#script-text")
    assert script.count("model.train(") >= 4
    assert script.count("epsilon=0.002") >= 3
    compile(script, "script.py", "exec")
    page.keyboard.press("Escape")
    # What is typed and not taken over yet is the browser's own to take back.
    page.focus("#field-l2")
    page.keyboard.type("77")
    page.keyboard.press("Control+z")
    assert visitor.state["l2"] == "0.5"
    visitor.press("Control+z", "Control+z")
    assert not {"l2", "learning_rate"} & set(visitor.state)
    assert visitor.run == run


def change_the_network(visitor):
    page = visitor.page
    visitor.go_to("")
    visitor.change(lambda: page.click("#more-layers"))
    assert visitor.widths == [2, 3, 3, 2]
    visitor.change(lambda: page.get_by_label("Add a unit to hidden layer 2").click())
    assert visitor.widths == [2, 3, 4, 2]
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "Add a unit to hidden layer 2"
    visitor.change(lambda: page.get_by_label("Remove a unit from hidden layer 1").click())
    visitor.change(lambda: page.get_by_label("Activation of hidden layer 1").select_option("relu"))
    assert (visitor.state["layers"], visitor.state["activations"]) == ("2,4", "relu,tanh")
    assert page.locator(".unit").count() == 2 + 2 + 4 + 2
    for _ in range(2):
        visitor.change(lambda: page.click("#fewer-layers"))
    assert visitor.widths == [2, 2]
    assert page.is_disabled("#fewer-layers")
    visitor.change(lambda: visitor.press("Control+z"))
    assert visitor.widths == [2, 2, 2]
    # Inputs are computed; one stays.
    visitor.go_to("dataset=circles&features=x1,x2_squared")
    assert page.locator(".layer").first.locator(".name").all_inner_texts() == ["x₁", "x₂²"]
    group = page.get_by_role("group", name="Inputs").first
    visitor.change(lambda: group.get_by_label("x₁²").check())
    assert visitor.state["features"] == "x1,x1_squared,x2_squared"
    for name in ("x₁", "x₂²"):
        visitor.change(lambda name=name: group.get_by_label(name, exact=True).uncheck())
    group.get_by_label("x₁²").click()
    assert group.get_by_label("x₁²").is_checked()
    # A setting without an effect says why.
    rate, reason = page.locator("#field-learning_rate"), page.locator("#field-learning_rate-reason")
    visitor.change(lambda: page.select_option("#field-optimizer", "lbfgs"))
    expect(rate).to_be_disabled()
    expect(reason).to_have_text("L-BFGS has no learning rate: a line search finds the length of each step.")
    assert rate.get_attribute("aria-describedby").split()[0] == "field-learning_rate-reason"
    assert page.is_disabled("#parameter")
    visitor.change(lambda: page.select_option("#field-optimizer", "adam"))
    expect(rate).to_be_enabled()
    expect(reason).to_be_hidden()


def set_numbers_by_hand(visitor):
    page = visitor.page
    visitor.go_to("layers=2&view=probability&speed=5")
    undo = page.locator("#undo-number")
    # A line is clicked: its weight.
    unit = page.locator("[data-key=unit-0-1] canvas").bounding_box()
    edge = unit["x"] + unit["width"]
    page.mouse.move(edge + 5, unit["y"] + unit["height"] / 2)
    shown = re.sub("[₀-₉]", "1", page.inner_text("#tooltip")).replace("  ", " ")
    assert re.fullmatch(r"weight \d→\d .?\d+\.\d{4}", shown)
    page.mouse.click(edge + 5, unit["y"] + unit["height"] / 2)
    assert re.fullmatch("Weight w₂[₁₂]", page.inner_text("#parameter-name"))
    loss = page.inner_text("#loss-train")
    visitor.type_into("#parameter", "-1.5")
    expect(page.locator("#loss-train")).not_to_have_text(loss)
    assert f"{MINUS}1.50" in page.locator(".steps li", has_text="Sum").inner_text()
    page.keyboard.press("Control+Shift+z")  # other programs do again by it
    assert undo.get_attribute("title").startswith("Undo: w₂")
    undo.click()
    expect(page.locator("#loss-train")).to_have_text(loss)
    assert (visitor.step, undo.is_hidden()) == (0, True)
    # The keyboard reaches every unit, and from there its bias and weights.
    page.get_by_label("Unit 2 of hidden layer 1").focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#parameter-name") == "Bias b₂"
    page.locator("#parameter-choice").focus()
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#parameter-name") == "Weight w₁₂"
    # A number that is set while the training runs is trained further; a new run knows nothing of it.
    visitor.press("Space")
    visitor.wait_for_step(5)
    visitor.type_into("#parameter", "100")
    expect(undo).to_be_visible()
    assert visitor.is_playing
    visitor.change(lambda: page.click("#reset"))
    expect(undo).to_be_hidden()


def read_the_numbers_of_a_step(visitor):
    page = visitor.page
    visitor.go_to("layers=2&l2=0")
    visitor.press("s")
    visitor.wait_for_step(1)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    rows = {row.split("\n")[0]: row for row in page.locator(".steps li").all_inner_texts()}
    assert list(rows) == ["Sum", "Activation", "Loss", "Backward", "Gradient", "Batch", "Step"]
    numbers = re.findall(r"-?\d+\.\d+", rows["Sum"].split("\n")[-1].replace(MINUS, "-"))
    w1, x1, w2, x2, bias, total = map(float, numbers)
    assert w1 * x1 + w2 * x2 + bias == pytest.approx(total, abs=0.05)
    # The probabilities have the numbers of their classes, as in the documentation.
    sample = re.search(r"a sample of class (\d)", page.inner_text("#formula"))[1]
    assert f"ln p{'₀₁'[int(sample)]}" in page.inner_text("#formula")
    before = page.inner_text("#sample-name")
    page.click("#next-sample")
    visitor.wait("before => document.querySelector('#sample-name').textContent !== before", before)
    page.locator(".unit.output").first.click()
    assert "Probability" in page.inner_text("#formula")


def take_the_best_settings(visitor):
    page, use = visitor.page, visitor.page.locator("#best button")
    visitor.go_to("speed=7")
    assert use.is_disabled()  # the moons' best are the usual ones
    visitor.change(lambda: page.locator("#field-dropout").fill("0.5") or page.keyboard.press("Enter"))
    visitor.change(use.click)
    assert use.is_disabled()
    assert page.input_value("#field-dropout") == "0"
    visitor.change(lambda: visitor.press("Control+z"))
    assert (page.input_value("#field-dropout"), use.is_enabled()) == ("0.5", True)
    visitor.press("Space")
    visitor.choose_data("spiral")
    visitor.change(use.click)
    visitor.wait_for_step(20)
    assert (visitor.is_playing, use.is_disabled()) == (True, True)


def paint_points(visitor):
    page = visitor.page
    visitor.press("Space")
    visitor.go_to("dataset=moons&n_samples=50&layers=6&optimizer=adam&learning_rate=0.05&l2=0&speed=13")
    points = visitor.pixels("#points").astype(int)
    visitor.use_tool("2")
    visitor.change(lambda: page.mouse.click(*visitor.spot(0.9, 0.9)))
    expect(page.locator("#classes-legend .dot")).to_have_count(3)
    # The other points stay where they are, as filled points or as rings: few pixels are new.
    assert (visitor.n_points, page.inner_text("#test-count")) == (51, "11 test")
    change = np.abs(visitor.pixels("#points") - points).max(axis=-1)
    assert 20 < (change > 50).sum() < 900
    both = visitor.state["points"]
    visitor.use_tool("erase")
    visitor.change(lambda: visitor.stroke((-0.5, 0), (0.5, 0)))
    kept = visitor.state["points"]
    assert len(kept) < len(both)
    page.click("#clear")
    assert "points" not in visitor.state
    # An empty plane shows no numbers of the data that went.
    assert page.locator(".curves .value").all_inner_texts() == [""] * 4
    texts = [page.inner_text(f"#{name}") for name in ("score-train", "loss-test", "pace", "step-count")]
    assert texts == ["\N{EN DASH}"] * 3 + ["0"]
    assert page.locator(".steps").count() == 0
    assert page.input_value("#parameter") == ""
    visitor.change(lambda: visitor.press("Control+z"))
    assert visitor.state["points"] == kept
    visitor.change(lambda: page.click("#undo-plane"))
    assert visitor.state["points"] == both
    visitor.change(lambda: visitor.press("Control+z"))
    assert "points" not in visitor.state
    assert visitor.state["dataset"] == "moons"
    # Points are painted by the mouse and by the keyboard.
    visitor.choose_data("painted")
    visitor.press("1")
    visitor.stroke((-0.8, 0.6), (-0.2, 0.6))
    visitor.press("2")
    page.focus("#points")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    painted, count = visitor.state["points"], visitor.n_points
    assert re.fullmatch(r"([\w-]{4})+\.1([\w-]{4}){4}", painted)
    assert len(painted) == 4 * count + 2  # an address that is short enough to be passed on
    page.reload()
    visitor.wait_for_frame()
    assert (visitor.n_points, visitor.state["points"]) == (count, painted)


def look_in_other_ways(visitor):
    page = visitor.page
    visitor.go_to("dataset=blobs&classes=4")
    assert page.inner_text("#cap") == "Outputs of tanh allow no probability above 71.1 %."
    shapes = """() => [...document.querySelectorAll("#classes-legend .dot, .unit .swatch")]
        .map((dot) => getComputedStyle(dot).clipPath)"""
    discs = visitor.pixels("#points")
    assert set(page.evaluate(shapes)) == {"none"}
    page.click("#shapes")
    assert (visitor.pixels("#points") != discs).any()
    legend, outputs = np.reshape(page.evaluate(shapes), (2, 4))
    assert (len(set(legend)), sorted(legend)) == (4, sorted(outputs))
    page.click("#shapes")
    # Probabilities and the theme have colours of their own.
    visitor.rest()
    pixels = [visitor.pixels()]
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    pixels.append(visitor.pixels())
    visitor.press("v", "d")
    visitor.wait("() => document.querySelector('#boundary').dataset.frame >= 2")
    pixels.append(visitor.pixels())
    assert all((one != other).any() for one, other in pairwise(pixels))
    visitor.change(lambda: page.evaluate("location.hash = 'output_activation=identity'"))
    assert page.locator("#cap").is_hidden()
    visitor.choose_data("surface")
    assert not page.locator("#shapes").is_visible()  # a regression has no classes
    # Shortcuts can be switched off in the help.
    visitor.press("?")
    assert page.locator("#help-dialog[open] #keys tr").count() >= 12
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    visitor.press("s", "?")
    page.wait_for_timeout(200)
    assert (visitor.step, page.locator("#help-dialog[open]").count()) == (0, 0)


def save_everything(visitor, folder):
    page = visitor.page
    visitor.go_to("layers=4&n_samples=60")
    for step in range(1, 4):
        page.click("#step")
        visitor.wait_for_step(step)

    def save(what):
        page.click("#save")
        with page.expect_download() as download:
            page.click(f"[data-save={what}]")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    assert list(fastnn.load(save("model")).layers_dim) == [2, 4, 2]
    for what, kind in (("picture", "PNG"), ("gif", "GIF")):
        with Image.open(save(what)) as image:
            assert image.format == kind


def test_a_lesson_shows_what_its_address_leaves_and_trains_on_with_other_data(visitor, server):
    page = visitor.visit(server, "dataset=circles&hide=training,formula,noise,best").page
    for selector in ("#training-fields", "#formula", "#field-noise", "#best"):
        expect(page.locator(selector)).to_be_hidden()
    for selector in ("#field-seed", "#network", "#boundary"):
        expect(page.locator(selector)).to_be_visible()
    visitor.press("Space")
    visitor.choose_data("painted")  # an empty plane has nothing to learn
    assert not visitor.is_playing
    visitor.choose_data("xor")
    assert visitor.is_playing
    assert visitor.state["hide"] == "training,formula,noise,best"


# Addresses, and what the page says about them.
MESSAGES = {
    "layers=1000000000&noise=x": "Noise must be a number from 0 to 1, got 'x'; every entry of layers must be",
    "dataset=__proto__": "dataset must be one of moons",
    "x_column=<img src=x>&dataset=table": "there is no table",
    f"points={';'.join(['1,2,0'] * 6000)}&dataset=painted": "points takes at most 5,000 entries",
    f"x_column={'a' * 1_100_000}&layers=5": "Along x is too long. The usual value is taken",
    "nonsense=1": "The address has unknown settings: nonsense. They are left out.",
    "optimizer=lbfgs&batch_size=10": "does not support “Batch size”",
}


@pytest.mark.parametrize("fragment", MESSAGES, ids=lambda fragment: fragment[:20])
def test_an_unusable_address_is_explained_and_the_usual_values_are_taken(visitor, server, fragment):
    page = visitor.page
    page.goto(f"{server.address}#{fragment}")
    expect(page.locator(".messages")).to_contain_text(MESSAGES[fragment])
    if "painted" in fragment:
        assert "paint some points" in page.inner_text("#plane-caption")
        visitor.choose_data("circles")
    visitor.wait_for_frame()
    visitor.wait("() => !document.querySelector('[aria-invalid=true]')")
    page.click("#step")
    visitor.wait_for_step(1)


def test_what_is_refused_is_marked_and_the_training_continues(visitor, server):
    page = visitor.visit(server, "speed=5&layers=2").page
    visitor.press("Space")
    visitor.wait_for_step(5)
    visitor.type_into("#field-noise", "7")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    visitor.type_into("#field-n_samples", "3")
    page.wait_for_selector("#field-n_samples[aria-invalid=true]")
    visitor.type_into("#field-learning_rate", "1000")
    expect(page.locator("#field-learning_rate-problem")).to_have_text(
        "Learning rate must be a number from 0 to 100, got 1000"
    )
    assert page.locator("[aria-invalid=true]").count() == 3
    assert re.search(r"Points must .*; Noise must ", page.inner_text("#problems"))
    visitor.type_into("#field-learning_rate", "0.01")
    visitor.type_into("#field-n_samples", "50")
    page.wait_for_selector("#field-n_samples:not([aria-invalid])")
    assert page.get_attribute("#field-noise", "aria-invalid") == "true"
    visitor.wait_for_step(visitor.step + 5)
    assert (visitor.run, visitor.is_playing) == (1, True)
    visitor.change(lambda: visitor.type_into("#field-noise", "0.1"))
    assert page.locator("[aria-invalid=true]").count() == 0
    visitor.press("Space")
    visitor.go_to("learning_rate=100&activations=relu&output_activation=identity&l2=50&speed=13")
    visitor.press("Space")
    problems = page.locator("#problems")
    expect(problems).to_contain_text("diverged")
    assert not re.search("epsilon|reg_lambda|clip_norm", problems.inner_text())
    assert "“Learning rate”" in problems.inner_text()


@pytest.mark.parametrize(
    ("fragment", "widths"),
    [("points=1,2,1000000000", [2, 3, 6]), ("points=&layers=1000000000,x&window=5", [2, 128, 1, 2])],
)
def test_an_address_without_enough_points_cannot_fill_the_page(visitor, server, fragment, widths):
    page = visitor.visit(server, f"dataset=painted&{fragment}").page
    assert visitor.widths == widths
    assert page.inner_text("#problems") == ""
    assert "paint some points" in page.inner_text("#plane-caption")


def test_an_address_restores_all_settings(visitor, server):
    fragment = (
        "dataset=spiral&n_samples=150&noise=0.05&arms=3&test_share=0.4&seed=2147483647&layers=5,4"
        "&activations=relu,sigmoid&batch_norm=1&dropout=0.1&optimizer=adam&learning_rate=0.02&batch_size=30"
        "&l2=0.001&view=probability&speed=2&sample=7"
    )
    page, pictures = visitor.page, []
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for _ in range(2):
        visitor.visit(server, fragment)
        assert sorted(visitor.fragment.split("&")) == sorted(fragment.split("&"))
        assert visitor.widths == [2, 5, 4, 3]
        assert page.input_value("#field-learning_rate") == "0.02"
        assert page.is_checked("#field-batch_norm")
        assert page.is_checked("#view input[value=probability]")
        for step in (3, 6):
            page.click("#epoch")
            visitor.wait_for_step(step)
        visitor.rest()
        pictures.append(visitor.pixels())
        page.click("#save")
        page.click("#copy-address")
        expect(page.locator("#notices")).to_contain_text("copied")
        fragment = page.evaluate("navigator.clipboard.readText()").partition("#")[2]
        page.goto("about:blank")
    np.testing.assert_array_equal(*pictures)
    visitor.visit(server, fragment)
    visitor.change(lambda: page.click(".dice"))  # the last seed is followed by the first
    assert "seed" not in visitor.state
    visitor.go_to("dataset=xor&layers=4")
    assert visitor.widths == [2, 4, 2]


@pytest.mark.parametrize("optimizer", sorted(set(STEPPING) - {"sgd"}))
def test_the_step_of_every_optimizer_can_be_done_by_hand(visitor, server, optimizer):
    """The numbers of the last row give its result: they are read as a formula of Python."""
    page = visitor.visit(server, f"layers=2&optimizer={optimizer}").page
    for step in (1, 2):
        visitor.press("s")
        visitor.wait_for_step(step)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    visitor.wait("() => document.querySelector('.steps li:last-child strong')?.textContent")
    text = page.locator(".steps li").last.inner_text().split("\n")[-1].removeprefix("= ")
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    power = r"(?:([\d.]+)·)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
    text = re.sub(power, lambda m: f"{m[1] or 1}e{m[2].translate(powers)}", text)
    for sign, python in ((MINUS, "-"), ("·", "*"), ("√(", "root("), (" with t = 3", "")):
        text = text.replace(sign, python)
    formula, result = re.sub(r"√([\d.e-]+)", r"root(\1)", text).split(" = ")
    assert eval(formula, {"root": np.sqrt}) == pytest.approx(float(result), abs=2e-4)
    # Weight decay is part of the gradient unless the optimizer takes it from the weights itself.
    visitor.change(lambda: page.evaluate("location.hash += '&l2=0&weight_decay=0.5'"))
    coupled = OPTIMIZERS[optimizer](weight_decay=0.5).l2 > 0
    assert ("λ" in page.locator(".steps li", has_text="Batch").inner_text()) == coupled


# Addresses with many or wide elements.
FULL = (
    "",
    "features=x1,x2,x1_squared,x2_squared,x1_x2,sin_x1,sin_x2&layers=8,6,4&dataset=spiral&arms=5",
    "dataset=blobs&classes=5&layers=128,128,128&activations=softplus,softplus,softplus&n_samples=2000",
    "dataset=surface&layers=13,30&output_activation=identity&optimizer=adam&batch_size=32&n_samples=5000",
    "dataset=painted&points=1,2,0;-900,3,5&layers=4",
)
# Elements whose text or box is cut off by the page or its card.
CUT_OFF = """
() => [...document.querySelectorAll("body *")].filter((element) => {
    const { left, right, width } = element.getBoundingClientRect();
    const isText = [...element.childNodes].some(({ nodeType, data }) => nodeType === 3 && data.trim());
    if (width <= 1 || !(isText || element.matches("button, input, select, canvas"))) return false;
    if (element.closest(".hidden, dialog, noscript, .skip, option")) return false;
    const { overflowX, textOverflow } = getComputedStyle(element);
    const isShortened = overflowX === "hidden" || textOverflow === "ellipsis";
    if (isShortened && element.clientWidth && element.scrollWidth > element.clientWidth + 1) return true;
    const isScrolled = innerWidth < 400 && element.closest(".network");
    const box = (element.closest(".card") ?? document.body).getBoundingClientRect();
    return !isScrolled && (left < box.left - 1 || right > box.right + 1);
}).map((element) => element.outerHTML.slice(0, 120))
"""
NAMELESS = """
() => [...document.querySelectorAll("button, input, select, canvas[role], dialog, [role]")]
    .filter((element) => !["alert", "status", "group", "tooltip"].includes(element.role))
    .filter((element) => !element.closest("[aria-hidden=true]") && element.ariaHidden !== "true")
    .filter((element) => !(element.ariaLabel || element.textContent.trim()
        || element.labels?.length || element.getAttribute("aria-labelledby")))
    .map((element) => element.outerHTML.slice(0, 100))
"""


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768), (390, 844)])
def test_nothing_is_cut_off_and_everything_can_be_reached(visitor, server, width, height):
    page = visitor.page
    page.set_viewport_size({"width": width, "height": height})
    visitor.visit(server)
    page.locator("details.more summary").click()
    for fragment in FULL:
        if fragment:
            visitor.go_to(fragment)
        page.click("#step")
        visitor.wait_for_step(1)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("html")).to_have_attribute("data-theme", scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            # The network is not higher than the page; on a phone, it scrolls.
            assert page.locator("#network").bounding_box()["height"] < 450
            assert page.evaluate(CUT_OFF) == [], fragment
    page.click("#clear")
    assert page.locator("#undo-plane").is_visible()
    assert page.evaluate(CUT_OFF) == page.evaluate(NAMELESS) == []


def test_forced_colours_leave_pictures_and_legends_their_own(visitor, server):
    visitor.page.emulate_media(forced_colors="active")
    visitor.visit(server)
    for selector in (".plane", "#classes-legend .dot", ".line.positive"):
        shown = visitor.page.locator(selector).first
        assert shown.evaluate("element => getComputedStyle(element).forcedColorAdjust") == "none", selector
    visitor.page.emulate_media(forced_colors="none")


def test_a_page_reconnects_to_a_server_that_was_restarted_and_says_that_it_began_anew(visitor):
    # Port 0 gives a port that no other test takes meanwhile; the usual ports might be taken.
    with fastnn.playground(browser=False, block=False, port=0) as running:
        page = visitor.visit(running, "dataset=xor&layers=4&speed=13").page
        visitor.press("Space")
        visitor.wait_for_step(5)
    expect(page.locator("#lost")).to_contain_text("stopped")
    assert not visitor.is_playing
    page.click("#reconnect")
    page.wait_for_timeout(300)
    assert page.is_visible("#reconnect")
    with fastnn.playground(browser=False, block=False, port=running.port):
        visitor.change(lambda: page.click("#reconnect"))
        assert page.is_hidden("#lost")
        expect(page.locator("#notices")).to_contain_text("Connected again. The training has begun anew")
        assert visitor.widths == [2, 4, 2]
        visitor.press("s")
        visitor.wait_for_step(1)
        page.goto("about:blank")
    # The browser itself logs the connections that failed.
    visitor.errors = [error for error in visitor.errors if "WebSocket connection" not in error]


X = np.random.RandomState(0).randn(60, 3) * [2, 0.001, 1000] + [2000, 0, 1.7e9]
# Keep the texts that are drawn beside the plane.
KEEP_TEXTS = """() => {
    window.texts = [];
    const fill = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        if (this.canvas.id === "points") window.texts.push(text);
        return fill.call(this, text, ...place);
    };
}"""


def test_a_table_has_its_names_and_units_and_is_one_data_set_of_several(visitor):
    labels = np.where(X[:, 0] > 2000, "after", "before")
    with fastnn.playground(X, labels, browser=False, block=False, port=0) as running:
        page = visitor.visit(running).page
        assert page.inner_text("#classes-legend").split() == ["after", "before"]
        page.evaluate(KEEP_TEXTS)
        for column, expected in (("x2", {"x2", "1700000000"}), ("x1", {f"{chr(0x2212)}0.001", "0.001"})):
            visitor.change(lambda column=column: page.select_option("#field-y_column", column))
            assert expected <= {*page.evaluate("window.texts")}
        # An address may name another data set; the table is the first.
        visitor.go_to("dataset=moons")
        assert (visitor.widths, visitor.fragment) == ([2, 3, 2], "dataset=moons")
        visitor.go_to("")
        assert visitor.state["dataset"] == "table"
        page.goto("about:blank")
