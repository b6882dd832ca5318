// Small repairs of generated markup, for readers who use the keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  // A block that scrolls sideways must be reachable by keyboard.
  const scrollers =
      "div.highlight pre, .pst-scrollable-table-container, div.math, .math mjx-container, .cell_output";
  const makeReachable = () => {
    // A formula inside a line cannot break. Where it is wider than its paragraph, it scrolls by itself.
    for (const formula of document.querySelectorAll("span.math mjx-container")) {
      formula.classList.remove("too-wide");
      const block = formula.closest("p, li, td, dd, figcaption, h1, h2, h3");
      if (block && formula.getBoundingClientRect().width > block.clientWidth)
        formula.classList.add("too-wide");
    }
    for (const box of document.querySelectorAll(scrollers)) {
      if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible")
        box.tabIndex = 0;
      else if (box.getAttribute("tabindex") === "0")
        box.removeAttribute("tabindex");
    }
  };
  makeReachable();
  window.addEventListener("resize", makeReachable);
  window.addEventListener("load", () => {
    makeReachable();
    window.MathJax?.startup?.promise?.then(makeReachable);
  });

  // The entries of the bibliography are items of its list; their old role is no longer in use.
  for (const entry of document.querySelectorAll(".citation-list > .citation"))
    entry.setAttribute("role", "listitem");
});
