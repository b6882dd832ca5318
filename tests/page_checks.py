"""What the browser tests ask a page, as scripts that run in it, and a picture of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from conftest import ROOT
from PIL import Image

# Contrast of each text with the first solid colour behind it, as WCAG defines it.
CONTRAST = """() => {
  const rgb = text => {
    const m = text.match(/[0-9.]+/g).map(Number);
    return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1];
  };
  const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => {
    const [r, g, b] = c.slice(0, 3).map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] > 0.99) return c;
    }
    return [255, 255, 255, 1];
  };
  const poor = [];
  for (const e of document.querySelectorAll(".bd-article *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || e.closest("mjx-container, .headerlink, svg, .copybtn")) continue;
    const style = getComputedStyle(e);
    if (style.color.startsWith("rgb") && style.visibility === "visible") {
      const a = light(rgb(style.color)), b = light(behind(e));
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const words = e.textContent.trim().slice(0, 40);
      if (contrast < 4.5) poor.push([Math.round(contrast * 100) / 100, e.tagName, e.className, words]);
    }
  }
  return poor.slice(0, 8);
}"""

SCROLLS_SIDEWAYS = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
# What reaches over the right edge and cannot be scrolled to by itself.
TOO_WIDE = """() => [...document.querySelectorAll(".bd-article *")].filter(e => {
  const fits = box => box.getBoundingClientRect().right <= innerWidth + 1;
  if (e.closest("mjx-assistive-mml, .headerlink, svg") || fits(e)) return false;
  for (let p = e; p && p.matches(".bd-article *"); p = p.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(p).overflowX) && fits(p)) return false;
  return true;
}).slice(0, 3).map(e => e.tagName + "." + e.className)"""

SHOWN = """() => ({
  formulas: document.querySelectorAll(".math").length,
  rendered: document.querySelectorAll(".math mjx-container").length,
  broken: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
  raw: /\\\\[(\\[]/.test([...document.querySelectorAll(".math")].map(e => e.innerText).join(" ")),
  dollars: [...document.querySelectorAll(
    ".bd-article p, .bd-article li, .bd-article td, .bd-article figcaption")].map(e => {
      const copy = e.cloneNode(true);
      copy.querySelectorAll("code, pre, .math").forEach(c => c.remove());
      return copy.textContent.match(/\\$[^$\\n]{1,60}\\$/);
    }).filter(Boolean).map(m => m[0]),
  noAlt: [...document.querySelectorAll(".bd-article figure img, .bd-article .cell_output img")]
    .filter(i => !(i.alt || "").trim() || /^\\S+\\.(svg|png)$/.test(i.alt.trim())).map(i => i.src),
  emptyImages: [...document.images].filter(i => !i.naturalWidth && i.offsetParent).map(i => i.src),
  nameless: [...document.querySelectorAll(".bd-article a[href], .bd-article button, .bd-article summary")]
    .filter(e => !(e.innerText || e.textContent).trim() && !e.getAttribute("aria-label") && !e.title
      && !e.querySelector("img[alt]:not([alt=''])")).map(e => e.outerHTML.slice(0, 80)),
  numbers: Object.fromEntries(
    [...document.querySelectorAll("[id^=figure-], [id^=table-], [id^=theorem-]")].map(e => [e.id, (
      e.querySelector(".caption-number, .admonition-title .caption-number, .admonition-title")
      || {innerText: ""}).innerText.trim()])),
  references: [...document.querySelectorAll("a.reference.internal")]
    .filter(a => /#(figure|table)-s?\\d+$/.test(a.href) && a.querySelector(".std-numref"))
    .map(a => [a.hash, a.innerText.trim()]),
})"""


# All rules of axe, or those alone that look at colours: nothing else changes from light to dark. Without
# contrasts of texts, which take most of the time and which CONTRAST measures, too, where asked. Formulas are
# left out: MathJax makes their markup, thousands of elements that inherit the colour of the text around them.
# Without `preload`, which would ask for style sheets again, at wrong addresses.
AXE = """async ({onlyColours, contrasts}) => {
  const colours = ["link-in-text-block", ...(contrasts ? ["color-contrast"] : [])];
  const rules = onlyColours
    ? {runOnly: {type: "rule", values: colours}} : {rules: {"color-contrast": {enabled: contrasts}}};
  const options = {resultTypes: ["violations"], elementRef: false, preload: false, ...rules};
  const found = await axe.run({exclude: [["mjx-container"]]}, options);
  return found.violations.filter(v => ["serious", "critical"].includes(v.impact)).flatMap(v => v.nodes.map(
    n => ({rule: v.id, target: n.target.flat().join(" "), html: n.html.slice(0, 160), help: v.help,
      why: (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message})));
}"""
SCREENSHOTS = ROOT / "_build" / "screenshots"
READY = """async () => {
  for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}"""
TO_THEME = (
    "theme => { for (const name of ['theme', 'mode']) document.documentElement.dataset[name] = theme; }"
)


def axe_script():
    """The text of axe, out of an installed package."""
    import axe_playwright_python as axe

    return (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def look(page, visit, name, width, theme):
    """Write a picture of the whole page, as the reader sees it now, and note what it is like."""
    path = SCREENSHOTS / f"{name.removesuffix('.html').replace('/', '-')}-{width}-{theme}.jpg"
    height = page.evaluate("() => document.documentElement.scrollHeight")
    page.screenshot(path=path, full_page=True, type="jpeg", quality=70)
    with Image.open(path) as picture:
        size = picture.size
        picture.draft("L", (max(1, size[0] // 8), max(1, size[1] // 8)))  # decodes an eighth only
        grey = np.asarray(picture.convert("L"), float)
    # The parts of the picture that are one screen high:
    # nothing is missing where each has light and dark in it.
    screens = np.array_split(grey, max(1, round(size[1] / 900)))
    visit.pictures[width, theme] = SimpleNamespace(
        size=size, height=height, median=float(np.median(grey)), contrasts=[float(np.ptp(s)) for s in screens]
    )
