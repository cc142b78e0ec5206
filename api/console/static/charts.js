// A job's curves: one crosshair over all of them, drag to zoom, the best checkpoint and resumes marked.
document.addEventListener("page", ({ detail: signal }) => {
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const box = document.getElementById("charts");
  if (!box) return;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLOURS = ["--line1", "--line2", "--line3", "--line4", "--line5", "--line6"];
  let shown = null;
  let plots = [];

  const figure = (value, unit) => (value == null ? "–" : `${+value.toPrecision(4)}${unit ? ` ${unit}` : ""}`);

  const lines = (chart) => chart.series.map((one, place) => ({
    label: one.name,
    stroke: colour(COLOURS[place % COLOURS.length]),
    dash: DASHES[Math.floor(place / COLOURS.length) % DASHES.length],
    width: 2,
    spanGaps: true,
    points: { size: 5, show: shown.epochs.length < 40 },
    value: (_, value) => figure(value, chart.unit),
  }));

  // Marks across a chart: the best checkpoint, each resume, and the bounds of what is healthy.
  const marks = (chart) => (plot) => {
    const { ctx, bbox } = plot;
    const line = (x0, y0, x1, y1, stroke, dash) => {
      ctx.save(); ctx.beginPath(); ctx.strokeStyle = stroke; ctx.lineWidth = devicePixelRatio; ctx.setLineDash(dash);
      ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke(); ctx.restore();
    };
    const across = (epoch, stroke, dash) => {
      const x = plot.valToPos(epoch, "x", true);
      if (x >= bbox.left && x <= bbox.left + bbox.width) line(x, bbox.top, x, bbox.top + bbox.height, stroke, dash);
    };
    if (shown.best) across(shown.best, colour("--good"), [4, 3]);
    shown.resumed.forEach((epoch) => across(epoch, colour("--quiet"), [1, 4]));
    (chart.bounds ?? []).forEach((bound) => {
      const y = plot.valToPos(bound, "y", true);
      if (y >= bbox.top && y <= bbox.top + bbox.height) line(bbox.left, y, bbox.left + bbox.width, y, colour("--bad"), [6, 4]);
    });
  };

  const label = (chart) => {
    const last = chart.series.map((one) => `${one.name} ${figure(one.values.findLast((v) => v != null), chart.unit)}`);
    return `${chart.title} over ${shown.epochs.length} epochs; last: ${last.join(", ")}`;
  };

  const newest = (plot) => plot.setLegend({ idx: shown.epochs.length - 1 });

  const draw = (chart) => {
    const frame = document.createElement("figure");
    const title = document.createElement("figcaption");
    title.textContent = chart.title + (chart.unit ? ` (${chart.unit})` : "");
    const canvas = document.createElement("div");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label(chart));
    frame.append(title, canvas);
    box.append(frame);
    const axis = { stroke: colour("--text"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") }, font: "12px system-ui" };
    const plot = new uPlot({
      width: canvas.clientWidth, height: 220,
      cursor: { sync: { key: "job" }, drag: { x: true, y: false } },
      // Where everything is 0, the axis ends at 1, not at 100.
      scales: { x: { time: false }, y: chart.logarithmic ? { distr: 3 } : chart.series.every((one) => one.values.every((v) => !v)) ? { range: [0, 1] } : {} },
      axes: [{ ...axis, label: "epoch", labelSize: 18, labelFont: "12px system-ui", incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : +tick.toPrecision(3))) }],
      series: [{ label: "epoch", value: (_, value) => value ?? "–" }, ...lines(chart)],
      // Without the crosshair the legend shows the newest figures.
      hooks: { draw: [marks(chart)], ready: [newest], setCursor: [(plot) => { if (plot.cursor.idx == null) newest(plot); }] },
    }, [shown.epochs, ...chart.series.map((one) => one.values)], canvas);
    plots.push({ plot, canvas });
  };

  const redraw = () => {
    if (!shown?.charts.length) return;
    const zoom = plots[0] && { min: plots[0].plot.scales.x.min, max: plots[0].plot.scales.x.max };
    const old = plots[0]?.plot.data[0];
    const zoomed = zoom && (zoom.min > old[0] || zoom.max < old.at(-1));
    plots.forEach(({ plot }) => plot.destroy());
    plots = [];
    box.replaceChildren();
    shown.charts.forEach(draw);
    if (zoomed) plots.forEach(({ plot }) => plot.setScale("x", zoom));
  };

  const load = async () => {
    try {
      const answer = await fetch(box.dataset.src, { signal });
      if (!answer.ok) return;
      shown = await answer.json();
      redraw();
    } catch {
      if (!signal.aborted) document.dispatchEvent(new Event("console:lost"));
    }
  };

  load();
  // The poll changes the version when an epoch, a checkpoint or an attempt came in.
  const versions = new MutationObserver(load);
  versions.observe(box, { attributeFilter: ["data-version"] });
  document.addEventListener("theme", redraw, { signal });
  const sizes = new ResizeObserver(() => plots.forEach(({ plot, canvas }) => {
    if (canvas.clientWidth && canvas.clientWidth !== plot.width) plot.setSize({ width: canvas.clientWidth, height: 220 });
  }));
  sizes.observe(box);
  signal.addEventListener("abort", () => {
    [versions, sizes].forEach((each) => each.disconnect());
    plots.forEach(({ plot }) => plot.destroy());
  });
});
