// Turn up chaos: the Kuramoto–Sivashinsky equation, its landscape along beta, and two motions side by side.
(() => {
  "use strict";
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const doubles = (text) => new Float64Array(bytes(text).buffer);

  // Complex Fourier transform in place, size a power of two; sign -1 forwards, +1 backwards without the
  // factor 1 / N.
  const makeTransform = (size) => {
    const turn = Array.from({length: size}, (_, i) => {
      let r = 0;
      for (let b = 1, k = i; b < size; b <<= 1, k >>= 1) r = (r << 1) | (k & 1);
      return r;
    });
    const cos = Float64Array.from({length: size}, (_, k) => Math.cos((2 * Math.PI * k) / size)),
          sin = Float64Array.from({length: size}, (_, k) => Math.sin((2 * Math.PI * k) / size));
    return (re, im, sign) => {
      for (let i = 0; i < size; i++)
        if (turn[i] > i) {
          [re[i], re[turn[i]]] = [re[turn[i]], re[i]];
          [im[i], im[turn[i]]] = [im[turn[i]], im[i]];
        }
      for (let half = 1; half < size; half <<= 1) {
        const stride = size / (2 * half);
        for (let begin = 0; begin < size; begin += 2 * half)
          for (let k = 0; k < half; k++) {
            const c = cos[k * stride], s = sign * sin[k * stride], a = begin + k, b = a + half;
            const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
            re[b] = re[a] - x;
            im[b] = im[a] - y;
            re[a] += x;
            im[a] += y;
          }
      }
    };
  };

  // u_t = alpha cos(2 pi m x / L) - u_xx - u_xxxx - beta u u_x on a ring: Fourier modes in space, exponential
  // time differencing of order 4 in time, the scheme and the coefficients of the library. Returns one state
  // for each step.
  const makeMotion = (data) => {
    const size = data.num_points, table = doubles(data.coefficients), modes = table.length / 6,
          transform = makeTransform(size);
    const [decay, decayHalf, q, f1, f2, f3] =
        Array.from({length: 6}, (_, k) => table.subarray(k * modes, (k + 1) * modes));
    const u0 = doubles(data.u0), re = new Float64Array(size), im = new Float64Array(size);
    const toGrid = (v) => {  // the real state that belongs to modes 0 ... modes - 1
      re.fill(0);
      im.fill(0);
      for (let k = 0; k < modes; k++) {
        re[k] = v.re[k] / size;
        im[k] = k ? v.im[k] / size : 0;
        if (k) {
          re[size - k] = re[k];
          im[size - k] = -im[k];
        }
      }
      transform(re, im, 1);
    };
    const spectrum = () => ({re: new Float64Array(modes), im: new Float64Array(modes)});
    const combine = (parts) => {  // sum of coefficient[k] * spectrum[k] * number
      const sum = spectrum();
      for (const [weight, v, factor] of parts)
        for (let k = 0; k < modes; k++) {
          sum.re[k] += weight[k] * v.re[k] * factor;
          sum.im[k] += weight[k] * v.im[k] * factor;
        }
      return sum;
    };
    return (alpha, beta, steps) => {
      const nonlinear = (v) => {  // -beta (u^2 / 2)_x + the force
        toGrid(v);
        for (let j = 0; j < size; j++) {
          re[j] *= re[j];
          im[j] = 0;
        }
        transform(re, im, -1);
        const n = spectrum();
        for (let k = 0; k < modes; k++) {
          const wave = (beta * Math.PI * k) / data.extent;
          n.re[k] = wave * im[k];
          n.im[k] = -wave * re[k];
        }
        n.re[data.forcing_mode] += (alpha * size) / 2;
        return n;
      };
      re.set(u0);
      im.fill(0);
      transform(re, im, -1);
      let v = {re: re.slice(0, modes), im: im.slice(0, modes)};
      const states = [];
      for (let step = 0;; step++) {
        toGrid(v);
        states.push(re.slice());
        if (step === steps) return states;
        const nv = nonlinear(v), a = combine([[decayHalf, v, 1], [q, nv, 1]]), na = nonlinear(a);
        const b = combine([[decayHalf, v, 1], [q, na, 1]]), nb = nonlinear(b);
        const c = combine([[decayHalf, a, 1], [q, nb, 2], [q, nv, -1]]), nc = nonlinear(c);
        v = combine([[decay, v, 1], [f1, nv, 1], [f2, na, 2], [f2, nb, 2], [f3, nc, 1]]);
      }
    };
  };

  // Blue for below zero, red for above.
  const STOPS = [
    "053061", "1c5c9f", "3783bb", "6bacd1", "a7d0e4", "d7e8f1", "f7f6f6", "fcdfcf", "f7b799", "e48066",
    "c94741", "a51429", "67001f"
  ].map((h) => [0, 2, 4].map((k) => parseInt(h.slice(k, k + 2), 16)));
  const diverging = (part) => {
    const place = Math.min(1, Math.max(0, part)) * (STOPS.length - 1),
          k = Math.min(STOPS.length - 2, Math.floor(place));
    return [...STOPS[k].map((v, i) => Math.round(v + (place - k) * (STOPS[k + 1][i] - v))), 255];
  };

  const start = (tools, stage, data) => {
    const {clamp, format} = tools, motion = makeMotion(data), size = data.num_points;
    const [lowest, highest, count] = data.betas, horizons = data.horizons,
                            longest = horizons[horizons.length - 1];
    const steps = Math.round(longest / data.dt), packedLoss = new Uint16Array(bytes(data.landscape).buffer);
    const betaAt = (k) => lowest + (k / (count - 1)) * (highest - lowest);
    const [low, high] = data.range,
                lossAt = (h, k) => 10 ** (low + (packedLoss[h * count + k] / 65535) * (high - low));
    const truth = motion(data.alpha, data.beta, steps);
    const limit = Math.max(...truth.map((row) => Math.max(...row.map(Math.abs))));
    let horizon = data.first, beta = data.guess, mine, end = 0, loss = 0;

    const picture = (value) => tools.raster(
        steps / 2 + 1, size,
        (column, row) => diverging(0.5 + (0.5 * value(2 * column, size - 1 - row)) / limit));
    const truthPicture = picture((t, x) => truth[t][x]);
    let minePicture, differencePicture;

    const landscape = tools.chart(stage, {
      label:
          "The loss divided by the variance of the target, against trial values of beta, for the chosen length of the motion.",
      x: {domain: [lowest, highest], label: "trial β (dimensionless)"},
      y: {domain: [1e-5, 10], log: true, label: "loss / variance of y"},
      height: (width) => (width < 500 ? 250 : 280),
      render(c) {
        c.path([[lowest, data.solved], [highest, data.solved]], "line limit");
        const curve = Array.from({length: count}, (_, k) => [betaAt(k), Math.max(lossAt(horizon, k), 1e-6)]);
        c.path(curve, "line curve");
        c.path([[data.beta, 1e-9], [data.beta, 1e9]], "line truth");
        const here = nearest(beta);
        c.path(curve.slice(Math.min(here, end), Math.max(here, end) + 1), "line you");
        c.mark("triangle", ...curve[end], "you", 7);
        pin.place(beta, clamp(loss, 1e-5, 10), beta.toFixed(4), `beta ${beta.toFixed(4)}`);
      },
    });
    const pin = landscape.handle({
      label: "Your beta",
      move: (dx) => set({beta: beta + 0.0025 * dx}),
      home: () => set({beta: data.guess}),
      drag: (x) => set({beta: x}),
    });
    pin.node.setAttribute("aria-valuemin", lowest);
    pin.node.setAttribute("aria-valuemax", highest);

    const controls = tools.html("div", {class: "controls"}, stage);
    const lengths = tools.slider(controls, {
      label: "Length T of the motion",
      min: 0,
      max: horizons.length - 1,
      step: 1,
      value: horizon,
      show: (k) => String(horizons[k]),
      input: (k) => set({horizon: k})
    });
    const betas = tools.slider(controls, {
      label: "Your β",
      min: lowest,
      max: highest,
      step: 0.0025,
      value: beta,
      show: (v) => v.toFixed(4),
      input: (v) => set({beta: v})
    });
    const buttons = tools.html("div", {class: "buttons"}, controls);
    tools.button(buttons, "Descend", () => set({beta: betaAt(end)}));
    tools.button(buttons, "Reset", () => set({beta: data.guess, horizon: data.first}));
    const says = tools.speaker(stage);
    const show = tools.numbers(stage, {
      horizon: "length of the motion T",
      valleys: "valleys of this landscape",
      loss: "loss / variance of y at your β",
      end: "a descent along the curve ends at β ="
    });

    const profile = tools.chart(stage, {
      label: "The last state of the true motion and that of your beta, on the ring.",
      x: {domain: [0, data.extent], label: "place x (dimensionless)"},
      y: {domain: [-1.15 * limit, 1.15 * limit], label: "u(x, T)"},
      height: () => 180,
      render(c) {
        const at = Math.round(horizons[horizon] / data.dt),
              line = (state, name) =>
                  c.path(Array.from(state, (u, j) => [(j * data.extent) / size, u]), name);
        line(truth[at], "line truth wide");
        line(mine[at], "line you");
      },
    });
    tools.html(
        "p", {class: "signs"}, stage,
        "Last states: the truth (dashed) and yours (solid). " +
            "Below: the motions of the truth, of yours, and the difference of both; the line marks T.");
    const film = (title, source, last) => tools.chart(stage, {
      label: `${
          title}: place upwards, time to the right, the state as colour from blue (negative) to red (positive).`,
      x: {domain: [0, longest], label: last ? "time t (dimensionless)" : ""},
      y: {domain: [0, data.extent], label: title},
      height: () => (last ? 140 : 106),
      margin: {bottom: last ? 40 : 6},
      render(c) {
        c.picture(source());
        const at = c.sx(horizons[horizon]);
        tools.svg(
            "rect", {
              x: at,
              y: c.ceiling,
              width: Math.max(0, c.right - at),
              height: c.bottom - c.ceiling,
              class: "veil"
            },
            c.layer);
        c.path([[horizons[horizon], 0], [horizons[horizon], data.extent]], "line quiet");
      },
    });
    const films = [
      film("truth", () => truthPicture), film("yours", () => minePicture),
      film("difference", () => differencePicture, true)
    ];

    const nearest = (b) => clamp(Math.round(((b - lowest) / (highest - lowest)) * (count - 1)), 0, count - 1);
    const descend = (h, k) => {
      for (;;) {
        const next = [k - 1, k + 1]
                         .filter((n) => n >= 0 && n < count)
                         .reduce((best, n) => (lossAt(h, n) < lossAt(h, best) ? n : best), k);
        if (next === k) return k;
        k = next;
      }
    };
    function set(change) {
      const moved = change.beta !== undefined;
      ({beta = beta, horizon = horizon} = change);
      beta = clamp(beta, lowest, highest);
      if (moved || !mine) {
        mine = motion(data.alpha, beta, steps);
        minePicture = picture((t, x) => mine[t][x]);
        differencePicture = picture((t, x) => mine[t][x] - truth[t][x]);
      }
      const at = Math.round(horizons[horizon] / data.dt), y = truth[at],
            mean = y.reduce((s, u) => s + u, 0) / size;
      const misfit = y.reduce((s, u, j) => s + (mine[at][j] - u) ** 2, 0),
            variance = y.reduce((s, u) => s + (u - mean) ** 2, 0);
      loss = misfit / variance;
      end = descend(horizon, nearest(beta));
      const found = end === descend(horizon, nearest(data.beta)), valleys = data.valleys[horizon];
      show({
        horizon: {value: horizons[horizon], text: String(horizons[horizon])},
        valleys: {value: valleys, text: String(valleys)},
        loss,
        end: {value: betaAt(end), text: betaAt(end).toFixed(4)}
      });
      const where = `${found ? "in the valley of the truth" : "in another valley than the truth"} (${
          data.beta.toFixed(3)})`;
      says(
          `At T = ${horizons[horizon]} the landscape has ${valleys} valley${valleys === 1 ? "" : "s"}. ` +
          `A descent from β = ${beta.toFixed(3)} ends at ${betaAt(end).toFixed(3)}, ${where}.`);
      lengths.set(horizon);
      betas.set(beta);
      [landscape, profile, ...films].forEach((c) => c.redraw());
    }
    set({});
  };

  document.dispatchEvent(new CustomEvent("interactive-figure", {detail: {name: "turn-up-chaos", start}}));
})();
