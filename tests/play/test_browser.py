"""The playground's page in Chromium: training, painting, changes of the network, appearance."""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image
from visitors import NEEDS_CHROMIUM, expect

import fastnn
from fastnn.optimizers import OPTIMIZERS

pytestmark = NEEDS_CHROMIUM


def test_a_training_draws_its_boundary_curves_and_network(visitor, server):
    page = visitor.visit(server, "layers=3&speed=13").page
    assert visitor.step == 0
    assert visitor.widths == [2, 3, 2]
    assert page.inner_text("#network-size").endswith(" 17 parameters")
    before = visitor.pixels()
    page.keyboard.press("Space")
    visitor.wait_for_step(1000)
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.keyboard.press("Space")
    visitor.wait("() => !/[0-9]/.test(document.querySelector('#pace').textContent)")
    assert page.get_attribute("#play", "aria-label") == "Play"
    assert visitor.percent("#score-train") > 90
    assert re.fullmatch(
        r"Step [\d,]+: test accuracy [\d.]+ %, training [\d.]+ %\.", page.inner_text("#spoken")
    )

    after = visitor.pixels()
    assert after.shape == (256, 256, 3)
    assert (after != before).any()
    # Blue above and on the left, orange below and on the right.
    assert after[10, 10, 2] > after[10, 10, 0]
    assert after[-10, -10, 0] > after[-10, -10, 2]
    # While the training is paused, the step does not change.
    stopped = visitor.step
    page.wait_for_timeout(300)
    assert visitor.step == stopped
    for selector in (".curves canvas >> nth=0", ".links", ".unit canvas >> nth=2"):
        drawn = page.locator(selector).evaluate(
            """canvas => {
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return new Set(data).size;
            }"""
        )
        assert drawn > 8, selector


def test_buttons_and_keys_do_single_steps_epochs_and_resets(visitor, server):
    page = visitor.visit(server, "batch_size=40").page
    page.click("#step")
    visitor.wait_for_step(1)
    page.keyboard.press("s")
    visitor.wait_for_step(2)
    assert page.inner_text("#step-count") == "2"
    page.keyboard.press("e")
    visitor.wait_for_step(4)  # 160 samples are 4 steps of 40
    assert page.inner_text("#epoch-count") == "1"
    trained = visitor.pixels()
    visitor.change(lambda: page.keyboard.press("r"))
    assert visitor.step == 0
    assert page.inner_text("#epoch-count") == "0"
    page.click("#epoch")
    visitor.wait_for_step(4)
    np.testing.assert_array_equal(visitor.pixels(), trained)


def test_the_speed_limits_the_steps_per_second(visitor, server):
    page = visitor.visit(server, "speed=3").page
    assert page.inner_text("#speed-text") == "10 steps/s"
    began = time.perf_counter()
    page.keyboard.press("Space")
    visitor.wait_for_step(20)
    step = visitor.step
    # The machine may be slow: assert only that there are no more steps than the speed allows.
    assert step <= 10 * (time.perf_counter() - began) + 2
    page.keyboard.press("+")
    assert page.get_attribute("#speed", "aria-valuetext") == "20 steps per second"
    assert "speed=4" in visitor.fragment


def test_the_speed_and_its_readout_have_the_same_unit(visitor, server):
    page = visitor.visit(server, "batch_size=20&speed=5").page
    assert page.inner_text("#speed-text") == "50 steps/s"
    assert page.inner_text(".readouts > :has(#pace) dt") == "Steps/s"
    page.set_viewport_size({"width": 390, "height": 844})  # too narrow for the word, and for the readout
    assert page.inner_text("#speed-text") == "50/s"


# Keep the texts that are drawn beside the plane.
TEXTS = """
window.texts = [];
const fill = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    if (this.canvas.id === "points") window.texts.push(text);
    return fill.call(this, text, ...place);
};
"""


def test_the_axes_of_a_table_have_its_names_and_units(visitors):
    random = np.random.RandomState(0)
    X = random.randn(60, 3) * [2, 0.001, 1000] + [2000, 0, 1.7e9]
    visitor = visitors()
    page = visitor.page
    page.add_init_script(TEXTS)
    with fastnn.playground(X, X[:, 0] + X[:, 2] > 1.7e9 + 2000, browser=False, block=False) as running:
        visitor.visit(running)
        texts = page.evaluate("window.texts")
        assert {"x0", "x2", "2000", "1700000000"} <= {*texts}
        page.evaluate("() => { window.texts = []; }")
        visitor.change(lambda: page.select_option("#field-x_column", "x1"))
        texts = page.evaluate("window.texts")
        assert {"x1", "\u22120.001", "0", "0.001"} <= {*texts}
        visitor.change(lambda: page.locator("input[name=dataset][value=moons]").check())
        assert {"x₁", "x₂", "1"} <= {*page.evaluate("window.texts")}
        page.goto("about:blank")


def wait_for_training_points(visitor, count):
    """Wait until the page says that the networks train on `count` points."""
    visitor.wait("count => parseInt(document.querySelector('#train-count').innerText) === count", count)


def test_painted_points_are_learned_and_can_be_erased(visitor, server):
    page = visitor.visit(
        server, "dataset=painted&test_share=0&layers=6&optimizer=adam&learning_rate=0.05&l2=0"
    ).page
    page.click("#clear")
    visitor.use_tool("0")
    visitor.stroke((-0.8, 0.6), (-0.2, 0.6))
    visitor.use_tool("1")
    visitor.stroke((0.2, 0.6), (0.8, 0.6))
    page.keyboard.press("3")
    visitor.stroke((-0.5, -0.7), (0.5, -0.7))
    visitor.wait("() => document.querySelectorAll('#classes-legend .dot').length === 3")
    assert "dataset=painted" in visitor.fragment
    points = re.search(r"points=([^&]*)", visitor.fragment)[1].split(";")
    assert len(points) >= 12
    wait_for_training_points(visitor, len(points))  # a run may begin before the last stroke has ended
    assert {point.split(",")[2] for point in points} == {"0", "1", "2"}

    page.evaluate("document.activeElement.blur()")
    page.locator("#speed").fill("13")
    page.click("#play")
    visitor.wait_for_step(1500)
    page.click("#play")
    assert visitor.percent("#score-train") == 100
    image = visitor.pixels().astype(int)
    colours = [image[int((1 - y) * 128), int((x + 1) * 128)] for x, y in [(-0.5, 0.6), (0.5, 0.6), (0, -0.7)]]
    assert colours[0].argmax() == 2  # blue
    assert colours[1].argmax() == 0  # orange
    assert colours[2].argmax() == 1  # green

    visitor.use_tool("erase")
    visitor.change(lambda: visitor.stroke((-0.6, -0.7), (0.6, -0.7)))
    kept = re.search(r"points=([^&]*)", visitor.fragment)[1].split(";")
    assert len(kept) < len(points)
    wait_for_training_points(visitor, len(kept))
    visitor.change(lambda: page.click("#clear"))
    assert page.inner_text("#train-count") == "0 training"


def test_painting_on_another_data_set_keeps_the_points_of_that_set(visitor, server):
    page = visitor.visit(server, "n_samples=50").page
    visitor.use_tool("2")
    visitor.change(lambda: page.mouse.click(*visitor.spot(0.9, 0.9)))
    visitor.wait("() => document.querySelectorAll('#classes-legend .dot').length === 3")
    counts = [int(page.inner_text(f"#{part}-count").split()[0]) for part in ("train", "test")]
    assert sum(counts) == 51
    assert page.locator("input[name=dataset][value=painted]").is_checked()


@pytest.mark.parametrize("back", ["key", "button"])
def test_painting_and_clearing_are_taken_back(visitor, server, back):
    def undo():
        page.keyboard.press("Control+z") if back == "key" else page.click("#undo-plane")

    def points():
        return re.search(r"points=([^&]*)", visitor.fragment)[1]

    page = visitor.visit(server, "n_samples=50").page
    assert page.locator("#undo-plane").is_hidden()
    visitor.use_tool("0")
    for place in ((0.9, 0.9), (0.8, 0.9)):
        visitor.change(lambda place=place: visitor.stroke(place, (0.9, 0.5)))
    both = points()
    visitor.change(lambda: visitor.use_tool("erase") or visitor.stroke((-0.5, 0), (0.5, 0)))
    assert len(points()) < len(both)
    page.click("#clear")
    assert page.inner_text("#train-count") == "0 training"
    assert "points" not in visitor.fragment
    visitor.change(undo)
    visitor.change(undo)
    assert points() == both
    title = page.get_attribute("#undo-plane", "title")
    page.keyboard.press("Control+Shift+z")  # other programs do again by it
    assert page.get_attribute("#undo-plane", "title") == title
    assert points() == both
    visitor.change(undo)
    first = points()
    assert both.startswith(first + ";")
    visitor.change(undo)
    assert "points" not in visitor.fragment
    assert "dataset=moons" in visitor.fragment
    assert page.locator("#undo-plane").is_hidden()
    page.keyboard.press("s")
    visitor.wait_for_step(1)


def test_an_empty_plane_shows_no_numbers_of_the_data_that_went(visitor, server):
    def inked(selector):
        return page.locator(selector).evaluate_all(
            """canvases => canvases.filter((canvas) => canvas.width && canvas.getContext("2d")
                .getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte)).length"""
        )

    points = ";".join(f"{x},{200 * (-1) ** x},{x % 2}" for x in range(-900, 900, 90))
    page = visitor.visit(server, f"dataset=painted&points={points}").page
    for _ in range(3):
        page.click("#epoch")
    visitor.wait_for_step(3)
    assert inked("#boundary, .unit canvas, .links") == 1 + 5 + 1
    curves = visitor.pixels(".curves canvas")
    page.click("#clear")
    assert inked("#boundary, .unit canvas, .links") == 0
    assert (visitor.pixels(".curves canvas") != curves).any()
    assert page.locator(".curves .value").all_inner_texts() == [""] * 4
    for name in ("score-train", "score-test", "loss-train", "loss-test", "pace"):
        assert page.inner_text(f"#{name}") == "\N{EN DASH}"
    assert [page.inner_text(f"#{name}-count") for name in ("epoch", "step")] == ["0", "0"]
    assert page.locator(".score").all_inner_texts() == ["", ""]
    assert page.locator(".steps").count() == 0
    assert page.input_value("#parameter") == ""


def test_points_can_be_painted_with_the_keyboard(visitor, server):
    page = visitor.visit(server, "dataset=painted&points=").page
    page.keyboard.press("2")
    page.focus("#points")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    visitor.change(lambda: page.keyboard.press("Enter"))
    x, y, label = (int(part) for part in re.search(r"points=([^&]*)", visitor.fragment)[1].split(","))
    assert x > 0
    assert y > 0
    assert label == 1


def test_playing_an_ended_training_shows_its_end_again(visitor, server):
    page = visitor.visit(server, "passes=5&speed=13").page
    for _ in range(2):
        page.keyboard.press("Space")
        expect(page.locator("#notices")).to_contain_text("the run of 5 epochs is done")
        expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
        page.locator("#notices .close").click()


def test_buttons_change_layers_units_and_activations(visitor, server):
    page = visitor.visit(server).page

    assert visitor.widths == [2, 3, 2]
    visitor.change(lambda: page.click("#more-layers"))
    assert visitor.widths == [2, 3, 3, 2]
    visitor.change(lambda: page.get_by_label("Add a unit to hidden layer 2").click())
    assert visitor.widths == [2, 3, 4, 2]
    assert (
        page.evaluate("document.activeElement.getAttribute('aria-label')") == "Add a unit to hidden layer 2"
    )
    visitor.change(lambda: page.get_by_label("Remove a unit from hidden layer 1").click())
    assert visitor.widths == [2, 2, 4, 2]
    visitor.change(lambda: page.get_by_label("Activation of hidden layer 1").select_option("relu"))
    assert "layers=2,4" in visitor.fragment
    assert "activations=relu,tanh" in visitor.fragment
    assert page.locator(".unit").count() == 2 + 2 + 4 + 2
    for _ in range(2):
        visitor.change(lambda: page.click("#fewer-layers"))
    assert visitor.widths == [2, 2]
    assert page.is_disabled("#fewer-layers")
    visitor.change(lambda: page.click("#more-layers"))
    assert visitor.widths == [2, 3, 2]


def test_inputs_are_chosen_on_the_page_and_stand_in_the_address(visitor, server):
    page = visitor.visit(server, "dataset=circles&features=x1,x2_squared").page
    assert visitor.widths == [2, 3, 2]
    names = page.locator(".layer").first.locator(".name")
    assert names.all_inner_texts() == ["x₁", "x₂²"]
    group = page.get_by_role("group", name="Inputs").first
    visitor.change(lambda: group.get_by_label("x₁²").check())
    assert "features=x1,x1_squared,x2_squared" in visitor.fragment
    assert names.all_inner_texts() == ["x₁", "x₁²", "x₂²"]
    for name in ("x₁", "x₂²"):
        visitor.change(lambda name=name: group.get_by_label(name, exact=True).uncheck())
    assert visitor.widths == [1, 3, 2]
    group.get_by_label("x₁²").click()  # the last input stays
    assert group.get_by_label("x₁²").is_checked()
    # The square of the first coordinate: pale in the middle, dark on the left and right.
    picture = visitor.pixels(".unit canvas").astype(int)
    assert picture[16, 16].sum() > picture[16, 0].sum() + 100
    assert (picture[0] == picture[31]).all()
    page.keyboard.press("s")
    visitor.wait_for_step(1)


def test_a_change_of_the_data_set_keeps_playing(visitor, server):
    page = visitor.visit(server, "speed=13").page
    page.keyboard.press("Space")
    visitor.wait_for_step(10)
    visitor.change(lambda: page.locator("input[name=dataset][value=circles]").check())
    visitor.wait_for_step(10)
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_every_data_set_trains_with_its_best_settings(visitor, server):
    page = visitor.visit(server, "speed=7").page
    names = page.locator("input[name=dataset]").evaluate_all("inputs => inputs.map(({ value }) => value)")
    assert {"moons", "circles", "spiral", "blobs", "xor", "surface", "painted"} <= set(names)
    page.keyboard.press("Space")
    for name in set(names) - {"painted"}:
        if page.locator(f"input[name=dataset][value={name}]").is_checked() is False:
            visitor.change(lambda name=name: page.locator(f"input[name=dataset][value={name}]").check())
        use = page.locator("#best button")
        assert page.inner_text("#best p")
        if use.is_enabled():
            visitor.change(use.click)
        assert use.is_disabled()
        visitor.wait_for_step(20)
        assert page.locator(".notice.problem").count() == 0, name


def test_the_script_the_model_and_pictures_can_be_saved(visitor, server, tmp_path):
    page = visitor.visit(server, "layers=4&n_samples=60").page
    for step in range(1, 4):
        page.keyboard.press("s")
        visitor.wait_for_step(step)
    page.keyboard.press("p")
    page.wait_for_selector("#script-dialog[open]")
    text = page.inner_text("#script-text")
    assert "import fastnn" in text
    compile(text, "script.py", "exec")
    page.keyboard.press("Escape")

    def saved(what):
        page.click("#save")
        with page.expect_download() as download:
            page.click(f"[data-save={what}]")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    model = fastnn.load(saved("model"))
    assert list(model.layers_dim) == [2, 4, 2]
    with Image.open(io.BytesIO(saved("picture").read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 256
    with Image.open(saved("gif")) as film:
        assert film.format == "GIF"
        assert film.n_frames >= 2


def test_the_numbers_of_a_step_add_up(visitor, server):
    page = visitor.visit(server, "layers=2&l2=0").page
    page.keyboard.press("s")
    visitor.wait_for_step(1)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    rows = {row.split("\n")[0]: row for row in page.locator(".steps li").all_inner_texts()}
    assert list(rows) == ["Sum", "Activation", "Loss", "Backward", "Gradient", "Batch", "Step"]

    def numbers(text):
        return [float(part) for part in re.findall(r"-?\d+\.\d+", text.replace("\N{MINUS SIGN}", "-"))]

    w1, x1, w2, x2, bias, total = numbers(rows["Sum"].split("\n")[-1])
    assert w1 * x1 + w2 * x2 + bias == pytest.approx(total, abs=0.05)
    z, a = numbers(rows["Activation"].split("\n")[-1])
    assert z == total
    assert np.tanh(z) == pytest.approx(a, abs=0.02)
    assert re.search(r"= \S+ for 160 samples$", rows["Batch"])
    (g,) = numbers(rows["Batch"].split(" = ")[-1])
    weight, rate, factor, moved = numbers(rows["Step"].split("\n")[-1])
    assert factor == g
    assert weight - rate * g == pytest.approx(moved, abs=2e-4)
    # The probabilities have the numbers of their classes, as in the documentation.
    sample = re.search(r"a sample of class (\d)", page.inner_text("#formula"))[1]
    assert f"ln p{'₀₁'[int(sample)]}" in rows["Loss"]
    before = page.inner_text("#sample-name")
    page.click("#next-sample")
    visitor.wait("before => document.querySelector('#sample-name').textContent !== before", before)
    page.locator(".unit.output").first.click()
    assert "Probability" in page.inner_text("#formula")

    # The weight of a line between two units is shown beside the mouse.
    unit, target = (
        page.locator(f"[data-key='{key}'] canvas").bounding_box() for key in ("unit-0-0", "unit-1-0")
    )
    page.mouse.move(unit["x"] + unit["width"] + 6, unit["y"] + unit["height"] / 2)
    page.wait_for_selector("#tooltip:not([hidden])")
    assert re.fullmatch(
        r"weight \d→\d .?\d+\.\d{4}", re.sub("[₀-₉]", "1", page.inner_text("#tooltip")).replace("  ", " ")
    )
    assert target["x"] > unit["x"]


def test_a_weight_or_a_bias_is_set_by_hand_and_set_back(visitor, server):
    page = visitor.visit(server, "layers=2&view=probability").page
    field = page.locator("#parameter")
    undo = page.locator("#undo-number")

    def type_number(text):
        loss = page.inner_text("#loss-train")
        pixels = visitor.pixels()
        field.fill(text)
        page.keyboard.press("Enter")
        visitor.wait("before => document.querySelector('#loss-train').textContent !== before", loss)
        assert (visitor.pixels() != pixels).any()
        return loss

    # A line is clicked: its weight. The pictures and the numbers of the step follow.
    unit = page.locator("[data-key=unit-0-1] canvas").bounding_box()
    page.mouse.click(unit["x"] + unit["width"] + 5, unit["y"] + unit["height"] / 2)
    assert re.fullmatch("Weight w₂[₁₂]", page.inner_text("#parameter-name"))
    loss = type_number("-1.5")
    assert "\N{MINUS SIGN}1.50" in page.locator(".steps li", has_text="Sum").inner_text()
    assert visitor.step == 0
    assert undo.is_visible()
    # A unit is clicked: its bias. Ctrl+Z takes back the last number first.
    page.get_by_label("Unit 2 of hidden layer 1").click()
    page.mouse.move(0, 0)  # the plane shows the picture of the unit under the mouse
    assert page.inner_text("#parameter-name") == "Bias b₂"
    bias = page.input_value("#parameter")
    other = type_number("2.25")
    page.keyboard.press("Control+Shift+z")
    assert undo.get_attribute("title").startswith("Undo: b₂")
    page.keyboard.press("Control+Z")  # with Caps Lock
    expect(page.locator("#loss-train")).to_have_text(other)
    page.evaluate("document.activeElement.blur()")
    visitor.wait("text => document.querySelector('#parameter').value === text", bias)
    undo.click()
    expect(page.locator("#loss-train")).to_have_text(loss)
    assert undo.is_hidden()
    # A number that is set while the training runs is trained further; a new run knows nothing of it.
    page.keyboard.press("Space")
    visitor.wait_for_step(5)
    field.fill("100")
    page.keyboard.press("Enter")
    expect(undo).to_be_visible()
    assert page.get_attribute("#play", "aria-label") == "Pause"
    visitor.change(lambda: page.click("#reset"))
    expect(undo).to_be_hidden()
    visitor.change(lambda: page.evaluate("location.hash = 'optimizer=lbfgs'"))
    assert field.is_disabled()


def test_a_number_that_is_refused_leaves_nothing_to_take_back(visitor, server):
    page = visitor.visit(server, "layers=2&passes=5&speed=13").page
    field, undo = page.locator("#parameter"), page.locator("#undo-number")
    page.get_by_label("Unit 2 of hidden layer 1").click()
    field.fill("2e6")
    page.keyboard.press("Enter")
    expect(page.locator("#problems")).to_contain_text("from -1,000,000 to 1,000,000, got 2000000")
    assert undo.is_hidden()
    field.fill("0.5")
    page.keyboard.press("Enter")
    assert undo.is_visible()
    page.click("#play")
    expect(field).to_be_disabled()
    assert field.get_attribute("title") == "The training has ended."
    assert undo.is_hidden()
    page.get_by_label("Unit 1 of hidden layer 1").click()
    assert field.is_disabled()
    visitor.change(lambda: page.click("#reset"))
    assert field.is_enabled()
    assert field.get_attribute("title") == "Type another number."


def test_a_chosen_line_is_drawn_over_the_bundles_of_a_large_network(visitor, server):
    page = visitor.visit(server).page
    strokes = page.evaluate(
        """async () => {
            const { Links, CHOSEN } = await import("/static/links.js");
            const links = new Links(document.createElement("canvas"), { positive: "red", negative: "blue" });
            const units = [0, 100].map((left) =>
                Array.from({ length: 60 }, (_, k) => ({ left, right: left + 9, middle: 9 * k })));
            links.measure(units, 200, 600);
            const strokes = [];
            links.stroke = (_, lines) => strokes.push(lines.length);
            const weights = Float32Array.from({ length: 3600 }, (_, k) => Math.sin(k));
            links.draw(() => weights, (layer, from, to) => (from + to === 0 ? CHOSEN : 0));
            return strokes;
        }"""
    )
    assert len(strokes) > 2
    assert min(strokes[:-1]) > 1 == strokes[-1]


@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - {"sgd", "lbfgs"}))
def test_the_step_of_every_optimizer_can_be_done_by_hand(visitor, server, optimizer):
    """The numbers of the last row give its result: they are read as a formula of Python."""
    page = visitor.visit(server, f"layers=2&optimizer={optimizer}").page
    for step in (1, 2):
        page.keyboard.press("s")
        visitor.wait_for_step(step)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    visitor.wait("() => document.querySelector('.steps li:last-child strong')?.textContent")
    text = page.locator(".steps li").last.inner_text().split("\n")[-1].removeprefix("= ")
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    text = re.sub(
        r"(?:([\d.]+)·)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: f"{m[1] or 1}e{m[2].translate(superscripts)}", text
    )
    for sign, python in (("\N{MINUS SIGN}", "-"), ("·", "*"), ("√(", "root("), (" with t = 3", "")):
        text = text.replace(sign, python)
    text = re.sub(r"√([\d.e-]+)", r"root(\1)", text)
    formula, result = text.split(" = ")
    assert eval(formula, {"root": np.sqrt}) == pytest.approx(float(result), abs=2e-4)
    # Weight decay is part of the gradient unless the optimizer takes it from the weights itself.
    visitor.change(lambda: page.evaluate("location.hash += '&l2=0&weight_decay=0.5'"))
    coupled = OPTIMIZERS[optimizer](weight_decay=0.5).l2 > 0
    assert ("λ" in page.locator(".steps li", has_text="Batch").inner_text()) == coupled


def test_the_step_of_an_optimizer_without_a_formula_shows_its_result(visitors, server):
    def without_momentum(route):
        response = route.fetch()
        assert "  momentum: (" in response.text()
        route.fulfill(response=response, body=response.text().replace("  momentum: (", "  other: ("))

    visitor = visitors()
    visitor.page.route("**/formula.js", without_momentum)
    page = visitor.visit(server, "layers=2&optimizer=momentum").page
    page.keyboard.press("s")
    visitor.wait_for_step(1)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    visitor.wait("() => document.querySelector('.steps li:last-child strong')?.textContent")
    symbols, numbers = page.locator(".steps li").last.inner_text().split("\n")[-2:]
    assert symbols.endswith(" momentum(w₁₂, g)")
    assert re.fullmatch(r"= .?\d+\.\d+", numbers)


def test_a_setting_without_an_effect_says_why(visitor, server):
    page = visitor.visit(server, "layers=2").page
    rate, slide = page.locator("#field-learning_rate"), page.locator("[data-field=learning_rate] .slide")
    reason = page.locator("#field-learning_rate-reason")
    rows = page.locator(".steps li")
    page.keyboard.press("s")
    visitor.wait_for_step(1)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    expect(rows.last).to_contain_text("η")
    expect(rate).to_be_enabled()
    expect(reason).to_be_hidden()
    visitor.change(lambda: page.select_option("#field-optimizer", "lbfgs"))
    expect(rate).to_be_disabled()
    expect(slide).to_be_disabled()
    expect(reason).to_have_text("L-BFGS has no learning rate: a line search finds the length of each step.")
    assert rate.get_attribute("aria-describedby").split()[0] == "field-learning_rate-reason"
    expect(page.locator("[data-field=maxcor]")).to_have_js_property("hidden", False)  # an option of L-BFGS
    expect(rows.last).to_contain_text("\N{GREEK SMALL LETTER ALPHA}")
    expect(rows.last).not_to_contain_text("η")
    visitor.change(lambda: page.select_option("#field-optimizer", "adam"))
    expect(rate).to_be_enabled()
    expect(slide).to_be_enabled()
    expect(reason).to_be_hidden()
    expect(page.locator("[data-field=maxcor]")).to_have_js_property("hidden", True)
    visitor.change(lambda: page.fill("#field-learning_rate", "0.05") or page.keyboard.press("Enter"))
    assert "learning_rate=0.05" in visitor.fragment


def test_a_bad_value_is_marked_and_the_training_is_kept(visitor, server):
    page = visitor.visit(server).page
    page.keyboard.press("s")
    visitor.wait_for_step(1)
    page.fill("#field-noise", "7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    assert "Noise must be a number from 0 to 1, got 7" in page.inner_text("#field-noise-problem")
    # A second one is marked beside the first, and both are marked until they are corrected.
    page.fill("#field-n_samples", "3")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-n_samples[aria-invalid=true]")
    assert page.locator("[aria-invalid=true]").count() == 2
    assert "Points must be an integer" in page.inner_text("#field-n_samples-problem")
    assert re.search(r"Points must .*; Noise must ", page.inner_text("#problems"))
    page.fill("#field-n_samples", "50")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-n_samples:not([aria-invalid])")
    assert page.get_attribute("#field-noise", "aria-invalid") == "true"
    assert visitor.step == 1
    visitor.change(lambda: page.fill("#field-noise", "0.1") or page.keyboard.press("Enter"))
    assert page.get_attribute("#field-noise", "aria-invalid") is None


def test_a_bad_value_does_not_pause_the_training(visitor, server):
    page = visitor.visit(server, "speed=5").page
    page.keyboard.press("Space")
    visitor.wait_for_step(10)
    page.fill("#field-noise", "7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    visitor.wait_for_step(visitor.step + 20)
    assert visitor.run == 1
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_a_table_shows_its_classes_and_can_be_painted_on(visitor):
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 3, 120)
    X = np.column_stack([30 + 15 * numbers, 4e4 - 9e3 * (numbers == 1)]) + generator.normal(size=(120, 2))
    labels = np.array(["never", "sometimes", "always"])[numbers]
    with fastnn.playground(X, labels, browser=False, block=False) as running:
        page = visitor.visit(running).page
        assert page.locator("input[name=dataset][value=table]").is_checked()
        assert sorted(page.inner_text("#classes-legend").split()) == ["always", "never", "sometimes"]
        # A painted point is added to the points of the table.
        visitor.use_tool("0")
        visitor.change(lambda: page.mouse.click(*visitor.spot(-0.9, 0.9)))
        counts = [int(page.inner_text(f"#{part}-count").split()[0]) for part in ("train", "test")]
        assert sum(counts) == 121
        page.goto("about:blank")


def test_shapes_tell_classes_apart_and_the_choice_is_kept(visitors, server):
    visitor = visitors()
    page = visitor.visit(server, "dataset=blobs&classes=4").page
    shapes = """() => [...document.querySelectorAll("#classes-legend .dot, .unit .swatch")]
        .map((dot) => getComputedStyle(dot).clipPath)"""
    discs = visitor.pixels("#points")
    assert set(page.evaluate(shapes)) == {"none"}
    page.click("#shapes")
    assert (visitor.pixels("#points") != discs).any()
    legend, outputs = np.reshape(page.evaluate(shapes), (2, 4))
    assert len(set(legend)) == 4
    assert sorted(legend) == sorted(outputs)
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda text: sent.append(text)))
    page.reload()
    visitor.wait_for_frame()
    assert page.locator("#shapes").is_checked()
    page.click("#shapes")
    views = [text for text in sent if '"view"' in text]  # what saved pictures will show
    assert ['"shapes":true' in text for text in views][:1] == [True]
    assert '"shapes":false' in views[-1]
    np.testing.assert_array_equal(visitor.pixels("#points"), discs)
    visitor.change(lambda: page.locator("input[name=dataset][value=surface]").check())
    assert not page.locator("#shapes").is_visible()  # a regression has no classes


def test_lines_and_pictures_of_a_large_network_are_not_drawn_with_every_frame(visitor, server):
    page = visitor.visit(server, "layers=64,64&speed=13").page
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('#boundary').dataset.step > 3")
    counts = page.evaluate(
        """() => new Promise((resolve) => {
            const counts = { frames: 0, lines: 0, pictures: 0 };
            const { clearRect, putImageData } = CanvasRenderingContext2D.prototype;
            const unit = document.querySelector("[data-key=unit-1-0] canvas");
            const links = document.querySelector("canvas.links");
            CanvasRenderingContext2D.prototype.clearRect = function (...place) {
              counts.lines += this.canvas === links;
              clearRect.apply(this, place);
            };
            CanvasRenderingContext2D.prototype.putImageData = function (...image) {
              counts.pictures += this.canvas === unit;
              putImageData.apply(this, image);
            };
            new MutationObserver(() => {
              counts.frames += 1;
              if (counts.lines === 2) resolve(counts);
            }).observe(document.querySelector("#boundary"), { attributeFilter: ["data-drawn"] });
        })"""
    )
    assert counts["frames"] > 6
    assert 2 <= counts["pictures"] <= counts["frames"] / 3 + 1


def test_classes_signs_and_curves_have_colours_of_their_own(visitor, server):
    page = visitor.visit(server, "optimizer=adam&learning_rate=0.02").page
    page.keyboard.press("Space")
    visitor.wait_for_step(100)
    page.keyboard.press("Space")
    ends = visitor.pixels(".unit canvas")[5, [0, -1]].astype(int)  # the input x1, from -1 to 1
    assert ends[0].argmin() == 1  # pink: negative
    assert ends[1].argmax() == 1  # green: positive
    colours = page.evaluate(
        """() => [".positive", ".negative", ".train", ".test"].map((name) => {
            const style = getComputedStyle(document.querySelector(".line" + name));
            return style.backgroundImage === "none" ? style.backgroundColor : style.backgroundImage;
        }).concat([...document.querySelectorAll("#classes-legend .dot")]
            .map((dot) => getComputedStyle(dot).backgroundColor))"""
    )
    assert len(set(colours)) == 6, colours
    assert "repeating-linear-gradient" in colours[3]  # dashed, as the curve
    dashes = page.evaluate(
        """async () => {
            const own = CanvasRenderingContext2D.prototype.stroke, seen = new Set();
            CanvasRenderingContext2D.prototype.stroke = function (...all) {
                seen.add(`${this.getLineDash()}`);
                return own.apply(this, all);
            };
            document.querySelector("#curves canvas").dispatchEvent(new PointerEvent("pointermove"));
            CanvasRenderingContext2D.prototype.stroke = own;
            return [...seen].sort();
        }"""
    )
    assert dashes == ["", "5,3"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_themes(visitor, server, scheme):
    page = visitor.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    visitor.visit(server, "dataset=spiral&arms=5&layers=8,8,8&view=probability")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(part) for part in re.findall(r"\d+", background)[:3]])
    assert (brightness < 60) if scheme == "dark" else (brightness > 200)
    pixels = visitor.pixels()
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    assert (visitor.pixels() != pixels).any()  # the picture changes its colours without a new frame


def test_elements_are_labelled_focus_is_visible_and_shortcuts_can_be_switched_off(visitor, server):
    page = visitor.visit(server, "layers=3,3").page
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas[role], dialog, [role]")]
            .filter((element) => !["alert", "status", "group", "tooltip"].includes(element.role))
            .filter((element) => !element.closest("[aria-hidden=true]") && element.ariaHidden !== "true")
            .filter((element) => !(element.ariaLabel || element.textContent.trim()
                || element.labels?.length || element.getAttribute("aria-labelledby")))
            .map((element) => element.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
    assert page.locator("html").get_attribute("lang") == "en"
    # Every element that the tab key reaches is visibly focused.
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
                const { activeElement: at } = document, next = at.nextElementSibling;
                return [at, next].filter(Boolean).map((element) => getComputedStyle(element).outlineStyle);
            }"""
        )
        assert "solid" in outline, page.evaluate("document.activeElement.outerHTML")[:200]
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("#help-dialog[open]")
    assert page.locator("#keys tr").count() >= 12
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    page.wait_for_timeout(200)
    assert visitor.step == 0
    page.keyboard.press("?")
    assert page.locator("#help-dialog[open]").count() == 0


# Addresses with many or wide elements.
FULL = (
    "",
    "features=x1,x2,x1_squared,x2_squared,x1_x2,sin_x1,sin_x2&layers=8,6,4&dataset=spiral&arms=5",
    "dataset=blobs&classes=5&layers=128,128,128&activations=softplus,softplus,softplus&n_samples=2000",
    "dataset=surface&layers=13,30&optimizer=adam&batch_size=32&n_samples=5000",
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
# Controls other than units' pictures that a finger would miss.
TOO_SMALL = """
() => [...document.querySelectorAll("button, input, select, summary")].filter((element) => {
    if (element.closest("dialog, .unit:not(.output)")) return false;
    const parts = [element, ...(element.labels ?? [])];
    const height = Math.max(...parts.map((part) => part.getBoundingClientRect().height));
    return height > 0 && height < 32;
}).map((element) => element.outerHTML.slice(0, 120))
"""


@pytest.mark.parametrize(
    "size", [(1440, 900), (1024, 768), (390, 844)], ids=lambda size: f"{size[0]}x{size[1]}"
)
def test_nothing_is_cut_off_and_fingers_find_controls_on_a_phone(visitor, server, size):
    page = visitor.page
    page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    visitor.visit(server)
    page.locator("details.more summary").click()
    for fragment in FULL:
        if fragment:
            visitor.change(
                lambda fragment=fragment: page.evaluate("text => { location.hash = text; }", fragment)
            )
        page.click("#step")
        visitor.wait_for_step(1)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("html")).to_have_attribute("data-theme", scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == size[0]
            # The network is not higher than the page; on a phone, it scrolls.
            assert page.locator("#network").bounding_box()["height"] < 450
            cut = page.evaluate(CUT_OFF)
            assert cut == [], fragment
            if size[0] < 400:
                small = page.evaluate(TOO_SMALL)
                assert small == [], fragment
    page.click("#clear")
    assert page.locator("#undo-plane").is_visible()
    assert page.evaluate(CUT_OFF) == []
