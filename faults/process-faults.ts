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
  times: { long: 10 },
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

/** RabbitMQ gone for long; orders go on meanwhile, and what they have to say waits in the outbox. */
export const absentBroker: Fault = {
  name: "RabbitMQ away for long",
  times: { long: 1 },
  mayFail: false,
  lastsMs: 600_000,
  // The stock of what is cancelled and expired comes back only afterwards.
  units: 1_000_000,
  inject: async ({ system, load, show, note, lastsMs }) => {
    await system.stack.halt("rabbitmq");
    const goneAt = performance.now();
    const before = { ended: await countEnded(system), outbox: await countOutcomes(system) };
    const orders = load.purchases.length;
    while (performance.now() - goneAt < lastsMs) await load.more(1);
    const awayMs = performance.now() - goneAt;
    const created = load.purchases.length - orders;
    const meanwhile = [...(await countEnded(system))].map(
      ([state, count]) => [state, count - (before.ended.get(state) ?? 0)] as const,
    );
    for (const [state, count] of meanwhile) show(`orders were ${state} meanwhile`, count > 0);
    // Each order that has ended says so, and none of that was confirmed.
    const waiting = await countOutcomes(system);
    const endedCount = meanwhile.reduce((sum, [, count]) => sum + count, 0);
    show("the outbox keeps what was not confirmed", waiting - before.outbox >= endedCount);
    const ended = await readEnded(system);
    await system.stack.start("rabbitmq");
    const backAt = performance.now();
    const backMs = await untilGivenBack(system, ended, backAt);
    show("the stock of what had ended was back within 60 s", backMs <= GIVEN_BACK_WITHIN_MS);
    const states = meanwhile.map(([state, count]) => `${count} ${state}`).join(", ");
    note(
      `away for ${seconds(awayMs)}; meanwhile ${created} orders were dealt with and became ${states}; ` +
        `the outcomes in the outbox grew from ${before.outbox} to ${waiting}; ` +
        `the stock of all that had ended was back ${seconds(backMs)} after RabbitMQ`,
    );
  },
};

const GIVEN_BACK_WITHIN_MS = 60_000;
const POLL_MS = 250;

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

async function readEnded({ orderDatabase: sql }: System): Promise<string[]> {
  const rows = await sql<{ order_id: string }[]>`
    select order_id
    from orders
    where tenant_id = 'demo'
      and state in ('SETTLED', 'CANCELLED', 'EXPIRED')`;
  return rows.map((row) => row.order_id);
}

/** Waits until none of these orders has a live reservation, and tells how long after `since` that was. */
async function untilGivenBack(
  { inventoryDatabase: sql }: System,
  orders: readonly string[],
  since: number,
): Promise<number> {
  for (;;) {
    const left = await sql`
      select 1
      from reservations
      where tenant_id = 'demo'
        and reservation_id = any(${[...orders]}::uuid[])
        and state = 'ACTIVE'
      limit 1`;
    const tookMs = performance.now() - since;
    if (left.length === 0 || tookMs > GIVEN_BACK_WITHIN_MS) return tookMs;
    await pause(POLL_MS);
  }
}

/** RabbitMQ comes back without any of its data: queues, bindings, messages and nudges. */
export const wipedBroker: Fault = {
  name: "RabbitMQ's data wiped",
  times: { long: 3 },
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
  times: { long: 5 },
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
    for (const service of ["order", "inventory"]) {
      const [ahead, behind] = [1, 2].map((number) => timeOfLastLine(system.logOf(`${service}-${number}`)));
      const apartMs = (ahead ?? 0) - (behind ?? 0);
      show(`the clocks of ${service} are apart, by ${apartMs} ms`, apartMs > SKEW_MS);
    }
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

/** The services with the numbers of their processes: another text once one was started again. */
export function namesAndPids({ stack }: System): string {
  const processes = stack.processes();
  return INSTANCES.map((name) => `${name} ${processes.get(name)}`).join(", ");
}

/** What tells of ended orders and waits for the broker. */
async function countOutcomes({ orderDatabase: sql }: System): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::integer as count
    from outbox
    where tenant_id = 'demo'
      and type in ('OrderSettled', 'OrderCancelled', 'OrderExpired')`;
  return row?.count ?? 0;
}

async function countEnded({ orderDatabase: sql }: System): Promise<Map<string, number>> {
  const rows = await sql<{ state: string; count: number }[]>`
    select ended.state, count(orders.order_id)::integer as count
    from unnest(array['SETTLED', 'CANCELLED', 'EXPIRED']) as ended (state)
    left join orders on orders.state = ended.state and orders.tenant_id = 'demo'
    group by ended.state`;
  return new Map(rows.map((row) => [row.state, row.count]));
}
