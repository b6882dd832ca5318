// Tools of the interactive figures: charts that redraw at their true width, sliders, buttons, handles.
//
// A figure script registers itself by an event, so that no name becomes global:
//   document.dispatchEvent(new CustomEvent("interactive-figure", { detail: { name, start(tools, figure) }
//   }));
// `start` runs once for each <figure class="interactive" data-figure="name"> of the page.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  let count = 0;

  const build = (node, attributes, parent) => {
    for (const [name, value] of Object.entries(attributes || {}))
      if (value !== undefined) node.setAttribute(name, value);
    if (parent) parent.append(node);
    return node;
  };
  const svg = (tag, attributes, parent) => build(document.createElementNS(SVG, tag), attributes, parent);
  const html = (tag, attributes, parent, text) => {
    const node = build(document.createElement(tag), attributes, parent);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  const powerOfTen = (exponent) =>
      "10" + [...String(exponent)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
  // Three significant digits, with a true minus sign.
  const format = (value, digits = 3) => {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size === 0 ? "0" :
        size < 0.9995e-3 || size >= 1e5 ?
                              value.toExponential(1).replace("e", " · 10^") :
                              value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
    return text.replace(/10\^\+?(-?\d+)/, (_, exponent) => powerOfTen(exponent)).replace(/^-/, "−");
  };

  const ticks = ([low, high], wanted) => {
    const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw * 0.999));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return {found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9))};
  };

  // A chart. options: label (for screen readers), x and y: {domain, label, log, ticks, format},
  // height(width), margin, render(chart): draws into chart.layer, which is empty then; equal: one unit is as
  // long in x as in y.
  const chart = (parent, options) => {
    const box = html("div", {class: "chart"}, parent);
    const root = svg("svg", {role: "img", "aria-label": options.label}, box);
    const clipId = `interactive-clip-${++count}`;
    const clip = svg("rect", {}, svg("clipPath", {id: clipId}, svg("defs", {}, root)));
    const axes = svg("g", {class: "axes"}, root);
    const layer = svg("g", {"clip-path": `url(#${clipId})`}, root);
    const top = svg("g", {}, root);  // handles live here and keep the focus when the rest is drawn anew
    const margin = {left: 52, right: 10, top: 10, bottom: 40, ...options.margin};
    const c = {box, root, layer, top, width: 0, height: 0};
    const to = (axis, from, until) => (value) => {
      const f = axis.log ? Math.log10 : (v) => v, [low, high] = axis.domain.map(f);
      return from + ((f(value) - low) / (high - low)) * (until - from);
    };
    const back = (axis, from, until) => (pixel) => {
      const [low, high] = axis.log ? axis.domain.map(Math.log10) : axis.domain;
      const value = low + ((pixel - from) / (until - from)) * (high - low);
      return axis.log ? 10 ** value : value;
    };
    const drawAxis = (axis, horizontal) => {
      const room = horizontal ? c.right - c.left : c.bottom - c.ceiling;
      const decades = axis.log ? Math.log10(axis.domain[1] / axis.domain[0]) : 0;
      let {found, digits} =
          ticks(axis.domain, Math.max(horizontal ? 3 : 5, Math.floor(room / (horizontal ? 62 : 36))));
      let name = (v) => (Math.abs(v) < 1e-12 ? 0 : v).toFixed(digits).replace("-", "−");
      if (axis.log) {
        const [from, until] = axis.domain.map((v) => Math.round(Math.log10(v)));
        const whole = Array.from({length: until - from + 3}, (_, k) => from - 1 + k);
        found = (decades < 2 ? whole.flatMap((k) => [1, 2, 5].map((m) => m * 10 ** k)) :
                               whole.filter((k) => decades < 6 || k % 2 === 0).map((k) => 10 ** k))
                    .filter((v) => v >= axis.domain[0] * 0.999 && v <= axis.domain[1] * 1.001);
        const plain = decades < 2 || found.every((v) => v > 0.5 && v < 2000);
        name = plain ? (v) => String(Number(v.toPrecision(1))) : (v) => powerOfTen(Math.round(Math.log10(v)));
      }
      for (const value of found) {
        const at = horizontal ? c.sx(value) : c.sy(value);
        const ends = horizontal ? {x1: at, x2: at, y1: c.ceiling, y2: c.bottom} :
                                  {x1: c.left, x2: c.right, y1: at, y2: at};
        svg("line", {...ends, class: "grid"}, axes);
        const text =
            svg("text",
                horizontal ? {x: at, y: c.bottom + 16, "text-anchor": "middle"} :
                             {x: c.left - 6, y: at + 4, "text-anchor": "end"},
                axes);
        text.textContent = name(value);
      }
      const title = svg(
          "text",
          horizontal ? {x: (c.left + c.right) / 2, y: c.height - 5, "text-anchor": "middle", class: "title"} :
                       {
                         transform: `translate(13 ${(c.ceiling + c.bottom) / 2}) rotate(-90)`,
                         "text-anchor": "middle",
                         class: "title"
                       },
          axes);
      title.textContent = axis.label;
    };
    c.redraw = () => {
      if (!c.width) return;
      layer.replaceChildren();
      options.render(c);
    };
    c.layout = () => {
      const width = Math.floor(box.clientWidth);
      if (!width) return;
      const {x, y} = options;
      c.width = width;
      c.left = margin.left;
      c.right = width - margin.right;
      c.ceiling = margin.top;
      const inner = options.equal ?
          ((c.right - c.left) * (y.domain[1] - y.domain[0])) / (x.domain[1] - x.domain[0]) :
          (options.height ? options.height(width) : 260) - margin.top - margin.bottom;
      c.bottom = c.ceiling + inner;
      c.height = c.bottom + margin.bottom;
      build(root, {width, height: c.height, viewBox: `0 0 ${width} ${c.height}`});
      build(clip, {x: c.left, y: c.ceiling, width: c.right - c.left, height: inner});
      c.sx = to(x, c.left, c.right);
      c.sy = to(y, c.bottom, c.ceiling);
      c.ix = back(x, c.left, c.right);
      c.iy = back(y, c.bottom, c.ceiling);
      axes.replaceChildren();
      if (x.label) drawAxis(x, true);
      if (y.label) drawAxis(y, false);
      svg("rect", {x: c.left, y: c.ceiling, width: c.right - c.left, height: inner, class: "frame"}, axes);
      c.redraw();
    };
    c.axis = (name, change) => {
      Object.assign(options[name], change);
      c.layout();
    };
    c.path = (points, name) => {
      const d = points.map(([px, py], k) => `${k ? "L" : "M"}${c.sx(px).toFixed(1)} ${c.sy(py).toFixed(1)}`)
                    .join("");
      return svg("path", {class: name, d}, layer);
    };
    c.picture = (href) =>
        svg("image", {
          href,
          x: c.left,
          y: c.ceiling,
          width: c.right - c.left,
          height: c.bottom - c.ceiling,
          preserveAspectRatio: "none"
        },
            layer);
    c.mark = (shape, px, py, name, size = 6) => symbol(shape, c.sx(px), c.sy(py), name, size, layer);
    // A point that is dragged, or moved by the arrow keys. move(dx, dy) takes steps of keys, drag(x, y) chart
    // coordinates.
    c.handle = ({label, drag, move, home}) => {
      root.setAttribute("role", "group");  // an image may hold nothing that takes the focus
      const node = svg("g", {class: "handle", tabindex: 0, role: "slider", "aria-label": label}, top);
      svg("circle", {r: 22, class: "reach"}, node);
      svg("circle", {r: 9, class: "ring"}, node);
      svg("circle", {r: 9, class: "knob"}, node);
      let held = false;
      const at = (event) => {
        const frame = root.getBoundingClientRect();
        drag(c.ix(event.clientX - frame.left), c.iy(event.clientY - frame.top));
      };
      node.addEventListener("pointerdown", (event) => {
        held = true;
        node.setPointerCapture(event.pointerId);
        node.focus({preventScroll: true});
        event.preventDefault();
      });
      node.addEventListener("pointermove", (event) => {
        if (held) at(event);
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
        node.addEventListener(end, () => {
          held = false;
        });
      root.addEventListener("click", (event) => {
        if (!node.contains(event.target)) at(event);
      });
      node.addEventListener("keydown", (event) => {
        const step = {
          ArrowLeft: [-1, 0],
          ArrowRight: [1, 0],
          ArrowDown: [0, -1],
          ArrowUp: [0, 1],
          PageDown: [0, -10],
          PageUp: [0, 10]
        }[event.key];
        if (step)
          move(step[0] * (event.shiftKey ? 10 : 1), step[1] * (event.shiftKey ? 10 : 1));
        else if (event.key === "Home" && home)
          home();
        else
          return;
        event.preventDefault();
      });
      return {
        node,
        place(px, py, now, text) {
          build(node, {
            transform: `translate(${c.sx(px).toFixed(1)} ${c.sy(py).toFixed(1)})`,
            "aria-valuenow": now,
            "aria-valuetext": text
          });
        },
      };
    };
    new ResizeObserver(() => {
      if (Math.floor(box.clientWidth) !== c.width) c.layout();
    }).observe(box);
    return c;
  };

  // Markers differ in shape, not only in colour.
  const symbol = (shape, x, y, name, size, parent) => {
    const s = size, points = {
      diamond: [[0, -s], [s, 0], [0, s], [-s, 0]],
      triangle: [[-s, -s * 0.8], [s, -s * 0.8], [0, s]],
      square: [[-s * 0.8, -s * 0.8], [s * 0.8, -s * 0.8], [s * 0.8, s * 0.8], [-s * 0.8, s * 0.8]],
      star: [...Array(10)].map(
          (_, k) =>
              [Math.sin((k * Math.PI) / 5) * s * (k % 2 ? 0.5 : 1.25),
               -Math.cos((k * Math.PI) / 5) * s * (k % 2 ? 0.5 : 1.25)]),
      cross: null,
      circle: null,
    }[shape];
    const g =
        svg("g", {class: `mark ${name}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`}, parent);
    if (points)
      svg("path", {d: "M" + points.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L") + "Z"}, g);
    else if (shape === "circle")
      svg("circle", {r: s * 0.85}, g);
    else
      svg("path", {d: `M${- s} ${- s}L${s} ${s}M${- s} ${s}L${s} ${- s}`, class: "stroke-only"}, g);
    return g;
  };

  const slider = (parent, {label, min, max, step, value, show, input}) => {
    const wrap = html("label", {class: "control"}, parent);
    const line = html("span", {class: "control-label"}, wrap);
    html("span", {}, line, label);
    const output = html("span", {class: "value"}, line);
    const node = html("input", {type: "range", min, max, step, "aria-label": label}, wrap);
    const tell = () => {
      output.textContent = show(Number(node.value));
      node.setAttribute("aria-valuetext", output.textContent);
    };
    node.value = value;
    tell();
    node.addEventListener("input", () => {
      tell();
      input(Number(node.value));
    });
    return {
      node,
      set(number) {
        node.value = number;
        tell();
      }
    };
  };
  const button = (parent, text, press) => {
    const node = html("button", {type: "button"}, parent, text);
    node.addEventListener("click", press);
    return node;
  };
  // A legend entry that shows and hides what it names.
  const toggle = (parent, text, shape, name, press) => {
    const node = html("button", {type: "button", class: "legend", "aria-pressed": "true"}, parent);
    const icon = svg("svg", {width: 30, height: 14, "aria-hidden": "true"}, node);
    svg("path", {d: "M3 7H27", class: `line ${name}`}, icon);
    symbol(shape, 15, 7, name, 5.5, icon);
    html("span", {}, node, text);
    node.addEventListener("click", () => {
      const on = node.getAttribute("aria-pressed") !== "true";
      node.setAttribute("aria-pressed", on);
      press(on);
    });
    return node;
  };
  // What the colours of a map mean: a strip from low to high, with names at its ends.
  const colours = (parent, low, high, label) => {
    const row = html("p", {class: "colours"}, parent);
    html("span", {}, row, low);
    html(
        "span", {
          class: "strip",
          style: `background: linear-gradient(to right, ${VIRIDIS.map((c) => `rgb(${c})`).join(",")})`
        },
        row);
    html("span", {}, row, high);
    html("span", {class: "control-label"}, row, label);
  };
  const choose = (parent, label, names, change) => {
    const wrap = html("label", {class: "control"}, parent);
    html("span", {class: "control-label"}, wrap, label);
    const node = html("select", {"aria-label": label}, wrap);
    names.forEach((name, k) => html("option", {value: k}, node, name));
    node.addEventListener("change", () => change(Number(node.value)));
    return node;
  };
  // Numbers with names. The full number stands in the value of <data>, the rounded one is shown.
  const numbers = (parent, names) => {
    const list = html("dl", {class: "numbers"}, parent);
    const cells = {};
    for (const [key, name] of Object.entries(names)) {
      const row = html("div", {}, list);
      html("dt", {}, row, name);
      cells[key] = html("data", {class: `number-${key}`}, html("dd", {}, row));
    }
    return (values) => {
      for (const [key, value] of Object.entries(values)) {
        cells[key].value = typeof value === "number" ? value : value.value;
        cells[key].textContent = typeof value === "number" ? format(value) : value.text;
      }
    };
  };
  // What changed, in words, for everybody and for screen readers: said when the reader pauses.
  const speaker = (parent) => {
    const node = html("p", {class: "says", role: "status"}, parent);
    let timer;
    return (text) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (node.textContent !== text) node.textContent = text;
      }, 250);
    };
  };

  // The colours of viridis at sixteen places, and straight lines between.
  const VIRIDIS = [
    "440154", "481a6c", "472f7d", "414487", "39568c", "31688e", "2a788e", "23888e", "1f988b", "22a884",
    "35b779", "54c568", "7ad151", "a5db36", "d2e21b", "fde725"
  ].map((h) => [0, 2, 4].map((k) => parseInt(h.slice(k, k + 2), 16)));
  const viridis = (part) => {
    const place = clamp(part, 0, 1) * (VIRIDIS.length - 1),
          k = Math.min(VIRIDIS.length - 2, Math.floor(place));
    return VIRIDIS[k].map((v, i) => Math.round(v + (place - k) * (VIRIDIS[k + 1][i] - v)));
  };
  // A picture of coloured cells as an address: colour(column, row) -> [r, g, b, a], row 0 at the top.
  const raster = (columns, rows, colour) => {
    const canvas = html("canvas", {width: columns, height: rows}), context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        image.data.set(colour(column, row), 4 * (row * columns + column));
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  };

  const tools = {
    svg,
    html,
    clamp,
    reducedMotion,
    format,
    chart,
    slider,
    button,
    toggle,
    colours,
    choose,
    numbers,
    speaker,
    viridis,
    raster,
    symbol
  };
  document.addEventListener("interactive-figure", ({detail}) => {
    for (const figure of document.querySelectorAll(`figure.interactive[data-figure="${detail.name}"]`)) {
      const stage = figure.querySelector(".stage");
      stage.hidden = false;
      detail.start(
          tools, stage, JSON.parse(figure.querySelector("script[type='application/json']").textContent));
      figure.classList.add("live");  // hides the still picture
    }
  });
})();
