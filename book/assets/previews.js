// A glance at what a link within the book leads to: a figure, a table, a theorem, an equation, a term, a
// source. It opens under the pointer and with the keyboard's focus, stays while the pointer is on it, and
// closes with Escape. Targets on other pages are fetched, which browsers allow on a server only; elsewhere
// those links just lead there.
(() => {
  const WAIT = 250;         // milliseconds, so that a pointer on its way opens nothing
  const pages = new Map();  // address: promise of a document
  let shown = null, timer = 0, wanted = null;

  const pageOf = address => {
    const here = location.href.split("#")[0];
    if (address === here) return Promise.resolve(document);
    if (!location.protocol.startsWith("http")) return Promise.resolve(null);
    if (!pages.has(address))
      pages.set(
          address,
          fetch(address)
              .then(reply => reply.text())
              .then(text => {
                const page = new DOMParser().parseFromString(text, "text/html");
                for (const image of page.images) image.src = new URL(image.getAttribute("src"), address).href;
                return page;
              })
              .catch(() => null));
    return pages.get(address);
  };

  // What of a target is worth showing: nothing for headings and whole sections.
  const partOf = target => {
    if (!target) return null;
    if (target.matches("dt")) return [target, target.nextElementSibling];
    if (target.matches("figure, table, div.proof, div.math, .citation")) return [target];
    const inner =
        target.matches("span, div") ? target.querySelector(":scope > figure, :scope > table") : null;
    return inner ? [inner] : null;
  };

  const close = () => {
    clearTimeout(timer);
    wanted = null;
    if (shown) {
      shown.link.removeAttribute("aria-describedby");
      shown.box.remove();
      shown = null;
    }
  };

  const open = async link => {
    const [address, name] = link.href.split("#");
    const page = await pageOf(address);
    const parts = partOf(page?.getElementById(decodeURIComponent(name)));
    if (!parts || wanted !== link) return;
    const box = Object.assign(document.createElement("div"), {className: "preview", id: "preview"});
    box.setAttribute("role", "tooltip");
    for (const part of parts.filter(Boolean)) {
      const copy = part.matches("dt, dd") ? document.createElement(part.matches("dt") ? "strong" : "div") :
                                            part.cloneNode(true);
      if (part.matches("dt, dd")) copy.append(...part.cloneNode(true).childNodes);
      copy.removeAttribute("id");
      copy.classList.remove("live");  // of an interactive figure its picture
      for (const node of copy.querySelectorAll("[id]")) node.removeAttribute("id");
      for (const node of copy.querySelectorAll(".headerlink, .stage, script, button")) node.remove();
      for (const node of copy.querySelectorAll("a, [tabindex]")) node.tabIndex = -1;
      box.append(copy);
    }
    link.setAttribute("aria-describedby", "preview");
    document.body.append(box);
    const edge = link.getClientRects()[0], room = document.documentElement.clientWidth - box.offsetWidth - 16;
    const below = edge.bottom + box.offsetHeight + 8 < innerHeight || edge.top < box.offsetHeight + 8;
    box.style.left = `${Math.max(16, Math.min(edge.left, room)) + scrollX}px`;
    box.style.top = `${(below ? edge.bottom + 4 : edge.top - box.offsetHeight - 4) + scrollY}px`;
    shown = {link, box};
    window.MathJax?.typesetPromise?.([box]);
  };

  const consider = (link, wait) => {
    if (shown?.link === link || wanted === link) return clearTimeout(timer);
    close();
    wanted = link;
    timer = setTimeout(() => open(link), wait);
  };
  const linkOf = event =>
      event.target.closest?.(".bd-article a.reference.internal[href*='#']:not(.headerlink)");

  document.addEventListener("pointerover", event => {
    if (event.pointerType === "touch") return;  // there a touch follows the link
    const link = linkOf(event);
    if (link)
      consider(link, WAIT);
    else if (shown && (shown.box.contains(event.target)))
      clearTimeout(timer);
    else if (wanted) {
      clearTimeout(timer);
      timer = setTimeout(close, WAIT);  // time to move from the link to the box
    }
  });
  document.addEventListener("focusin", event => {
    const link = linkOf(event);
    if (link?.matches(":focus-visible"))
      consider(link, 0);
    else
      close();
  });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") close();
  });
  document.addEventListener("click", close);
})();
