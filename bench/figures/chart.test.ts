import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Chart, drawChart, linearTicks, logTicks } from "./chart.ts";

const chart: Chart = {
  title: 'Fast & "hot" <one>',
  xName: "callers",
  yName: "calls/s",
  xScale: "log",
  yScale: "linear",
  curves: [
    {
      name: "ours",
      points: [
        [1, 800],
        [16, 9_000],
        [256, 31_000],
      ],
    },
    {
      name: "theirs",
      points: [
        [1, 700],
        [256, 1_100],
      ],
    },
  ],
};

describe("a chart", () => {
  const svg = drawChart(chart);

  it("draws each curve with all of its points inside the picture", () => {
    const lines = [...svg.matchAll(/points="([^"]+)"/g)].map(([, points = ""]) => points.split(" "));
    assert.deepEqual(
      lines.map((points) => points.length),
      [3, 2],
    );
    for (const [x, y] of lines.flat().map((point) => point.split(",").map(Number))) {
      assert.ok(x !== undefined && x >= 0 && x <= 720 && y !== undefined && y >= 0 && y <= 420);
    }
  });

  it("puts larger values further right and further up", () => {
    const points = /points="([^"]+)"/
      .exec(svg)?.[1]
      ?.split(" ")
      .map((point) => point.split(",").map(Number));
    const [first, , last] = points ?? [];
    assert.ok((first?.[0] ?? 0) < (last?.[0] ?? 0));
    assert.ok((first?.[1] ?? 0) > (last?.[1] ?? 0));
  });

  it("has ink for dark pages too, and no background of its own", () => {
    assert.match(svg, /prefers-color-scheme: dark/);
    assert.doesNotMatch(svg, /<rect/);
  });

  it("escapes what has a meaning in XML", () => {
    assert.ok(svg.includes("Fast &amp; &quot;hot&quot; &lt;one>"));
  });
});

describe("ticks", () => {
  it("of a linear axis begin at 0, are round and reach the largest value", () => {
    assert.deepEqual(linearTicks([3, 31_000]), [0, 10_000, 20_000, 30_000, 40_000]);
    assert.deepEqual(linearTicks([0.3]), [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
  });

  it("of a logarithmic axis enclose all values", () => {
    assert.deepEqual(logTicks([1, 16, 64, 256]), [1, 2, 5, 10, 20, 50, 100, 200, 500]);
    assert.deepEqual(logTicks([0.5, 800]), [0.1, 1, 10, 100, 1_000]);
    assert.deepEqual(logTicks([20, 70]), [20, 50, 100]);
    assert.deepEqual(logTicks([10]), [10, 20]);
  });

  it("of a logarithmic axis can't show 0", () => {
    assert.throws(() => logTicks([0, 1]));
  });
});
