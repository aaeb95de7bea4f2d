/** Draws curves as SVG that can be read on a light and on a dark page. */

export type Curve = { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] };

export type Chart = {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly xScale: Scale;
  readonly yScale: Scale;
  /** What is marked on the horizontal axis, where round values would not be those that were measured. */
  readonly xTicks?: readonly number[];
  readonly curves: readonly Curve[];
};

export type Scale = "linear" | "log";

const WIDTH = 720;
const HEIGHT = 420;
const LEFT = 76;
const RIGHT = 24;
const TOP = 56;
const BOTTOM = 92;
const LINEAR_TICKS = 6;
/** Between points of a linear axis steps are 1, 2 or 5 of some power of ten. */
const STEPS = [1, 2, 5, 10];

// Told apart by those who see few colours, too, and by their marks; on both pages bright enough.
const colours = ["#2f7ed8", "#d9822b", "#2a9d63", "#b04fc4", "#7a8794", "#c8453c"];

/** The chart as the text of an SVG file. */
export function drawChart(chart: Chart): string {
  const points = chart.curves.flatMap((curve) => curve.points);
  const xAxis = axisOf(
    chart.xScale,
    points.map(([x]) => x),
    LEFT,
    WIDTH - RIGHT,
    chart.xTicks,
  );
  const yAxis = axisOf(
    chart.yScale,
    points.map(([, y]) => y),
    HEIGHT - BOTTOM,
    TOP,
  );
  const parts = [
    `<text class="title" x="${LEFT}" y="26">${escape(chart.title)}</text>`,
    ...xAxis.ticks.map((tick) => verticalTick(tick, xAxis)),
    ...yAxis.ticks.map((tick) => horizontalTick(tick, yAxis)),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - BOTTOM + 40}" text-anchor="middle">${escape(
      chart.xName,
    )}</text>`,
    `<text x="${LEFT}" y="${TOP - 10}">${escape(chart.yName)}</text>`,
    ...chart.curves.map((curve, index) => drawCurve(curve, colourOf(index), xAxis, yAxis)),
    ...chart.curves.map(({ name }, index) => legendEntry(name, index)),
  ];
  const box = `viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(chart.title)}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${box}>\n${style()}\n${parts.join("\n")}\n</svg>\n`;
}

// The page behind is not painted, so ink that is dark on light pages turns light on dark ones.
function style(): string {
  return `<style>
text { font: 13px system-ui, sans-serif; fill: #3a4550; }
.title { font-size: 16px; font-weight: 600; }
.grid { stroke: #8a949e; stroke-opacity: 0.3; }
.curve { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) { text { fill: #d5dce3; } }
</style>`;
}

type Axis = { readonly ticks: readonly number[]; place(value: number): number };

function axisOf(
  scale: Scale,
  values: readonly number[],
  from: number,
  to: number,
  given?: readonly number[],
): Axis {
  const ticks = given ?? (scale === "log" ? logTicks(values) : linearTicks(values));
  const measure = scale === "log" ? (value: number) => Math.log10(value) : (value: number) => value;
  const low = measure(ticks[0] ?? 0);
  const high = measure(ticks.at(-1) ?? 1);
  return { ticks, place: (value) => from + ((measure(value) - low) / (high - low)) * (to - from) };
}

/** Round numbers from 0 to at least the largest value. */
export function linearTicks(values: readonly number[]): number[] {
  const most = Math.max(...values, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(most / LINEAR_TICKS));
  const step = power * (STEPS.find((factor) => factor * power * LINEAR_TICKS >= most) ?? 10);
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** Powers of ten, with twice and five times each where few of them would do, around all values above 0. */
export function logTicks(values: readonly number[]): number[] {
  const least = Math.min(...values);
  const most = Math.max(...values);
  if (!(least > 0)) throw new Error("a logarithmic axis has no place for 0");
  const factors = most / least < 1_000 ? [1, 2, 5] : [1];
  const first = Math.floor(Math.log10(least) + 1e-9);
  const last = Math.ceil(Math.log10(most) - 1e-9) + 1;
  const powers = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  const all = powers.flatMap((power) => factors.map((factor) => Number((factor * power).toPrecision(12))));
  const from = all.findLastIndex((tick) => tick <= least * (1 + 1e-9));
  const to = all.findIndex((tick) => tick >= most * (1 - 1e-9));
  return all.slice(from, Math.max(to, from + 1) + 1);
}

function verticalTick(value: number, axis: Axis): string {
  const x = round(axis.place(value));
  const bottom = HEIGHT - BOTTOM;
  const line = `<line class="grid" x1="${x}" y1="${TOP}" x2="${x}" y2="${bottom}"/>`;
  return `${line}<text x="${x}" y="${bottom + 18}" text-anchor="middle">${label(value)}</text>`;
}

function horizontalTick(value: number, axis: Axis): string {
  const y = round(axis.place(value));
  const line = `<line class="grid" x1="${LEFT}" y1="${y}" x2="${WIDTH - RIGHT}" y2="${y}"/>`;
  return `${line}<text x="${LEFT - 8}" y="${y + 4}" text-anchor="end">${label(value)}</text>`;
}

function drawCurve(curve: Curve, colour: string, xAxis: Axis, yAxis: Axis): string {
  const places = curve.points.map(([x, y]) => [round(xAxis.place(x)), round(yAxis.place(y))] as const);
  const line = places.map(([x, y]) => `${x},${y}`).join(" ");
  const marks = places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3.5" fill="${colour}"/>`);
  return `<polyline class="curve" stroke="${colour}" points="${line}"/>${marks.join("")}`;
}

function legendEntry(name: string, index: number): string {
  const column = index % 3;
  const x = LEFT + column * 212;
  const y = HEIGHT - 26 + Math.floor(index / 3) * 18;
  return `<line x1="${x}" y1="${y - 4}" x2="${x + 18}" y2="${y - 4}" stroke="${colourOf(
    index,
  )}" stroke-width="2.5"/><text x="${x + 24}" y="${y}">${escape(name)}</text>`;
}

function colourOf(index: number): string {
  return colours[index % colours.length] ?? "#7a8794";
}

function label(value: number): string {
  return value >= 10_000
    ? `${Number((value / 1_000).toPrecision(3))}k`
    : String(Number(value.toPrecision(3)));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
