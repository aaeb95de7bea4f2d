/** Faults of processes: killed, stopped, started again. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { INSTANCES, type System } from "./system.ts";
import type { Fault, Trial } from "./trial.ts";

export const killedInstance: Fault = {
  name: "SIGKILL of a random instance",
  times: { short: 6, long: 200 },
  mayFail: true,
  inject: async ({ system, chance, show }) => {
    await pause(chance.between(0, 300));
    await killAndWait(system, chance.pick(INSTANCES), "SIGKILL", show);
  },
};

export const stoppedPostgres: Fault = {
  name: "Postgres stopped at once and started",
  times: { short: 2, long: 20 },
  mayFail: true,
  inject: async ({ system, load, chance, show }) => {
    await pause(chance.between(0, 300));
    const services = namesAndPids(system);
    // The immediate shutdown: nothing is written, and the next start recovers from the log.
    await killAndWait(system, "postgres", "SIGQUIT", show);
    await load.more(10);
    show("the services recovered without a restart", namesAndPids(system) === services);
  },
};

export const killedBroker: Fault = {
  name: "RabbitMQ killed and started",
  times: { short: 2, long: 20 },
  mayFail: false,
  inject: async ({ system, load, chance, show }) => {
    await pause(chance.between(0, 300));
    const services = namesAndPids(system);
    await killAndWait(system, "rabbitmq", "SIGKILL", show);
    await load.more(10);
    show("the services recovered without a restart", namesAndPids(system) === services);
  },
};

export const killedGateway: Fault = {
  name: "Envoy killed and started",
  times: { short: 2, long: 10 },
  mayFail: true,
  inject: async ({ system, chance, show }) => {
    await pause(chance.between(0, 300));
    await killAndWait(system, "envoy", "SIGKILL", show);
  },
};

export const rollingRestart: Fault = {
  name: "rolling restart",
  times: { short: 1, long: 20 },
  mayFail: false,
  inject: async ({ system, load, show }) => {
    for (const instance of INSTANCES) {
      const pid = system.stack.processes().get(instance);
      await system.stack.restart(instance);
      show(`${instance} is another process`, system.stack.processes().get(instance) !== pid);
      await load.more(10);
    }
  },
};

/** RabbitMQ gone for so long; orders go on meanwhile, and what they have to say waits in the outbox. */
export function absentBroker(awayMs: number): Fault {
  return {
    name: `RabbitMQ down for ${awayMs / 1_000} s`,
    times: { short: 1, long: 1 },
    mayFail: false,
    inject: async ({ system, load, show }) => {
      await system.stack.halt("rabbitmq");
      const goneAt = performance.now();
      const ended = await countEnded(system);
      await load.more(20);
      while (performance.now() - goneAt < awayMs) await load.more(1);
      show("the outbox keeps what was not confirmed", (await countOutbox(system)) > 0);
      for (const [state, count] of await countEnded(system)) {
        show(`orders were ${state} meanwhile`, count > (ended.get(state) ?? 0));
      }
      await system.stack.start("rabbitmq");
    },
  };
}

/** RabbitMQ comes back without any of its data: queues, bindings, messages and nudges. */
export const wipedBroker: Fault = {
  name: "RabbitMQ's data wiped",
  times: { short: 1, long: 3 },
  mayFail: false,
  inject: async ({ system, load, show }) => {
    const pid = system.stack.processes().get("rabbitmq");
    await system.stack.halt("rabbitmq");
    await load.more(10);
    rmSync(join(system.folder, "rabbitmq", "data"), { recursive: true });
    await system.stack.start("rabbitmq");
    show("it is another process", system.stack.processes().get("rabbitmq") !== pid);
    await load.more(20);
  },
};

const SKEW_MS = 600_000;

/** Instances whose clocks are ten minutes ahead and ten minutes back: only the database's decides. */
export const skewedClocks: Fault = {
  name: "clocks ten minutes ahead and back",
  times: { short: 1, long: 5 },
  mayFail: false,
  system: {
    change: (instance) => ({
      NODE_OPTIONS: `--import=${join(import.meta.dirname, "clock.fixture.ts")}`,
      CLOCK_SKEW_MS: String(instance.endsWith("-1") ? SKEW_MS : -SKEW_MS),
    }),
  },
  inject: async ({ system, load, show }) => {
    const expired = (await countEnded(system)).get("EXPIRED") ?? 0;
    await load.more(60);
    show("orders expired meanwhile", ((await countEnded(system)).get("EXPIRED") ?? 0) > expired);
    const behind = timeOfLastLine(system.logOf("order-1")) - timeOfLastLine(system.logOf("order-2"));
    show(`the clocks are apart, by ${behind} ms`, behind > SKEW_MS);
  },
};

function timeOfLastLine(log: string): number {
  const [, time = ""] = /"time":"([^"]+)"[^\n]*\n$/.exec(log) ?? [];
  return Date.parse(time);
}

async function killAndWait(
  system: System,
  name: string,
  signal: NodeJS.Signals,
  show: Trial["show"],
): Promise<void> {
  const pid = system.stack.processes().get(name);
  await system.stack.kill(name, signal);
  await system.stack.ready(name);
  const next = system.stack.processes().get(name);
  show(`${name} is another process`, pid !== undefined && next !== undefined && next !== pid);
}

function namesAndPids({ stack }: System): string {
  const processes = stack.processes();
  return INSTANCES.map((name) => `${name} ${processes.get(name)}`).join(", ");
}

async function countOutbox({ orderDatabase: sql }: System): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::integer as count from outbox`;
  return row?.count ?? 0;
}

async function countEnded({ orderDatabase: sql }: System): Promise<Map<string, number>> {
  const rows = await sql<{ state: string; count: number }[]>`
    select state, count(orders.order_id)::integer as count
    from unnest(array['SETTLED', 'CANCELLED', 'EXPIRED']) as state
    left join orders using (state)
    group by state`;
  return new Map(rows.map((row) => [row.state, row.count]));
}
