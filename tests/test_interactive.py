"""Interactive figures: what they show is what the library computes; pointer and keyboard move them; without the script a picture stays."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jpo_lib as jpo
from jpo_lib import interactive
from jpo_lib.interactive.paths import follow
from jpo_lib.problems.billiards import simulate_shot

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
PAGES = {"aim-cue-ball": "04_billiards"}


def page_of(figure, *, script=True):
    """A page with nothing but the figure, in the style of the book."""
    scripts = "".join(f"<script>{(ASSETS / name).read_text()}</script>" for name in ("interactive.js", f"{figure.name}.js")) if script else ""
    body = f'<article class="bd-article">{figure._repr_mimebundle_()["text/html"]}</article>{scripts}'
    return f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><style>{(ASSETS / "book.css").read_text()}</style></head><body>{body}</body></html>'


@pytest.fixture
def open_figure(browser):
    """A function that opens a figure in the browser; nothing may complain, and nothing may be asked for."""
    pages, complaints = [], []

    def open_one(figure, *, script=True, width=1000, reduced_motion="reduce"):
        page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion=reduced_motion, java_script_enabled=script)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith("data:") else None)
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
        assert float(mantissa) * 10.0 ** int((exponent or "0").translate(power)) == pytest.approx(exact, rel=0.06 if exponent else 6e-3, abs=1e-12)
    return exact


def move_slider(page, label, value):
    page.get_by_label(label, exact=True).evaluate("(node, value) => { node.value = value; node.dispatchEvent(new Event('input', {bubbles: true})); }", value)


# --- aim the cue ball -----------------------------------------------------------------------------


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
            assert way["loss"] == pytest.approx(float(result.loss[i]), rel=1e-3) and way["solved"] == bool(result.solved[i])
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
    """Rest position, loss and gradient: within 1e-6 of the library in float64, for shots that hit and shots that miss."""
    page = open_figure(aim)
    settings, y = billiards.settings, np.array(aim.data["problems"][2]["y"])
    with jax.enable_x64(True):
        @jax.jit
        def measure(x):
            def loss(x):
                run = simulate_shot(np.array(settings["positions"]), jax.numpy.zeros((2, 2)).at[0].set(x), max_events=settings["max_events"])
                return 0.5 * jax.numpy.sum((run.positions[1] - y) ** 2), run.positions[1]

            return jax.value_and_grad(loss, has_aux=True)(x)

        hits = 0
        for speed, angle in [(3.0, 0.0), (4.26, 0.1), (5.5, -0.244), (6.5, 0.02), (2.62, -0.19), (5.0, 0.3), (2.5, 0.0)]:
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
        return tuple(float(page.get_by_label(name, exact=True).input_value()) for name in ("Speed", "Angle (radians)"))

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
    page.wait_for_function(f"document.querySelector('.ball.cue').getAttribute('cx') === '{at_rest}'")  # they stop by themselves
    still = open_figure(aim)
    still.get_by_role("button", name="Shoot").click()
    assert still.get_by_role("button", name="Stop").count() == 0


# --- all figures ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(PAGES))
def figure(request):
    return request.getfixturevalue({"aim-cue-ball": "aim"}[request.param])


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
    small = page.evaluate("""() => [...document.querySelectorAll('.stage button, .stage select, .stage input, .stage [tabindex="0"]')].map(e => {
      const box = e.getBoundingClientRect();
      const name = e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels[0] && e.labels[0].textContent.trim());
      return [name, box.width, box.height, box.right];
    }).filter(([name, width, height, right]) => !name || width < 40 || height < 40 || right > 390)""")
    assert not small
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("[role=status]").count() >= 1
    assert page.evaluate("[...document.querySelectorAll('.stage svg[role=img], .stage svg[role=group]')].every(e => e.getAttribute('aria-label').length > 20)")


@pytest.mark.parametrize("change, words", [
    (lambda: interactive.aim_cue_ball(jpo.billiards(layout="blocked")), "expected billiards on the open table"),
    (lambda: interactive.aim_cue_ball(jpo.billiards(), num_problems=4, first=4), "expected a problem from 0 to 3, got 4"),
    (lambda: interactive.InteractiveFigure("x", {"a": "b" * 200_000}, draw=None, figsize=(1, 1), alt="", caption=""), "expected at most 150000 bytes"),
])
def test_bad_input_is_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        change()
    assert words in str(caught.value) and "\n" not in str(caught.value)
