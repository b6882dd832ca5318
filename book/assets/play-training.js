// A training player: answers, losses and alignment of all problems, step by step, with BFGS beside them.
(() => {
  "use strict";
  const spread = (text, [low, high]) => {
    const whole = new Uint16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    return Float64Array.from(whole, (v) => low + (v / 65535) * (high - low));
  };
  const median = (values) => {
    const s = Float64Array.from(values).sort(), n = s.length;
    return n % 2 ? s[(n - 1) / 2] : 0.5 * (s[n / 2 - 1] + s[n / 2]);
  };
  const NAMES = {joint: ["JPO", "circle"], bfgs: ["BFGS", "diamond"]};
  const RATE = 12;  // frames per second

  const start = (tools, stage, data) => {
    const {clamp, format} = tools, n = data.num_problems, steps = data.steps, last = steps.length - 1;
    // rows of numbers, one row for each frame or evaluation, one column for each problem
    const method = ({x, loss}) =>
        ({x: spread(x, data.box), ratio: spread(loss, data.range).map((v) => 10 ** v)});
    const joint = method(data.joint), bfgs = method(data.bfgs);
    const row = (array, k) => array.subarray(k * n, (k + 1) * n);
    const bfgsRow = (step) =>
        Math.min(step, data.bfgs.count) - 1;  // after as many evaluations; those that have ended stay
    const now = (name) => (name === "joint" ? [joint, frame] : [bfgs, bfgsRow(steps[frame])]);
    let frame = 0, timer = null;

    const pair = tools.html("div", {class: "pair even"}, stage);
    const scatter = (name) => tools.chart(pair, {
      label: `Answers of ${NAMES[name][0]} against the true centres.`,
      x: {domain: [data.bounds[0] - 1, data.bounds[1] + 1], label: "true centre (radians)"},
      y: {domain: [data.bounds[0] - 4, data.bounds[1] + 4], label: `${NAMES[name][0]}: answer (radians)`},
      height: (width) => (width < 400 ? 210 : 250),
      render(c) {
        c.path(
            [[data.bounds[0] - 9, data.bounds[0] - 9], [data.bounds[1] + 9, data.bounds[1] + 9]],
            "line truth");
        const [m, k] = now(name), x = row(m.x, k), ratio = row(m.ratio, k);
        data.truth.forEach(
            (truth, i) => c.mark(
                NAMES[name][1], truth, clamp(x[i], data.bounds[0] - 3.7, data.bounds[1] + 3.7),
                `${name} ${ratio[i] < 1 ? "" : "hollow"}`, 5));
      },
    });
    const scatters = Object.keys(NAMES).map(scatter);

    const controls = tools.html("div", {class: "controls player"}, stage);
    const buttons = tools.html("div", {class: "buttons"}, controls);
    const slider = tools.slider(controls, {
      label: "Training step",
      min: 0,
      max: last,
      step: 1,
      value: 0,
      show: (k) => String(steps[k]),
      input: (k) => {
        stop();
        show(k);
      }
    });
    const says = tools.speaker(stage);

    const playhead = (c) => c.path(
        [[steps[frame], 1e-9], [steps[frame], 1e9]].map(
            ([x, y]) => [x, c === curves ? y : Math.sign(y - 1) * 9]),
        "line you");
    const all = [...joint.ratio, ...bfgs.ratio], losses = [0.8 * Math.min(...all), 1.25 * Math.max(...all)];
    const evaluations = [1, Math.max(steps[last], data.bfgs.count)];
    const curves = tools.chart(stage, {
      label:
          "Loss divided by the threshold below which a problem counts as solved, of all problems, against evaluations.",
      x: {domain: evaluations, log: true, label: "evaluations per problem, training steps"},
      y: {domain: losses, log: true, label: "loss / threshold"},
      height: (width) => (width < 500 ? 230 : 260),
      render(c) {
        c.path([[1, 1], [evaluations[1], 1]], "line limit");
        for (const [name, m, at] of [
                 ["bfgs", bfgs, Array.from({length: data.bfgs.count}, (_, k) => k + 1)],
                 ["joint", joint, steps]]) {
          for (let i = 0; i < n; i++) c.path(at.map((e, k) => [e, m.ratio[k * n + i]]), `line thin ${name}`);
          const middle = at.map((e, k) => [e, median(row(m.ratio, k))]);
          if (name === "bfgs") middle.push([evaluations[1], middle[middle.length - 1][1]]);
          c.path(middle, `line thick ${name}`);
        }
        playhead(c);
      },
    });
    const direction = tools.chart(stage, {
      label:
          "Alignment of the network's updates and of the problems' own gradients with the directions to the truths, against training steps.",
      x: {domain: evaluations, log: true, label: "training steps"},
      y: {domain: [-1.05, 1.05], label: "alignment"},
      height: () => 190,
      render(c) {
        c.path([[1, 0], [evaluations[1], 0]], "line quiet");
        c.path(steps.map((e, k) => [e, data.alignment.own[k]]), "line gd");
        c.path(steps.map((e, k) => [e, data.alignment.joint[k]]), "line joint");
        playhead(c);
      },
    });
    tools.html(
        "p", {class: "signs"}, stage,
        "Losses: JPO blue, BFGS black (white on a dark page), thick lines are medians. " +
            "Alignment: solid, the update of the network; dashed, the own gradient of each problem. All numbers are dimensionless.");
    const tell = tools.numbers(stage, {
      joint: "JPO: solved now",
      bfgs: "BFGS: solved so far",
      "joint-median": "JPO: median of loss / threshold",
      "bfgs-median": "BFGS: median of loss / threshold",
      aligned: "alignment of the update",
      own: "alignment of the own gradients"
    });

    function show(k) {
      frame = clamp(k, 0, last);
      slider.set(frame);
      const values = {};
      for (const name of Object.keys(NAMES)) {
        const [m, at] = now(name), ratio = row(m.ratio, at), solved = ratio.filter((v) => v < 1).length;
        values[name] = {value: solved, text: `${solved} of ${n}`};
        values[`${name}-median`] = median(ratio);
      }
      tell({...values, aligned: data.alignment.joint[frame], own: data.alignment.own[frame]});
      if (!timer)
        says(
            `Step ${steps[frame]}: JPO solves ${values.joint.text}, BFGS ${values.bfgs.text}. ` +
            `Alignment of the update ${format(data.alignment.joint[frame], 2)}, of the own gradients ${
                format(data.alignment.own[frame], 2)}.`);
      [...scatters, curves, direction].forEach((c) => c.redraw());
    }
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = label;
    };
    // Readers who asked for less motion step through by hand.
    const still = tools.reducedMotion(), label = still ? "Next" : "▶ Play";
    const play = tools.button(buttons, label, () => {
      if (still) return show(frame >= last ? 0 : frame + 5);
      if (timer) {
        stop();
        return show(frame);
      }
      if (frame >= last) show(0);
      play.textContent = "❚❚ Pause";
      timer = setInterval(() => {
        if (frame + 1 >= last) stop();
        show(frame + 1);
      }, 1000 / RATE);
    });
    tools.button(buttons, "Reset", () => {
      stop();
      show(0);
    });
    show(0);
  };

  document.dispatchEvent(new CustomEvent("interactive-figure", {detail: {name: "play-training", start}}));
})();
