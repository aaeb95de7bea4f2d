import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { pino } from "pino";
import { DomainError } from "#libs/reasons";
import { createRetryBudget } from "./budget.ts";
import { createGuard, type Guard, type GuardState } from "./guard.ts";

class Outage extends Error {}
class Impatience extends Error {}

function guarded() {
  const states: GuardState[] = [];
  const guard = createGuard({
    dependency: "Inventory",
    log: pino({ level: "silent" }),
    budget: createRetryBudget(),
    isOutage: (error) => error instanceof Outage,
    saysNothing: (error) => error instanceof Impatience,
    onState: (state) => states.push(state),
  });
  let calls = 0;
  const dependency = { away: false };
  const call = async () => {
    calls += 1;
    if (dependency.away) throw new Outage();
    return calls;
  };
  return { guard, states, dependency, call, calls: () => calls };
}

/** The timers are the test's. */
async function untilOpen(guard: Guard, call: () => Promise<number>): Promise<void> {
  while (guard.state() === "closed") {
    const answer = guard.run(call).catch(() => {});
    mock.timers.tick(200);
    await answer;
  }
}

describe("a guard", () => {
  test("lets calls through, and their refusals", async () => {
    const { guard, call, states } = guarded();
    assert.equal(await guard.run(call), 1);
    for (let time = 0; time < 20; time += 1) {
      await assert.rejects(
        guard.run(async () => await Promise.reject(new Error("sold out"))),
        /sold out/,
      );
    }
    assert.equal(guard.state(), "closed");
    assert.deepEqual(states, []);
  });

  test("tries a call once more after an outage", async () => {
    const { guard } = guarded();
    let tries = 0;
    const answer = await guard.run(async () => {
      tries += 1;
      if (tries === 1) throw new Outage();
      return "reserved";
    });
    assert.equal(answer, "reserved");
  });

  test("makes at most a tenth more calls, however long the outage is", async () => {
    const { guard } = guarded();
    let made = 0;
    const flaky = async () => {
      made += 1;
      // Every other call finds nobody, so the circuit stays closed.
      if (made % 2 === 0) throw new Outage();
      return made;
    };
    const wanted = 200;
    for (let time = 0; time < wanted; time += 1) await guard.run(flaky).catch(() => {});
    assert.ok(made > wanted, "some calls were made again");
    assert.ok(made <= wanted * 1.1, `${made} calls were made for ${wanted}`);
  });

  test("stays open after a try that was given up, and counts it for nothing while it is closed", async () => {
    mock.timers.enable({ apis: ["Date", "setTimeout"] });
    try {
      const { guard, states, dependency, call } = guarded();
      const impatient = () => Promise.reject(new Impatience());
      for (let time = 0; time < 20; time += 1) await assert.rejects(guard.run(impatient), Impatience);
      assert.equal(guard.state(), "closed");
      dependency.away = true;
      await untilOpen(guard, call);
      mock.timers.tick(60_000);
      await assert.rejects(guard.run(impatient), Impatience);
      assert.equal(guard.state(), "open");
      assert.deepEqual(states, ["open", "halfOpen", "open"]);
    } finally {
      mock.timers.reset();
    }
  });

  test("does not stay open for longer because a clock was set back", async () => {
    mock.timers.enable({ apis: ["Date", "setTimeout"], now: 3_600_000 });
    try {
      const { guard, states, dependency, call } = guarded();
      dependency.away = true;
      await untilOpen(guard, call);
      dependency.away = false;
      mock.timers.setTime(0);
      await assert.rejects(guard.run(call), DomainError);
      const now = performance.now();
      const monotonic = mock.method(performance, "now", () => now + 6_000);
      await guard.run(call);
      monotonic.mock.restore();
      assert.equal(guard.state(), "closed");
      assert.deepEqual(states, ["open", "closed"]);
    } finally {
      mock.timers.reset();
    }
  });

  test("fails at once while nobody is there, and lets calls through once one was answered", async () => {
    mock.timers.enable({ apis: ["Date", "setTimeout"] });
    try {
      const { guard, states, dependency, call, calls } = guarded();
      dependency.away = true;
      await untilOpen(guard, call);
      const made = calls();
      for (let time = 0; time < 100; time += 1) {
        await assert.rejects(
          guard.run(call),
          (error) => error instanceof DomainError && error.reason === "DEPENDENCY_UNAVAILABLE",
        );
      }
      assert.equal(calls(), made, "no call was made while the circuit was open");
      dependency.away = false;
      mock.timers.tick(60_000);
      assert.equal(await guard.run(call), made + 1);
      assert.equal(guard.state(), "closed");
      assert.deepEqual(states, ["open", "halfOpen", "closed"]);
    } finally {
      mock.timers.reset();
    }
  });
});
