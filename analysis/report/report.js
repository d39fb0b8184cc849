"use strict";
// The budget slider over the precomputed frontier, and tables that sort by a click.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function quantity(value) {
  const units = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]];
  for (const [scale, unit] of units)
    if (value >= scale && value < 1e15) return Number((value / scale).toPrecision(3)) + unit;
  return value >= 1e15 ? value.toExponential(2).replace("+", "") : String(Number(value.toPrecision(3)));
}

function show(point) {
  byId("c").textContent = point.flops.toExponential(2).replace("+", "");
  const times = point.flops / data.largest;
  byId("beyond").textContent = times > 1.01 ? `(${times.toPrecision(2)}× the largest run)` : "(within the runs)";
  byId("n").textContent = quantity(point.params);
  byId("d").textContent = quantity(point.tokens);
  byId("l").textContent = point.loss.toFixed(4);
  byId("lh").textContent = `${point.low.toFixed(4)} – ${point.high.toFixed(4)}`;
  const bars = byId("bars");
  bars.replaceChildren();
  for (const [name, weight] of Object.entries(point.mixture)) {
    const row = document.createElement("div");
    const [label, track, bar, number] = ["span", "span", "i", "b"].map((tag) => document.createElement(tag));
    row.className = "bar";
    label.textContent = name;
    bar.style.width = `${100 * weight}%`;
    bar.style.background = data.colours[name] || "#0072b2";
    number.textContent = `${(100 * weight).toFixed(1)}%`;
    track.append(bar);
    row.append(label, track, number);
    bars.append(row);
  }
}

const slider = byId("budget");
if (slider) {
  slider.addEventListener("input", () => show(data.frontier[Number(slider.value)]));
  show(data.frontier[Number(slider.value)]);
}

function sortBy(table, column, ascending) {
  const body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.key;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    const [p, q] = [Number(x), Number(y)];
    const order = x !== "" && y !== "" && !isNaN(p) && !isNaN(q) ? p - q : x.localeCompare(y);
    return ascending ? order : -order;
  };
  body.append(...[...body.rows].sort(compare));
}

const runs = byId("runs");
[...runs.tHead.rows[0].cells].forEach((heading, column) => {
  let ascending = false;
  const sort = () => sortBy(runs, column, (ascending = !ascending));
  heading.addEventListener("click", sort);
  heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
});
