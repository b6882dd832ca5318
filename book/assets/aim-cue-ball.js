// Aim the cue ball: the shot on the open table, the landscape of its loss, and the ways of the optimizers.
(() => {
  "use strict";

  // Two balls of mass 1 that slide and slow down at a constant rate a, on a table without end. The cue ball
  // runs along a straight line, so that the impact follows from its distance to the target ball; after that
  // the two never meet again. The library solves the general case; a test compares both.
  const shoot = (speed, angle, {balls: [cue, target], radius, deceleration: a, restitution: e}) => {
    const dx = Math.cos(angle), dy = Math.sin(angle), reach = 2 * radius;
    const gx = target[0] - cue[0], gy = target[1] - cue[1];
    const along = gx * dx + gy * dy, aside = gx * gx + gy * gy - along * along;
    const rest = (p, v) => {
      const s = Math.hypot(...v);
      return [p[0] + (v[0] * s) / (2 * a), p[1] + (v[1] * s) / (2 * a)];
    };
    const path = along - Math.sqrt(Math.max(0, reach * reach - aside));
    const left = speed * speed - 2 * a * path;  // square of the speed at the impact
    if (along <= 0 || aside >= reach * reach || left <= 0) {
      const begin = {time: 0, places: [cue, target], velocities: [[speed * dx, speed * dy], [0, 0]]};
      return {hit: false, pieces: [begin], rest: [rest(cue, begin.velocities[0]), target], end: speed / a};
    }
    const u = Math.sqrt(left), at = [cue[0] + dx * path, cue[1] + dy * path];
    const nx = (target[0] - at[0]) / reach, ny = (target[1] - at[1]) / reach;  // line of centres
    const impulse = 0.5 * (1 + e) * u * (dx * nx + dy * ny);  // reverses the speed of closing, times e
    const after = [[u * dx - impulse * nx, u * dy - impulse * ny], [impulse * nx, impulse * ny]];
    const time = (speed - u) / a;
    return {
      hit: true,
      pieces: [
        {time: 0, places: [cue, target], velocities: [[speed * dx, speed * dy], [0, 0]]},
        {time, places: [at, target], velocities: after}
      ],
      rest: [rest(at, after[0]), rest(target, after[1])],
      end: time + Math.max(...after.map((v) => Math.hypot(...v))) / a,
    };
  };
  const placesAt = (shot, time, a) => {
    const piece = [...shot.pieces].reverse().find((p) => p.time <= time);
    return piece.places.map((p, ball) => {
      const v = piece.velocities[ball], s = Math.hypot(...v), spent = Math.min(time - piece.time, s / a);
      return s ? p.map((x, k) => x + v[k] * spent * (1 - (a * spent) / (2 * s))) : p;
    });
  };
  const lossOf = (place, y) => 0.5 * ((place[0] - y[0]) ** 2 + (place[1] - y[1]) ** 2);
  // Central differences in the two components of the velocity; exactly zero where nothing is hit.
  const slope = (speed, angle, data, y) => {
    const vx = speed * Math.cos(angle), vy = speed * Math.sin(angle), h = 1e-5;
    const at = (px, py) => lossOf(shoot(Math.hypot(px, py), Math.atan2(py, px), data).rest[1], y);
    return Math.hypot(at(vx + h, vy) - at(vx - h, vy), at(vx, vy + h) - at(vx, vy - h)) / (2 * h);
  };

  const METHODS = {
    bfgs: ["BFGS", "diamond"],
    gd: ["gradient descent", "triangle"],
    joint: ["JPO", "circle"],
    refined: ["JPO, refined", "square"]
  };
  const COLUMNS = 160, ROWS = 120, ARROW = 0.8;
  const LOW = -2, HIGH = 2;  // of the colours, log10 of the loss

  const start = (tools, stage, data) => {
    const {clamp, format} = tools;
    const [slowest, fastest] = data.speeds, [lowest, highest] = data.angles;
    const shown = {bfgs: true, gd: true, joint: true, refined: true};
    let problem = data.problems[data.first], index = data.first, speed, angle, shot, playing = null;

    // Where the target ball ends does not depend on the wanted place: once for all problems.
    const grid = Array.from({length: ROWS}, (_, row) => Array.from({length: COLUMNS}, (_, column) => {
      const s = slowest + ((column + 0.5) / COLUMNS) * (fastest - slowest),
            b = highest - ((row + 0.5) / ROWS) * (highest - lowest);
      const outcome = shoot(s, b, data);
      return outcome.hit ? outcome.rest[1] : null;
    }));
    let picture = "";
    const paint = () => {
      const dark = document.documentElement.dataset.theme === "dark",
            flat = dark ? [44, 51, 58] : [226, 229, 232], hatch = dark ? [84, 94, 104] : [180, 186, 192];
      picture = tools.raster(COLUMNS, ROWS, (column, row) => {
        const place = grid[row][column];
        if (!place) return [...((column + row) % 7 < 1 ? hatch : flat), 255];
        return [...tools.viridis((Math.log10(lossOf(place, problem.y)) - LOW) / (HIGH - LOW)), 255];
      });
    };

    // --- the table, from above
    const table = tools.chart(stage, {
      label:
          "The table from above, with the cue ball at the left, the target ball, the wanted place as a cross, and the ways of both balls.",
      x: {domain: [-5.2, 15.2], label: "x (dimensionless)"},
      y: {domain: [-5.2, 5.2], label: "y (dimensionless)"},
      equal: true,
      render(c) {
        const pixels = c.sx(data.radius) - c.sx(0);
        const disc = (p, name) =>
            tools.svg("circle", {cx: c.sx(p[0]), cy: c.sy(p[1]), r: pixels, class: `ball ${name}`}, c.layer);
        data.balls.forEach((p) => disc(p, "faint"));
        const moment = playing ? playing.time : shot.end;
        // Straight lines, with a kink at the impact.
        const times = [0, ...shot.pieces.slice(1).map((p) => p.time).filter((t) => t < moment), moment];
        [0, 1].forEach(
            (ball) =>
                c.path(times.map((t) => placesAt(shot, t, data.deceleration)[ball]), `way ball-${ball}`));
        placesAt(shot, moment, data.deceleration).forEach((p, ball) => disc(p, ["cue", "target"][ball]));
        c.mark("cross", ...problem.y, "wanted", 8);
        const tip = [
          data.balls[0][0] + ARROW * speed * Math.cos(angle),
          data.balls[0][1] + ARROW * speed * Math.sin(angle)
        ];
        c.path([data.balls[0], tip], "arrow");
        aim.place(...tip, speed.toFixed(2), spoken());
      },
    });
    const spoken = () => `speed ${speed.toFixed(2)}, angle ${angle.toFixed(3)} radians`;
    const keys = {
      move: (dx, dy) => set(speed + 0.02 * dx, angle + 0.004 * dy),
      home: () => set(...problem.start)
    };
    const aim = table.handle({
      label: "Velocity of the cue ball: left and right change the speed, up and down the angle",
      ...keys,
      drag: (x, y) =>
          set(Math.hypot(x - data.balls[0][0], y - data.balls[0][1]) / ARROW,
              Math.atan2(y - data.balls[0][1], x - data.balls[0][0])),
    });
    aim.node.setAttribute("aria-valuemin", slowest);
    aim.node.setAttribute("aria-valuemax", fastest);

    // --- controls
    const controls = tools.html("div", {class: "controls"}, stage);
    const speeds = tools.slider(controls, {
      label: "Speed",
      min: slowest,
      max: fastest,
      step: 0.01,
      value: slowest,
      show: (v) => v.toFixed(2),
      input: (v) => set(v, angle)
    });
    const angles = tools.slider(controls, {
      label: "Angle (radians)",
      min: lowest,
      max: highest,
      step: 0.002,
      value: 0,
      show: (v) => v.toFixed(3).replace("-", "−"),
      input: (v) => set(speed, v)
    });
    const chooser = tools.choose(
        controls, "Wanted place",
        data.problems.map((p, k) => `problem ${k}: start ${shoot(...p.start, data).hit ? "hits" : "misses"}`),
        (k) => open(k));
    const buttons = tools.html("div", {class: "buttons"}, controls);
    const shootButton = tools.button(buttons, "Shoot", () => (playing ? stop() : play()));
    tools.button(buttons, "Reset", () => open(data.first));

    const says = tools.speaker(stage);

    // --- the landscape
    const pair = tools.html("div", {class: "pair"}, stage);
    const map = tools.chart(pair, {
      label: "Map of the loss over speed and angle of the shot, with the ways of the optimizers.",
      x: {domain: data.speeds, label: "speed of the shot (dimensionless)"},
      y: {domain: data.angles, label: "angle of the shot (radians)"},
      height: (width) => clamp(width * 0.85, 280, 400),
      render(c) {
        c.picture(picture);
        const [s0, s1, a0, a1] = data.prior;
        tools.svg(
            "rect", {
              x: c.sx(s0),
              y: c.sy(a1),
              width: c.sx(s1) - c.sx(s0),
              height: c.sy(a0) - c.sy(a1),
              class: "prior"
            },
            c.layer);
        for (const name of Object.keys(METHODS).filter((n) => shown[n])) {
          c.path(problem.methods[name].path, "halo");
          c.path(problem.methods[name].path, `line on-map ${name}`);
        }
        c.mark("circle", ...problem.start, "on-map begin", 6);
        c.mark("star", ...problem.truth, "on-map truth", 11);
        for (const [name, [, shape]] of Object.entries(METHODS))
          if (shown[name]) c.mark(shape, ...problem.methods[name].end, `on-map ${name}`, 6.5);
        point.place(speed, angle, speed.toFixed(2), spoken());
      },
    });
    const point = map.handle({
      label: "Your shot on the map: left and right change the speed, up and down the angle",
      ...keys,
      drag: (x, y) => set(x, y)
    });
    point.node.setAttribute("aria-valuemin", slowest);
    point.node.setAttribute("aria-valuemax", fastest);

    tools.colours(map.box, "10⁻²", "10²", "loss (dimensionless)");

    const side = tools.html("div", {class: "side"}, pair);
    const show = tools.numbers(side, {
      x: "target ball rests at x",
      y: "and y",
      distance: "distance to the cross",
      loss: "loss",
      slope: "length of the gradient"
    });
    const legend =
        tools.html("div", {class: "legends long", role: "group", "aria-label": "Ways on the map"}, side);
    const entries = {};
    for (const [name, [, shape]] of Object.entries(METHODS))
      entries[name] = tools.toggle(legend, "", shape, `on-map ${name}`, (on) => {
        shown[name] = on;
        map.redraw();
      });
    const signs = tools.html("p", {class: "signs"}, side);
    signs.textContent = "Circle: random start. Star: the shot that made the wanted place. Ring: your shot.";

    // --- state
    function set(newSpeed, newAngle) {
      speed = clamp(newSpeed, slowest, fastest);
      angle = clamp(newAngle, lowest, highest);
      if (playing) stop();
      shot = shoot(speed, angle, data);
      speeds.set(speed);
      angles.set(angle);
      const place = shot.rest[1], loss = lossOf(place, problem.y), distance = Math.sqrt(2 * loss);
      show({
        x: place[0],
        y: place[1],
        distance,
        loss,
        slope: shot.hit ? slope(speed, angle, data, problem.y) : {value: 0, text: "exactly 0"}
      });
      says(
          !shot.hit ?
              `The cue ball misses. A slightly different shot misses too: the gradient is zero. Loss ${
                  format(loss)}.` :
              loss < data.threshold ? `Solved: the target ball stops ${format(distance)} from the cross.` :
                                      `The target ball stops ${format(distance)} from the cross. Loss ${
                                          format(loss)}; below ${format(data.threshold)} counts as solved.`);
      table.redraw();
      map.redraw();
    }
    function open(k) {
      index = k;
      problem = data.problems[k];
      chooser.value = k;
      for (const [name, [label]] of Object.entries(METHODS)) {
        const m = problem.methods[name];
        const cost =
            `${m.evaluations} ${name === "refined" ? "more " : ""}evaluation${m.evaluations > 1 ? "s" : ""}`;
        const outcome = `${m.solved ? "solved" : "not solved"}, ${cost}${m.why ? " (zero gradient)" : ""}`;
        entries[name].lastChild.textContent = `${label}: loss ${format(m.loss)}, ${outcome}`;
      }
      paint();
      set(...problem.start);
    }
    function play() {
      if (tools.reducedMotion()) {
        says(`The balls have stopped, the target ball ${
            format(Math.sqrt(2 * lossOf(shot.rest[1], problem.y)))} from the cross.`);
        return;
      }
      playing = {time: 0};
      shootButton.textContent = "Stop";
      let last = null;
      const step = (now) => {
        if (!playing) return;
        playing.time +=
            last === null ? 0 : (2 * (now - last)) / 1000;  // twice as fast as the time of the model
        last = now;
        if (playing.time >= shot.end) return stop();
        table.redraw();
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }
    function stop() {
      playing = null;
      shootButton.textContent = "Shoot";
      table.redraw();
    }
    new MutationObserver(() => {
      paint();
      map.redraw();
    }).observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
    open(index);
  };

  document.dispatchEvent(new CustomEvent("interactive-figure", {detail: {name: "aim-cue-ball", start}}));
})();
