"""Interactive figures: what they show is what the library computes; pointer and keyboard move them;
without the script a picture stays."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jpo_lib as jpo
from jpo_book import figures, interactive
from jpo_book.interactive.packet import trained_network
from jpo_book.interactive.paths import follow
from jpo_book.studies.run_alignment import cosine
from jpo_lib.problems.billiards import simulate_shot
from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of, trajectory

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
PAGES = {
    "aim-cue-ball": "04_billiards",
    "move-packet": "03_wave_packet",
    "turn-up-chaos": "05_kuramoto_sivashinsky",
    "play-training": "01_method",
}


def page_of(figure, *, script=True):
    """A page with nothing but the figure, in the style of the book."""
    scripts = (
        "".join(
            f"<script>{(ASSETS / name).read_text()}</script>"
            for name in ("interactive.js", f"{figure.name}.js")
        )
        if script
        else ""
    )
    body = f'<article class="bd-article">{figure._repr_mimebundle_()["text/html"]}</article>{scripts}'
    style = (ASSETS / "book.css").read_text()
    head = f'<meta charset="utf-8"><style>{style}</style>'
    return f'<!doctype html><html lang="en" data-theme="light"><head>{head}</head><body>{body}</body></html>'


@pytest.fixture
def open_figure(browser):
    """A function that opens a figure in the browser; nothing may complain, and nothing may be asked for."""
    pages, complaints = [], []

    def open_one(figure, *, script=True, width=1000, reduced_motion="reduce"):
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            reduced_motion=reduced_motion,
            java_script_enabled=script,
        )
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: complaints.append(request.url) if not request.url.startswith("data:") else None,
        )
        page.set_content(page_of(figure, script=script))
        if script:
            page.wait_for_function("document.querySelector('figure.interactive.live svg[width]')")
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert not complaints


def number(page, name):
    """A number that the figure shows: the exact one, which must agree with the rounded text."""
    cell = page.locator(f".number-{name}")
    exact, shown = float(cell.get_attribute("value")), cell.inner_text().replace("−", "-")
    power = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    if re.fullmatch(r"-?[\d.]+( · 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?", shown):
        mantissa, _, exponent = shown.partition(" · 10")
        assert float(mantissa) * 10.0 ** int((exponent or "0").translate(power)) == pytest.approx(
            exact, rel=0.06 if exponent else 6e-3, abs=1e-12
        )
    return exact


def move_slider(page, label, value):
    page.get_by_label(label, exact=True).evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input', {bubbles: true})); }",
        value,
    )


# --- aim the cue ball ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def billiards():
    return jpo.billiards()


@pytest.fixture(scope="module")
def aim(billiards):
    return interactive.aim_cue_ball(billiards, num_problems=16, num_steps=5, first=2, seed=901)


def test_the_ways_are_those_of_the_solvers(billiards, aim):
    data = billiards.sample_dataset(16, seed=901)
    for name, method in (("bfgs", jpo.BFGS()), ("gd", jpo.GradientDescent())):
        result = jpo.solve(billiards, data, method)
        for i, shown in enumerate(aim.data["problems"]):
            way = shown["methods"][name]
            speed, angle = way["end"]
            np.testing.assert_allclose([speed * np.cos(angle), speed * np.sin(angle)], result.x[i], atol=2e-5)
            assert way["loss"] == pytest.approx(float(result.loss[i]), rel=1e-3) and way["solved"] == bool(
                result.solved[i]
            )
            assert way["evaluations"] == result.num_evaluations[i]
            np.testing.assert_allclose(way["path"][0], shown["start"], atol=1e-3)
            np.testing.assert_allclose(way["path"][-1], way["end"], atol=1e-3)
            assert 1 <= len(way["path"]) <= 64


def test_following_gradient_descent_goes_down_in_small_steps(billiards):
    data = billiards.sample_dataset(16, seed=901)
    descent = follow(billiards, data, jpo.GradientDescent(learning_rate=1e-3, max_evaluations=30))
    moving = descent.num_evaluations > 1
    assert moving.any() and not moving.all()
    assert (np.diff(descent.losses[:, moving], axis=0) <= 1e-6).all()


def test_a_shot_in_the_browser_is_the_shot_of_the_library(aim, open_figure, billiards):
    """Rest position, loss and gradient:
    within 1e-6 of the library in float64, for shots that hit and shots that miss."""
    page = open_figure(aim)
    settings, y = billiards.settings, np.array(aim.data["problems"][2]["y"])
    with jax.enable_x64(True):

        @jax.jit
        def measure(x):
            def loss(x):
                run = simulate_shot(
                    np.array(settings["positions"]),
                    jax.numpy.zeros((2, 2)).at[0].set(x),
                    max_events=settings["max_events"],
                )
                return 0.5 * jax.numpy.sum((run.positions[1] - y) ** 2), run.positions[1]

            return jax.value_and_grad(loss, has_aux=True)(x)

        hits = 0
        for speed, angle in [
            (3.0, 0.0),
            (4.26, 0.1),
            (5.5, -0.244),
            (6.5, 0.02),
            (2.62, -0.19),
            (5.0, 0.3),
            (2.5, 0.0),
        ]:
            move_slider(page, "Speed", speed)
            move_slider(page, "Angle (radians)", angle)
            (loss, place), gradient = measure(speed * np.array([np.cos(angle), np.sin(angle)]))
            np.testing.assert_allclose([number(page, "x"), number(page, "y")], place, atol=1e-6)
            assert number(page, "loss") == pytest.approx(float(loss), rel=1e-6)
            assert number(page, "slope") == pytest.approx(float(np.linalg.norm(gradient)), rel=1e-4, abs=0)
            hits += bool(np.any(gradient))
        assert 3 <= hits < 7


def test_the_cue_ball_is_aimed_with_pointer_and_keyboard(aim, open_figure):
    page = open_figure(aim)
    table, on_map = page.locator("svg .handle").all()

    def state():
        return tuple(
            float(page.get_by_label(name, exact=True).input_value()) for name in ("Speed", "Angle (radians)")
        )

    assert state() == pytest.approx(aim.data["problems"][2]["start"], abs=0.006)
    for handle in (table, on_map):
        before = state()
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowUp")
        assert state() == pytest.approx((before[0] + 0.02, before[1] + 0.04), abs=0.011)
        page.keyboard.press("Home")
        assert state() == pytest.approx(aim.data["problems"][2]["start"], abs=0.006)
        box = handle.bounding_box()
        assert min(box["width"], box["height"]) >= 40
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 12, y - 18, steps=4)
        page.mouse.up()
        assert state()[1] > before[1] + 0.01
        page.mouse.move(x, y)  # the button is up: nothing follows
        after = state()
        page.mouse.move(x + 30, y)
        assert state() == after
        page.get_by_role("button", name="Reset").click()
    page.get_by_label("Wanted place", exact=True).select_option("0")
    assert state() == pytest.approx(aim.data["problems"][0]["start"], abs=0.006)
    assert page.get_by_role("button", name="BFGS: loss").get_attribute("aria-pressed") == "true"
    lines = page.locator(".line.on-map.bfgs").count()
    page.get_by_role("button", name="BFGS: loss").click()
    assert page.locator(".line.on-map.bfgs").count() == lines - 1


def test_balls_roll_only_when_asked_and_jump_under_reduced_motion(aim, open_figure):
    page = open_figure(aim, reduced_motion="no-preference")
    ball = page.locator(".ball.cue")
    at_rest = ball.get_attribute("cx")
    page.get_by_role("button", name="Shoot").click()
    page.wait_for_function(f"document.querySelector('.ball.cue').getAttribute('cx') !== '{at_rest}'")
    assert page.get_by_role("button", name="Stop").count() == 1
    page.wait_for_function(
        f"document.querySelector('.ball.cue').getAttribute('cx') === '{at_rest}'"
    )  # they stop by themselves
    still = open_figure(aim)
    still.get_by_role("button", name="Shoot").click()
    assert still.get_by_role("button", name="Stop").count() == 0


# --- move the packet ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wave():
    return jpo.wave_packet()


@pytest.fixture(scope="module")
def packet(wave):
    return interactive.move_packet(wave, num_problems=16, num_steps=20, seed=901)


def test_the_packet_opens_with_the_first_problem_that_bfgs_does_not_solve(wave, packet):
    data = wave.sample_dataset(16, seed=901)
    first = int(np.flatnonzero(~jpo.solve(wave, data, jpo.BFGS()).solved)[0])
    shown = packet.data
    assert shown["centre"] == pytest.approx(float(data.x_true[first, 0]), abs=1e-3) and shown[
        "start"
    ] == pytest.approx(float(data.x0[first, 0]), abs=1e-3)
    signal = np.asarray(wave.simulate(data.x_true[first], None)) + shown["noise"] * np.array(
        shown["unit_noise"]
    )
    np.testing.assert_allclose(signal, data.y[first], atol=1e-4)


def test_methods_end_in_the_browser_where_they_end_in_the_library(wave, packet, open_figure):
    """Loss and derivative to 1e-9;
    ends of BFGS and gradient descent in float64 to 1e-6, with as many evaluations; the network to 1e-3."""
    page, shown = open_figure(packet), packet.data
    settings = [
        (20.0, 0.1, 22.0),
        (31.05, 0.4, 16.0),
        (40.0, 0.0, 44.0),
        (47.95, 1.0, 30.5),
        (33.0, 0.2, 32.5),
        (25.0, 0.7, 24.0),
    ]
    joint = jpo.solve(wave, wave.sample_dataset(16, seed=901), jpo.JointOptimization(num_steps=20), seed=901)
    network = trained_network(joint)
    with jax.enable_x64(True):
        truth = jax.numpy.array([[s[0]] for s in settings])
        clean = jax.vmap(lambda x: wave.simulate(x, None))(truth)
        y = clean + np.array([[s[1]] for s in settings]) * np.array(shown["unit_noise"])
        data = wave.dataset(y, np.array([[s[2]] for s in settings]))
        bfgs, descent = jpo.solve(wave, data, jpo.BFGS()), jpo.solve(wave, data, jpo.GradientDescent())
        measure = jax.jit(jax.vmap(jax.value_and_grad(wave.objective), (0, None, 0)))
        loss, slope = measure(data.x0, None, data.y)
        threshold = jax.vmap(wave.threshold)(clean, y)
    answers = np.asarray(jax.vmap(network)(np.asarray(y, np.float32)))
    refined = []
    for k, (centre, noise, begin) in enumerate(settings):
        for label, value in (
            ("Packet centre (radians)", centre),
            ("Noise (dimensionless)", noise),
            ("Search starts at (radians)", begin),
        ):
            move_slider(page, label, value)
        assert number(page, "loss") == pytest.approx(float(loss[k]), rel=1e-9)
        assert number(page, "slope") == pytest.approx(float(slope[k, 0]), rel=1e-9)
        assert number(page, "threshold") == pytest.approx(float(threshold[k]), rel=1e-9)
        assert number(page, "bfgs") == pytest.approx(bfgs.x[k, 0], abs=1e-6)
        assert number(page, "gd") == pytest.approx(descent.x[k, 0], abs=1e-6)
        assert number(page, "joint") == pytest.approx(answers[k, 0], abs=1e-3)
        refined.append(number(page, "refined"))
        assert ("not solved" not in page.locator(".number-bfgs").inner_text()) == bool(
            bfgs.loss[k] < threshold[k]
        )
        page.wait_for_function(
            "document.querySelector('.says').textContent"
            f".includes('after {bfgs.num_evaluations[k]} evaluations')"
        )
    with jax.enable_x64(True):
        again = jpo.solve(wave, data, jpo.BFGS(), x0=answers.astype(float))
    np.testing.assert_allclose(refined, again.x[:, 0], atol=1e-3)
    assert len({bool(v) for v in bfgs.loss < threshold}) == 2  # some are solved and some are not


def test_the_packet_moves_with_pointer_and_keyboard(packet, open_figure):
    page = open_figure(packet)
    slider = None
    for handle, label, key in zip(
        page.locator("svg .handle").all(),
        ("Packet centre (radians)", "Search starts at (radians)"),
        ("centre", "start"),
    ):
        slider = page.get_by_label(label, exact=True)
        handle.focus()
        page.keyboard.press("Shift+ArrowLeft")
        assert float(slider.input_value()) == pytest.approx(packet.data[key] - 1.0, abs=0.03)
        page.keyboard.press("Home")
        assert float(slider.input_value()) == pytest.approx(packet.data[key], abs=0.03)
        box = handle.bounding_box()
        page.mouse.move(box["x"] + 22, box["y"] + 22)
        page.mouse.down()
        page.mouse.move(box["x"] + 72, box["y"] + 22, steps=3)
        page.mouse.up()
        assert float(slider.input_value()) > packet.data[key] + 1.0
    assert slider is not None
    slider.focus()
    before = float(slider.input_value())
    page.keyboard.press("ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(before - 0.05)
    page.get_by_role("button", name="Reset").click()
    assert float(slider.input_value()) == pytest.approx(packet.data["start"], abs=0.03)


# --- turn up chaos ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def motion_problem():
    return jpo.kuramoto_sivashinsky(float64=True)


@pytest.fixture(scope="module")
def chaos(motion_problem):
    return interactive.turn_up_chaos(motion_problem, motion_problem.sample_dataset(1, seed=903), index=0)


def unpacked(figure):
    low, high = figure.data["range"]
    numbers = np.frombuffer(base64.b64decode(figure.data["landscape"]), "<u2").reshape(
        len(figure.data["horizons"]), -1
    )
    return 10 ** (low + (high - low) * numbers / 65535)


def test_the_landscape_of_all_horizons_is_that_of_each_horizon(motion_problem, chaos):
    data = motion_problem.sample_dataset(1, seed=903)
    expected = figures.beta_landscapes(
        [jpo.kuramoto_sivashinsky(horizon=T, float64=True) for T in (10.0, 40.0)], data
    )
    for T in (10.0, 40.0):
        row = chaos.data["horizons"].index(T)
        curve = expected.loss.sel(horizon=T).isel(problem=0)
        np.testing.assert_allclose(unpacked(chaos)[row], np.clip(curve, 1e-6, 10), rtol=2e-4)
        assert chaos.data["valleys"][row] == int(expected.valleys.sel(horizon=T)[0])
    assert chaos.data["horizons"][chaos.data["first"]] == motion_problem.settings["horizon"]
    assert chaos.data["valleys"][-1] > chaos.data["valleys"][0]


def test_a_motion_in_the_browser_is_the_motion_of_the_library(motion_problem, chaos, open_figure):
    """The loss of a chosen beta: to 1e-8 at T = 10, and to 1e-4 at T = 80,
    where chaos has amplified the round-off."""
    page, data = open_figure(chaos), motion_problem.sample_dataset(1, seed=903)
    with jax.enable_x64(True):
        u0, (alpha, beta) = np.asarray(data.context[0]), coefficients_of(np.asarray(data.x_true[0]))
        states = jax.jit(lambda b: trajectory(u0, alpha, b, horizon=80.0))
        truth = np.asarray(states(beta))
        for trial in (0.5, 0.8, 1.5):
            move_slider(page, "Your β", trial)
            motion = np.asarray(states(trial))
            for T, tolerance in ((10.0, 1e-8), (40.0, 1e-6), (80.0, 1e-4)):
                row, step = chaos.data["horizons"].index(T), round(T / 0.25)
                move_slider(page, "Length T of the motion", row)
                expected = np.mean((motion[step] - truth[step]) ** 2) / np.var(truth[step])
                assert number(page, "loss") == pytest.approx(expected, rel=tolerance)
                assert number(page, "horizon") == T and number(page, "valleys") == chaos.data["valleys"][row]


def test_a_descent_leads_to_a_valley_by_pointer_and_keyboard(chaos, open_figure):
    page = open_figure(chaos)
    landscape, betas = unpacked(chaos), np.linspace(0.5, 1.5, 401)
    length, slider, handle = (
        page.get_by_label("Length T of the motion", exact=True),
        page.get_by_label("Your β", exact=True),
        page.locator("svg .handle"),
    )
    length.focus()
    page.keyboard.press("End")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(1.0 - 30 * 0.0025)
    page.get_by_role("button", name="Descend").click()
    k = int(np.argmin(np.abs(betas - number(page, "end"))))
    assert float(slider.input_value()) == pytest.approx(betas[k])
    assert landscape[-1, k] <= landscape[-1, k - 1] and landscape[-1, k] <= landscape[-1, k + 1]
    box = handle.bounding_box()
    page.mouse.move(box["x"] + 22, box["y"] + 22)
    page.mouse.down()
    page.mouse.move(box["x"] + 122, box["y"] + 30, steps=2)
    page.mouse.up()
    assert float(slider.input_value()) > betas[k] + 0.05
    page.get_by_role("button", name="Reset").click()
    assert float(slider.input_value()) == 1.0 and number(page, "horizon") == 20


# --- the training player ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training(wave):
    return interactive.play_training(wave, wave.sample_dataset(16, seed=901), num_steps=30, seed=1)


def test_alignment_is_the_cosine_of_each_problem():
    update = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0], [-1.0, 0.0]])
    error = np.array([[6.0, 8.0], [5.0, 0.0], [1.0, 1.0], [7.0, 0.0]])
    np.testing.assert_allclose(cosine(update, error), [1.0, 0.0, 0.0, -1.0], atol=1e-15)
    np.testing.assert_allclose(cosine(2 * update, 5 * error), cosine(update, error))


def test_the_player_shows_the_training_and_bfgs_of_the_library(wave, training, open_figure):
    page, data = open_figure(training), wave.sample_dataset(16, seed=901)
    joint = jpo.solve(wave, data, jpo.JointOptimization(num_steps=30, num_recorded=30), seed=[1])
    bfgs = jpo.solve(wave, data, jpo.BFGS())
    threshold, truth = np.asarray(data.threshold), np.asarray(data.x_true)
    measure = jax.jit(jax.vmap(jax.value_and_grad(wave.objective), (0, None, 0)))
    assert training.data["steps"] == list(range(1, 31))
    slider = page.get_by_label("Training step", exact=True)
    slider.focus()
    page.keyboard.press("Home")
    for frame in (0, 1, 12, 29):
        while int(slider.input_value()) < frame:
            page.keyboard.press("ArrowRight")
        x = joint.extras["x_recorded"][0, frame]
        loss, gradient = (np.asarray(v) for v in measure(x, None, data.y))
        done = min(frame, bfgs.loss_history.shape[1] - 1)
        best = bfgs.loss_history[:, done]
        assert number(page, "joint") == np.sum(loss < threshold) and number(page, "bfgs") == np.sum(
            best < threshold
        )
        assert number(page, "joint-median") == pytest.approx(np.median(loss / threshold), rel=1e-3)
        assert number(page, "bfgs-median") == pytest.approx(np.median(best / threshold), rel=1e-3)
        step = joint.extras["x_recorded_next"][0, frame] - x
        assert number(page, "aligned") == pytest.approx(np.mean(np.sign(step) * np.sign(truth - x)), abs=1e-4)
        assert number(page, "own") == pytest.approx(
            np.mean(np.sign(-gradient) * np.sign(truth - x)), abs=1e-4
        )
    assert bfgs.solved.any() and not bfgs.solved.all()


def test_the_player_plays_stops_and_steps(training, open_figure):
    page = open_figure(training, reduced_motion="no-preference")
    slider = page.get_by_label("Training step", exact=True)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("Number(document.querySelector('input[type=range]').value) >= 3")
    page.get_by_role("button", name="Pause").click()
    stopped = slider.input_value()
    page.wait_for_timeout(300)
    assert slider.input_value() == stopped
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "document.querySelector('input[type=range]').value === '29'"
        " && document.querySelector('.buttons button').textContent.includes('Play')"
    )
    page.get_by_role("button", name="Reset").click()
    assert slider.input_value() == "0"
    still = open_figure(training)
    still.get_by_role("button", name="Next").click()
    assert still.get_by_label("Training step", exact=True).input_value() == "5"


# --- all figures --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(PAGES))
def figure(request):
    return request.getfixturevalue(
        {
            "aim-cue-ball": "aim",
            "move-packet": "packet",
            "turn-up-chaos": "chaos",
            "play-training": "training",
        }[request.param]
    )


def test_without_the_script_and_on_paper_a_picture_stands_there(figure, open_figure):
    page = open_figure(figure, script=False)
    assert page.locator("img.still").is_visible() and not page.locator(".stage").is_visible()
    assert len(page.locator("img.still").get_attribute("alt")) > 60
    live = open_figure(figure)
    assert live.locator(".stage").is_visible() and not live.locator("img.still").is_visible()
    live.emulate_media(media="print")
    assert not live.locator(".stage").is_visible() and live.locator("img.still").is_visible()


def test_the_picture_for_other_formats_is_a_picture(figure):
    bundle = figure._repr_mimebundle_()
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L"))
    assert picture.shape[1] >= 800 and picture.std() > 20
    assert len(bundle["text/html"]) < 200_000 and len(json.dumps(figure.data)) < 160_000
    assert figure._repr_mimebundle_() == bundle


def test_every_control_has_a_name_a_size_and_a_place_on_a_phone(figure, open_figure):
    page = open_figure(figure, width=390)
    small = page.evaluate("""() => [...document.querySelectorAll(
      '.stage button, .stage select, .stage input, .stage [tabindex="0"]')].map(e => {
      const box = e.getBoundingClientRect();
      const name = e.getAttribute('aria-label') || e.textContent.trim()
        || (e.labels && e.labels[0] && e.labels[0].textContent.trim());
      return [name, box.width, box.height, box.right];
    }).filter(([name, width, height, right]) => !name || width < 40 || height < 40 || right > 390)""")
    assert not small
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("[role=status]").count() >= 1
    assert page.evaluate(
        "[...document.querySelectorAll('.stage svg[role=img], .stage svg[role=group]')]"
        ".every(e => e.getAttribute('aria-label').length > 20)"
    )


@pytest.fixture(scope="module")
def html_folder(request):
    folder = (
        Path(os.environ["JPO_BOOK_HTML"])
        if os.environ.get("JPO_BOOK_HTML")
        else request.getfixturevalue("built_pages")
    )
    return next(place for place in (folder, folder / "_build" / "html") if (place / "index.html").is_file())


@pytest.mark.parametrize("name", PAGES)
def test_the_figure_lives_in_the_book_from_files_alone(name, html_folder, browser):
    """Opened from the disk, without a server:
    nothing else is asked for, nothing complains, and the keyboard moves it."""
    page, complaints = browser.new_page(viewport={"width": 390, "height": 844}), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    fonts = (
        "Access to font",
        "Failed to load resource",
    )  # Chromium loads no fonts from files; the icons of the theme need them
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and not message.text.startswith(fonts)
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            complaints.append(request.url)
            if not request.url.startswith(("file:", "data:", "blob:"))
            else None
        ),
    )
    page.goto((html_folder / "_executed" / f"{PAGES[name]}.html").as_uri(), wait_until="load")
    figure = page.locator(f"figure#{name}.live")
    figure.wait_for()
    assert figure.locator("svg[width]").count() >= 1 and not figure.locator("img.still").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shown = figure.locator(".stage").inner_text()
    slider = figure.locator("input[type=range]").first
    slider.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([name, before]) => document.querySelector(`#${name} .stage`).innerText !== before",
        arg=[name, shown],
    )
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    red, green, blue = map(
        int,
        re.findall(r"\d+", figure.locator(".stage").evaluate("e => getComputedStyle(e).backgroundColor"))[:3],
    )
    assert max(red, green, blue) < 60
    page.close()
    assert not complaints


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda: interactive.aim_cue_ball(jpo.billiards(layout="blocked")),
            "expected billiards on the open table",
        ),
        (
            lambda: interactive.aim_cue_ball(jpo.billiards(), num_problems=4, first=4),
            "expected a problem from 0 to 3, got 4",
        ),
        (lambda: interactive.move_packet(jpo.wave_packet(noise=0.0)), "expected a wave packet with noise"),
        (
            lambda: interactive.turn_up_chaos(jpo.wave_packet(), jpo.wave_packet().sample_dataset(1)),
            "expected Kuramoto–Sivashinsky of order 4",
        ),
        (
            lambda: interactive.play_training(jpo.billiards(), jpo.billiards().sample_dataset(1)),
            "expected one unknown, a box and known truths",
        ),
        (
            lambda: interactive.InteractiveFigure(
                "x", {"a": "b" * 200_000}, draw=print, figsize=(1, 1), alt="", caption=""
            ),
            "expected at most 150000 bytes",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        change()
    assert words in str(caught.value) and "\n" not in str(caught.value)
