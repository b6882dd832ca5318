"""Films: every frame is in the picture, and the player shows the one that the reader asks for."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jpo_book import figures

COLOURS = [(0.9, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.2, 0.9), (0.8, 0.7, 0.1), (0.6, 0.1, 0.7)]


def draw(figure, k):
    figure.set_facecolor(COLOURS[k])


@pytest.fixture(scope="module")
def film():
    return figures.show_film(
        draw,
        len(COLOURS),
        figsize=(3, 2),
        alt="A colour & its successor",
        caption="Five colours.",
        frames_per_second=50,
        still=2,
        dots_per_inch=60,
    )


def test_equal_films_are_equal_and_the_still_is_the_frame_asked_for(film):
    again = figures.show_film(
        draw,
        len(COLOURS),
        figsize=(3, 2),
        alt="A colour & its successor",
        caption="Five colours.",
        frames_per_second=50,
        still=2,
        dots_per_inch=60,
    )
    assert again._repr_mimebundle_() == film._repr_mimebundle_()
    bundle = film._repr_mimebundle_()
    still = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))))
    assert still.shape == (120, 180, 3)
    np.testing.assert_allclose(still / 255, np.broadcast_to(COLOURS[2], still.shape), atol=0.01)
    assert 'aria-label="A colour &amp; its successor"' in bundle["text/html"] and "@" not in bundle[
        "text/html"
    ].split("base64,")[1].split(")", 1)[1].replace("@media", "")


def test_the_player_shows_each_frame_by_keyboard_and_stops_by_itself(film, browser):
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.set_content(film._repr_mimebundle_()["text/html"])
    screen, slider, button = page.locator(".screen"), page.locator("input"), page.locator("button")

    def shown():
        picture = np.asarray(Image.open(io.BytesIO(screen.screenshot())).convert("RGB"), float) / 255
        height, width = picture.shape[:2]
        middle = picture[height // 4 : -height // 4, width // 4 : -width // 4].reshape(-1, 3)
        np.testing.assert_allclose(middle.min(0), middle.max(0), atol=0.05)  # one frame, not parts of several
        return int(np.argmin(np.linalg.norm(np.array(COLOURS) - middle.mean(0), axis=1)))

    assert shown() == 2
    slider.focus()
    page.keyboard.press("Home")
    for k in range(len(COLOURS)):
        assert shown() == k
        page.keyboard.press("ArrowRight")
    button.focus()
    page.keyboard.press("Enter")  # from the last frame it begins anew
    page.wait_for_function(
        "document.querySelector('input').value === '4'"
        " && document.querySelector('button').textContent.includes('Play')"
    )
    assert shown() == 4
    page.close()


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(num_frames=1), "num_frames: expected 2 to 80, got 1"),
        (dict(still=5), "still: expected a frame between 0 and 4, got 5"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        figures.show_film(draw, **{"num_frames": 5, "figsize": (2, 1), "alt": "x", **change})
    assert words in str(caught.value) and "\n" not in str(caught.value)
