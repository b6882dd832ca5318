// Move the packet: signal, loss and derivative of a wave packet, BFGS and gradient descent, and a trained
// network.
(() => {
  "use strict";

  // u(t; t0) = A sin(t - t0) exp(-((t - t0) / w)^2), and du/dt0.
  const packet = (t, t0, {amplitude, width}) => {
    const phase = t - t0, bell = amplitude * Math.exp(-((phase / width) ** 2));
    return [bell * Math.sin(phase), bell * ((2 * phase * Math.sin(phase)) / width ** 2 - Math.cos(phase))];
  };
  const timesOf = ({window, num_points}) =>
      Array.from({length: num_points}, (_, j) => (j * window) / num_points);
  // L(t0) = 1/2 sum_j (u_j - y_j)^2 and its derivative.
  const objective = (data, times, y) => (t0) => {
    let loss = 0, slope = 0;
    for (let j = 0; j < times.length; j++) {
      const [u, du] = packet(times[j], t0, data);
      loss += 0.5 * (u - y[j]) ** 2;
      slope += (u - y[j]) * du;
    }
    return [loss, slope];
  };

  const descend = (f, start, {rate, evaluations}) => {
    let x = start, best = {x, loss: Infinity};
    for (let k = 0; k < evaluations; k++) {
      const [loss, slope] = f(x);
      if (loss < best.loss) best = {x, loss};
      x -= rate * slope;
    }
    return {...best, evaluations};
  };

  // --- BFGS for one unknown, with the line search of Moré and Thuente, as in jpo_lib/solvers/bfgs.py
  const ARMIJO = 1e-4, CURVATURE = 0.9, EPSILON = 2 ** -52, LARGE = 1e30, TRIALS = 40;
  const divide = (a, b) => a / (b === 0 ? 1e-37 : b);
  const clip = (x, low, high) => Math.min(high, Math.max(low, x));
  const cubic = (a, b) => {
    const width = b.step === a.step ? 1 : b.step - a.step;
    const theta = (3 * (a.loss - b.loss)) / width + a.slope + b.slope;
    const scale = Math.max(Math.abs(theta), Math.abs(a.slope), Math.abs(b.slope), 1e-37);
    return [
      theta, scale * Math.sqrt(Math.max(0, (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)))
    ];
  };
  // The next trial step and the new interval: the four cases of the source.
  const trialStep = (low, high, fresh, bracketed, smallest, largest) => {
    const ahead = fresh.step > low.step, span = fresh.step - low.step;
    const [theta, gamma] = cubic(low, fresh),
                  secant = fresh.step + divide(fresh.slope, fresh.slope - low.slope) * -span;
    const higher = fresh.loss > low.loss, opposite = fresh.slope * Math.sign(low.slope) < 0,
          flatter = Math.abs(fresh.slope) < Math.abs(low.slope);
    let step;
    if (higher) {
      const g = ahead ? gamma : -gamma,
            at = low.step + divide(g - low.slope + theta, g - low.slope + g + fresh.slope) * span;
      const quadratic =
          low.step + 0.5 * divide(low.slope, divide(low.loss - fresh.loss, span) + low.slope) * span;
      step = Math.abs(at - low.step) <= Math.abs(quadratic - low.step) ? at : at + 0.5 * (quadratic - at);
    } else if (opposite) {
      const g = ahead ? -gamma : gamma,
            at = fresh.step - divide(g - fresh.slope + theta, g - fresh.slope + g + low.slope) * span;
      step = Math.abs(at - fresh.step) > Math.abs(secant - fresh.step) ? at : secant;
    } else {
      const end = ahead ? largest : smallest;
      if (flatter) {
        const g = ahead ? -gamma : gamma,
              ratio = divide(g - fresh.slope + theta, g + (low.slope - fresh.slope) + g);
        const at = ratio < 0 && g !== 0 ? fresh.step - ratio * span : end;
        const closer = Math.abs(at - fresh.step) < Math.abs(secant - fresh.step);
        const bound = fresh.step + 0.66 * (high.step - fresh.step), inside = closer ? at : secant;
        step = bracketed ? (ahead ? Math.min(bound, inside) : Math.max(bound, inside)) :
                           clip(closer ? secant : at, smallest, largest);
      } else if (bracketed) {
        const [theta4, size] = cubic(high, fresh), g = fresh.step > high.step ? -size : size;
        step = fresh.step +
            divide(g - fresh.slope + theta4, g - fresh.slope + g + high.slope) * (high.step - fresh.step);
      } else
        step = end;
    }
    return [
      step, higher ? low : fresh,
      higher       ? fresh :
          opposite ? low :
                     high,
      bracketed || higher || opposite
    ];
  };
  // One line search from `at` = {x, loss, slope in the direction}. Returns the step and what was found there.
  const lineSearch = (evaluate, base, direction, at, firstStep) => {
    const begin = {step: 0, loss: at.loss, slope: at.slope, gradient: at.gradient};
    let step = firstStep, low = begin, high = begin, bracketed = false, auxiliary = true, width = LARGE,
        previous = 2 * LARGE;
    let smallest = 0, largest = 5 * firstStep;
    for (let trial = 1;; trial++) {
      const [loss, gradient] = evaluate(base + step * direction),
                   fresh = {step, loss, slope: gradient * direction, gradient};
      const armijoSlope = ARMIJO * begin.slope, armijo = loss <= begin.loss + step * armijoSlope;
      auxiliary = auxiliary && !(armijo && fresh.slope >= 0);
      if (armijo && Math.abs(fresh.slope) <= -CURVATURE * begin.slope) return {found: fresh};
      const failed =
          (bracketed && (step <= smallest || step >= largest || largest - smallest <= EPSILON * largest)) ||
          (step >= LARGE && armijo && fresh.slope <= armijoSlope) || trial >= TRIALS;
      // In the first stage a lower point above the Armijo line is judged by the loss minus that line.
      const tilt = auxiliary && loss <= low.loss && !armijo ? armijoSlope : 0;
      const lean = (p, sign) => ({...p, loss: p.loss - sign * p.step * tilt, slope: p.slope - sign * tilt});
      let next;
      [next, low, high, bracketed] =
          trialStep(lean(low, 1), lean(high, 1), lean(fresh, 1), bracketed, smallest, largest);
      [low, high] = [lean(low, -1), lean(high, -1)];
      if (failed) return {found: low.loss < begin.loss ? low : null};
      const length = Math.abs(high.step - low.step);
      if (bracketed) {
        if (length >= 0.66 * previous) next = low.step + 0.5 * (high.step - low.step);
        [previous, width] = [width, length];
        [smallest, largest] = [Math.min(low.step, high.step), Math.max(low.step, high.step)];
      } else
        [smallest, largest] = [next + 1.1 * (next - low.step), next + 4 * (next - low.step)];
      next = clip(next, 1e-30, LARGE);
      if (bracketed && (next <= smallest || next >= largest || largest - smallest <= EPSILON * largest))
        next = low.step;
      step = next;
    }
  };
  const bfgs = (f, start, limits) => {
    let evaluations = 0, best = {x: start, loss: Infinity};
    const spent = {};
    const evaluate = (x) => {
      if (evaluations >= limits.evaluations) throw spent;
      evaluations++;
      const [loss, slope] = f(x);
      if (loss < best.loss) best = {x, loss};
      return [loss, slope];
    };
    try {
      let x = start, [loss, gradient] = evaluate(x), previous = loss + 0.5 * Math.abs(gradient), inverse = 1,
          tiny = false;
      for (let steps = 0; steps < limits.steps; steps++) {
        let direction = -inverse * gradient;
        if (!(gradient * direction < 0)) [inverse, direction] = [1, -gradient];
        const slope = gradient * direction, guess = (2.02 * (loss - previous)) / (slope || 1e-37);
        if (Math.abs(gradient) <= limits.tolerance || tiny || -slope <= EPSILON * Math.abs(loss)) break;
        const {found} =
            lineSearch(evaluate, x, direction, {loss, slope, gradient}, guess > 0 ? Math.min(1, guess) : 1);
        if (!found) break;
        const move = found.step * direction, change = found.gradient - gradient;
        if (change * move > 0) inverse = move / change;  // the formula of BFGS, for one unknown
        tiny = Math.abs(move) <= EPSILON * Math.abs(x + move);
        [x, previous, loss, gradient] = [x + move, loss, found.loss, found.gradient];
      }
    } catch (error) {
      if (error !== spent) throw error;
    }
    return {...best, evaluations};
  };

  // --- the network: two convolutions, an energy along time, its centre of mass
  // (jpo_lib/networks/energy_centroid.py)
  const convolve = (rows, {shape: [size, , outputs], weight, bias}) => rows.map((_, j) => {
    const sum = bias.slice(), inputs = rows[0].length, half = (size - 1) / 2;
    for (let k = 0; k < size; k++) {
      const row = rows[j + k - half];
      if (row)
        for (let i = 0; i < inputs; i++)
          for (let o = 0; o < outputs; o++) sum[o] += row[i] * weight[(k * inputs + i) * outputs + o];
    }
    return sum.map((v) => Math.max(0, v));
  });
  const answer = ({layers, scale, offset, contrast, stride}, y, times, window) => {
    const rows = layers.reduce(convolve, y.filter((_, j) => j % stride === 0).map((v) => [v]));
    let total = 1e-12, moment = 0;
    rows.forEach((row, j) => {
      const energy = (row.reduce((sum, v) => sum + v * v, 0) / row.length) ** contrast;
      total += energy;
      moment += times[j * stride] * energy;
    });
    return window / 2 + scale * (moment / total - window / 2) + offset;
  };

  const METHODS = {
    gd: ["gradient descent", "triangle"],
    bfgs: ["BFGS", "diamond"],
    joint: ["JPO", "circle"],
    refined: ["JPO, refined", "square"]
  };
  const STARTS = 129, CURVE = 481;

  const start = (tools, stage, data) => {
    const {clamp} = tools, times = timesOf(data), prior = [data.lower, data.upper];
    const trial = [
      Math.max(0, data.lower - 4), Math.min(data.window, data.upper + 4)
    ];  // searches may end beyond the range of their starts
    const shown = {gd: false, bfgs: true, joint: false, refined: true};
    let centre = data.centre, noise = data.noise, begin = data.start, y, f, curve, ends, threshold, basin;

    const signal = tools.chart(stage, {
      label: "The noisy signal, the true packet and the packets that the methods end with, against time.",
      x: {domain: [0, data.window], label: "time t (radians)"},
      y: {domain: [-1.5, 1.5], label: "u(t) (dimensionless)"},
      height: (width) => (width < 500 ? 200 : 220),
      render(c) {
        times.forEach(
            (t, j) => tools.svg(
                "circle", {
                  cx: c.sx(t).toFixed(1),
                  cy: c.sy(clamp(y[j], -1.5, 1.5)).toFixed(1),
                  r: 1.6,
                  class: "sample"
                },
                c.layer));
        const fine = Array.from({length: 513}, (_, k) => (k / 512) * data.window);
        const wave = (t0, name) => c.path(fine.map((t) => [t, packet(t, t0, data)[0]]), name);
        for (const name of Object.keys(METHODS))
          if (shown[name]) wave(ends[name].x, `line ${name}`);
        wave(centre, "line truth");
        grip.place(centre, 1.2, centre.toFixed(2), `centre ${centre.toFixed(2)} radians`);
      },
    });
    const ranged = (handle) => {
      handle.node.setAttribute("aria-valuemin", data.lower);
      handle.node.setAttribute("aria-valuemax", data.upper);
      return handle;
    };
    const grip = ranged(signal.handle({
      label: "Centre of the packet",
      move: (dx) => set({centre: centre + 0.1 * dx}),
      home: () => set({centre: data.centre}),
      drag: (x) => set({centre: x})
    }));

    const controls = tools.html("div", {class: "controls"}, stage);
    const shared = {min: data.lower, max: data.upper, step: 0.05, show: (v) => v.toFixed(2)};
    const centres = tools.slider(
        controls,
        {...shared, label: "Packet centre (radians)", value: centre, input: (v) => set({centre: v})});
    const noises = tools.slider(controls, {
      label: "Noise (dimensionless)",
      min: 0,
      max: data.largest_noise,
      step: 0.01,
      value: noise,
      show: (v) => v.toFixed(2),
      input: (v) => set({noise: v})
    });
    const begins = tools.slider(
        controls,
        {...shared, label: "Search starts at (radians)", value: begin, input: (v) => set({begin: v})});
    tools.button(
        tools.html("div", {class: "buttons"}, controls), "Reset",
        () => set({centre: data.centre, noise: data.noise, begin: data.start}));

    const says = tools.speaker(stage);

    const landscape = tools.chart(stage, {
      label: "The loss against the trial centre, with the start of the search and the ends of the methods.",
      x: {domain: trial, label: "trial centre t₀ (radians)"},
      y: {domain: [0, 1], label: "loss (dimensionless)"},
      height: (width) => (width < 500 ? 240 : 260),
      render(c) {
        const step = (data.upper - data.lower) / (STARTS - 1);
        basin.forEach((solved, k) => {
          if (solved)
            tools.svg(
                "rect", {
                  x: c.sx(data.lower + (k - 0.5) * step),
                  y: c.bottom - 12,
                  width: c.sx(step) - c.sx(0),
                  height: 12,
                  class: "basin"
                },
                c.layer);
        });
        c.path([[trial[0], threshold], [trial[1], threshold]], "line limit");
        c.path(curve.map(([t, loss]) => [t, loss]), "line curve");
        c.path([[centre, -1e9], [centre, 1e9]], "line truth");
        for (const [name, [, shape]] of Object.entries(METHODS))
          c.mark(shape, ends[name].x, ends[name].loss, name, 7);
        pin.place(begin, f(begin)[0], begin.toFixed(2), `start ${begin.toFixed(2)} radians`);
      },
    });
    const pin = ranged(landscape.handle({
      label: "Start of the search",
      move: (dx) => set({begin: begin + 0.1 * dx}),
      home: () => set({begin: data.start}),
      drag: (x) => set({begin: x})
    }));
    const slopes = tools.chart(stage, {
      label: "The derivative of the loss against the trial centre.",
      x: {domain: trial, label: "trial centre t₀ (radians)"},
      y: {domain: [-1, 1], label: "derivative (1/radian)"},
      height: () => 170,
      render(c) {
        c.path([[trial[0], 0], [trial[1], 0]], "line quiet");
        c.path(curve.map(([t, , slope]) => [t, slope]), "line gd solid");
        c.path([[centre, -1e9], [centre, 1e9]], "line truth");
        c.mark("circle", begin, f(begin)[1], "you", 6);
      },
    });
    const pair = tools.html("div", {class: "pair even"}, stage);
    const left = tools.html("div", {}, pair), right = tools.html("div", {}, pair);
    tools.html(
        "p", {class: "signs"}, left,
        "Dashed: the true packet. Ring and dot: the start. Draw the packet that ends the search of:");
    const legend = tools.html(
        "div", {class: "legends", role: "group", "aria-label": "Packets drawn in the signal"}, left);
    for (const [name, [label, shape]] of Object.entries(METHODS)) {
      const entry = tools.toggle(legend, label, shape, name, (on) => {
        shown[name] = on;
        signal.redraw();
      });
      entry.setAttribute("aria-pressed", shown[name]);
    }
    const show = tools.numbers(right, {
      loss: "loss at the start",
      slope: "derivative there",
      threshold: "counts as solved below",
      gd: "gradient descent ends at",
      bfgs: "BFGS ends at",
      joint: "JPO answers",
      refined: "JPO, refined, ends at",
      basin: "starts from which BFGS solves it"
    });

    function set(change) {
      ({centre = centre, noise = noise, begin = begin} = change);
      [centre, begin, noise] =
          [clamp(centre, ...prior), clamp(begin, ...prior), clamp(noise, 0, data.largest_noise)];
      y = times.map((t, j) => packet(t, centre, data)[0] + noise * data.unit_noise[j]);
      f = objective(data, times, y);
      threshold = 1.05 * f(centre)[0] + 1e-6 * data.num_points * data.amplitude ** 2;
      curve = Array.from({length: CURVE}, (_, k) => {
        const t = trial[0] + (k / (CURVE - 1)) * (trial[1] - trial[0]);
        return [t, ...f(t)];
      });
      const guess = answer(data.network, y, times, data.window);
      ends = {
        gd: descend(f, begin, data.descent),
        bfgs: bfgs(f, begin, data.bfgs),
        joint: {x: guess, loss: f(guess)[0], evaluations: 1},
        refined: bfgs(f, guess, data.bfgs)
      };
      basin = Array.from(
          {length: STARTS},
          (_, k) => bfgs(f, data.lower + (k / (STARTS - 1)) * (data.upper - data.lower), data.bfgs).loss <
              threshold);
      const [loss, slope] = f(begin), count = basin.filter(Boolean).length;
      const end = (name) => ({
        value: ends[name].x,
        text: `${ends[name].x.toFixed(2)}, ${ends[name].loss < threshold ? "solved" : "not solved"}`
      });
      show({
        loss,
        slope,
        threshold,
        gd: end("gd"),
        bfgs: end("bfgs"),
        joint: end("joint"),
        refined: end("refined"),
        basin: {value: count, text: `${count} of ${STARTS}`}
      });
      const verdict = (name) =>
          (ends[name].loss < threshold ? "solves the problem" : "ends in a wrong valley");
      says(`BFGS ${verdict("bfgs")} after ${
          ends.bfgs.evaluations} evaluations. From the answer of the network it ${verdict("refined")}.`);
      centres.set(centre);
      noises.set(noise);
      begins.set(begin);
      const losses = curve.map((p) => p[1]), steepest = 1.1 * Math.max(...curve.map((p) => Math.abs(p[2])));
      const low = Math.min(...losses), high = Math.max(...losses), room = high - low;
      landscape.axis("y", {domain: [low - 0.18 * room, high + 0.12 * room]});
      slopes.axis("y", {domain: [-steepest, steepest]});
      signal.redraw();
    }
    set({});
  };

  document.dispatchEvent(new CustomEvent("interactive-figure", {detail: {name: "move-packet", start}}));
})();
