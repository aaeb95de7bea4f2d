import { setTimeout as pause } from "node:timers/promises";
import { connect, type Sql } from "#libs/db";
import { OUTCOMES_QUEUE, RETRY_QUEUES } from "../queues.ts";
import { type Case, type Limits, type Suspicion, seconds, suspicionsOf } from "./agreement.ts";
import type { Finding, UnderWay } from "./finding.ts";
import { mergeById } from "./merge.ts";
import { findOutcomes, measureOutbox, type Outbox, type Queues, readQueues } from "./messages.ts";
import { readOrders, tenantsOfOrders, walkOrders } from "./orders.ts";
import { readForgottenBefore, readReservations, tenantsOfStock, walkReservations } from "./reservations.ts";
import { auditStock } from "./stock.ts";

export type AuditOptions = {
  readonly orderDatabaseUrl: string;
  readonly inventoryDatabaseUrl: string;
  readonly amqpUrl: string;
  readonly limits?: Partial<Limits>;
};

/** What an audit found, and what it has looked at. */
export type AuditReport = {
  readonly findings: readonly Finding[];
  /** Differences that an event on its way will end, oldest first. */
  readonly underWay: readonly UnderWay[];
  readonly orders: number;
  readonly reservations: number;
  readonly levels: number;
  readonly movements: number;
  readonly outboxes: { readonly order: Outbox; readonly inventory: Outbox };
  readonly deadLetters: number;
  readonly tookMs: number;
};

export const standardLimits: Limits = {
  // Given up after 30 s, by a loop that looks every 2 s.
  reservingMs: 40_000,
  // Swept 2 s after its time, by a loop that looks every 2 s.
  overdueMs: 10_000,
  // The first retries of an event, or the time that a broker takes to start.
  eventMs: 60_000,
};

/** Differences that are looked into; more of them have one cause, which shows in these. */
const MAX_SUSPICIONS = 5_000;
/** How many are read again in one statement, once it is that many. */
const RECHECK_BATCH = 500;
const RECHECK_PAUSE_MS = 500;
/** One statement may walk the ledger of a very hot item. */
const STATEMENT_TIMEOUT_MS = 600_000;

type Databases = { readonly order: Sql; readonly inventory: Sql };

/**
 * Looks at both databases and the broker, reading only, and tells what is wrong. The databases are read at
 * slightly different moments and work goes on meanwhile, so whatever looks wrong is read again until it is
 * right, or older than the time in which it should have come right.
 */
export async function auditSystem(options: AuditOptions): Promise<AuditReport> {
  const startedAt = performance.now();
  const limits = { ...standardLimits, ...options.limits };
  const databases = {
    order: openReadOnly(options.orderDatabaseUrl),
    inventory: openReadOnly(options.inventoryDatabaseUrl),
  };
  try {
    let forgottenBefore = await readForgottenBefore(databases.inventory);
    const judge = (one: Case) => suspicionsOf(one, limits, forgottenBefore);
    const walk = await walkAll(databases, judge);
    // A month may have been taken out of use meanwhile.
    forgottenBefore = await readForgottenBefore(databases.inventory);
    const settled = await settle(databases, judge, walk.suspicions);
    const stock = await auditAllStock(databases.inventory);
    const outboxes = {
      order: await measureOutbox(databases.order),
      inventory: await measureOutbox(databases.inventory),
    };
    const queues = await readQueues(options.amqpUrl, [OUTCOMES_QUEUE, ...RETRY_QUEUES]);
    const explained = await explain(databases.order, settled, queues);
    return {
      findings: [
        ...explained.findings,
        ...(walk.isCut ? [tooMany()] : []),
        ...stock.findings,
        ...findingsOfOutboxes(outboxes, limits),
        ...findingsOfQueues(queues),
      ],
      underWay: explained.underWay,
      orders: walk.orders,
      reservations: walk.reservations,
      levels: stock.levels,
      movements: stock.movements,
      outboxes,
      deadLetters: [...queues.dead.values()].reduce((total, count) => total + count, 0),
      tookMs: performance.now() - startedAt,
    };
  } finally {
    await Promise.all([databases.order.end({ timeout: 1 }), databases.inventory.end({ timeout: 1 })]);
  }
}

/** What is wrong; see auditSystem. Nothing is, if the list is empty. */
export async function audit(options: AuditOptions): Promise<readonly Finding[]> {
  return (await auditSystem(options)).findings;
}

function openReadOnly(url: string): Sql {
  return connect({
    url,
    name: "audit",
    max: 2,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    settings: { default_transaction_read_only: "on" },
  });
}

type Judge = (one: Case) => Suspicion[];
/** An order to be looked at again, with a reservation of it that the order itself may not know of. */
type Doubt = { readonly tenant: string; readonly id: string; readonly reservationId?: string };
type Walk = { orders: number; reservations: number; suspicions: Suspicion[]; isCut: boolean };

async function walkAll(databases: Databases, judge: Judge): Promise<Walk> {
  const walk: Walk = { orders: 0, reservations: 0, suspicions: [], isCut: false };
  const tenants = [await tenantsOfOrders(databases.order), await tenantsOfStock(databases.inventory)].flat();
  for (const tenant of [...new Set(tenants)].sort()) {
    await walkTenant(databases, judge, tenant, walk);
    if (walk.isCut) break;
  }
  return walk;
}

async function walkTenant(databases: Databases, judge: Judge, tenant: string, walk: Walk): Promise<void> {
  // Differences of the moment are sorted out as they come, so that only real ones are kept in memory.
  let doubts: Doubt[] = [];
  const sortOut = async () => {
    walk.suspicions.push(...(await lookAgain(databases, judge, doubts)));
    doubts = [];
  };
  for await (const one of mergeById(
    walkOrders(databases.order, tenant),
    walkReservations(databases.inventory, tenant),
  )) {
    if (one.order) walk.orders += 1;
    walk.reservations += one.reservations.length;
    doubts.push(...doubtsOf(one, judge));
    if (doubts.length < RECHECK_BATCH) continue;
    await sortOut();
    if (walk.suspicions.length < MAX_SUSPICIONS) continue;
    walk.isCut = true;
    return;
  }
  await sortOut();
}

// The reservation of a late payment has an id of its own and is not met beside its order, so both are looked
// up.
function doubtsOf(one: Case, judge: Judge): Doubt[] {
  const { order, reservations } = one;
  if (order) {
    const isDoubted = order.lateReservationId !== undefined || judge(one).length > 0;
    return isDoubted ? [{ tenant: order.tenant, id: order.orderId }] : [];
  }
  return reservations
    .filter(({ state }) => state !== "RELEASED")
    .map(({ tenant, orderId: id, reservationId }) => ({ tenant, id, reservationId }));
}

/**
 * Reads what is in doubt anew, the orders first: what has changed since then is young, and is looked at
 * again.
 */
async function lookAgain(databases: Databases, judge: Judge, doubts: readonly Doubt[]): Promise<Suspicion[]> {
  const found: Suspicion[] = [];
  for (const [tenant, ofTenant] of Map.groupBy(doubts, (doubt) => doubt.tenant)) {
    for (let at = 0; at < ofTenant.length; at += RECHECK_BATCH) {
      const some = ofTenant.slice(at, at + RECHECK_BATCH);
      const ids = [...new Set(some.map(({ id }) => id))];
      const orders = await readOrders(databases.order, tenant, ids);
      const reservationIds = [
        ...ids,
        ...some.flatMap(({ reservationId }) => reservationId ?? []),
        ...orders.flatMap(({ lateReservationId }) => lateReservationId ?? []),
      ];
      const reservations = Map.groupBy(
        await readReservations(databases.inventory, tenant, reservationIds),
        ({ orderId }) => orderId,
      );
      for (const id of ids) {
        const order = orders.find(({ orderId }) => orderId === id);
        const ofOrder = reservations.get(id) ?? [];
        const stray = ofOrder.find(({ reservationId }) => reservationId !== id);
        const judged = judge({ order, reservations: ofOrder });
        found.push(...judged.map((one) => (stray ? { ...one, reservationId: stray.reservationId } : one)));
      }
    }
  }
  return found;
}

/** Looks again until each suspicion has gone or is older than its limit, which it is at last. */
async function settle(
  databases: Databases,
  judge: Judge,
  suspicions: readonly Suspicion[],
): Promise<Suspicion[]> {
  const startedAt = performance.now();
  let current = await lookAgain(databases, judge, suspicions);
  const isYoung = ({ ageMs, limitMs }: Suspicion) =>
    ageMs <= limitMs && performance.now() - startedAt <= 2 * limitMs;
  while (current.some(isYoung)) {
    await pause(RECHECK_PAUSE_MS);
    current = await lookAgain(databases, judge, current);
  }
  return current;
}

async function auditAllStock(sql: Sql) {
  const total = { levels: 0, movements: 0, findings: new Array<Finding>() };
  for (const tenant of await tenantsOfStock(sql)) {
    const { levels, movements, findings } = await auditStock(sql, tenant);
    total.levels += levels;
    total.movements += movements;
    total.findings.push(...findings);
  }
  return total;
}

/** Tells what an event on its way will end from what nothing will. */
async function explain(order: Sql, suspicions: readonly Suspicion[], queues: Queues) {
  const awaiting = suspicions.filter(({ isEventAwaited }) => isEventAwaited);
  const outcomes =
    awaiting.length === 0
      ? new Map<string, number>()
      : await findOutcomes(order, new Set(awaiting.map(({ tenant, id }) => `${tenant}/${id}`)));
  const waiting = [...queues.ready]
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} in ${name}`);
  const findings: Finding[] = [];
  const underWay: UnderWay[] = [];
  for (const { kind, tenant, id, detail, ageMs, isEventAwaited } of suspicions) {
    const subject = `order ${tenant}/${id}`;
    const outcomeMs = outcomes.get(`${tenant}/${id}`);
    if (outcomeMs !== undefined) {
      const where = `its event has waited in the outbox for ${seconds(outcomeMs)}`;
      underWay.push({ subject, detail: `${detail}; ${where}`, ageMs });
    } else if (isEventAwaited && waiting.length > 0) {
      const where = `its event may be among the messages that wait: ${waiting.join(", ")}`;
      findings.push({ kind: "EVENT_LATE", subject, detail: `${detail} since ${seconds(ageMs)}; ${where}` });
    } else {
      findings.push({ kind, subject, detail: `${detail}, since ${seconds(ageMs)}` });
    }
  }
  underWay.sort((one, other) => other.ageMs - one.ageMs);
  return { findings, underWay };
}

function findingsOfOutboxes(outboxes: AuditReport["outboxes"], limits: Limits): Finding[] {
  return Object.entries(outboxes).flatMap(([service, { messages, oldestMs, examples }]) => {
    if (oldestMs <= limits.eventMs) return [];
    const detail = `${messages} messages, the oldest for ${seconds(oldestMs)}: ${examples.join(", ")}`;
    return [{ kind: "OUTBOX_STUCK" as const, subject: `outbox of ${service}`, detail }];
  });
}

function findingsOfQueues({ dead }: Queues): Finding[] {
  return [...dead].flatMap(([queue, count]) =>
    count === 0
      ? []
      : [
          {
            kind: "DEAD_LETTERS" as const,
            subject: `queue ${queue}`,
            detail: `${count} messages were put aside`,
          },
        ],
  );
}

function tooMany(): Finding {
  const detail = `more than ${MAX_SUSPICIONS} differences; the walk ended there`;
  return { kind: "TOO_MANY", subject: "orders and reservations", detail };
}
