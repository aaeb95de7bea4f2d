import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import type { Sql } from "#libs/db";
import { RenewedSet } from "#libs/renewed";
import type { Broker } from "./broker.ts";
import { endsWithin, pauseUnlessStopped } from "./loop.ts";
import { header, type OutboxMessage } from "./message.ts";
import type { EventMetrics } from "./metrics.ts";
import {
  type ClaimedMessage,
  claimOutbox,
  deleteOutbox,
  measureOutbox,
  type OutboxKey,
  postponeOutbox,
} from "./outbox.ts";
import { createPublisher, type Outgoing } from "./publisher.ts";
import { EVENTS_EXCHANGE, wayOf } from "./topology.ts";

export type RelayOptions = {
  readonly sql: Sql;
  readonly broker: Broker;
  readonly log: Logger;
  readonly metrics?: EventMetrics | undefined;
  /** How often the table is looked at for what nobody handed over; 1 s if absent. */
  readonly pollIntervalMs?: number;
  /** For how long rows that were taken are left alone by other relays; 45 s if absent. */
  readonly leaseMs?: number;
};

export type OutboxRelay = Loop & {
  /**
   * Sends messages whose transaction has committed, at once and from memory. It is a matter of speed only:
   * what is not given here, or can't be sent now, is found in the table a few seconds later.
   */
  publish(messages: readonly OutboxMessage[]): void;
  /** Looks at the table now. */
  wake(): void;
};

const POLL_INTERVAL_MS = 1_000;
/** Longer than the broker's confirms are waited for, so that a slow broker alone causes no repetition. */
const LEASE_MS = 45_000;
/** Rows a claim: enough that a statement's cost vanishes among them, few enough for a moment's memory. */
const CLAIM_LIMIT = 500;
/**
 * For so long what is confirmed is gathered before it is deleted, in one statement, unless it is enough for
 * one before that. Nobody waits for it; a crash meanwhile means repetitions.
 */
const SETTLE_AFTER_MS = 100;
/** Messages under way at once; above it new ones are left to the table. */
const MAX_UNDER_WAY = 4_000;
/** Messages given to the broker in one turn of the event loop: some 2 ms of work. */
const SENT_A_TURN = 64;
const MEASURE_INTERVAL_MS = 10_000;
const MEASURE_LIMIT = 10_000;
/**
 * What is under way at a shutdown is waited for no longer than this; the rest is sent by whoever comes next.
 */
const DRAIN_TIMEOUT_MS = 10_000;

/**
 * Carries messages from the outbox to the broker: at least once, never lost. Several relays, of one process
 * or of many, work side by side on one table.
 */
export function createOutboxRelay(options: RelayOptions): OutboxRelay {
  const { sql, broker, log, metrics } = options;
  const pollIntervalMs = options.pollIntervalMs ?? POLL_INTERVAL_MS;
  const leaseMs = options.leaseMs ?? LEASE_MS;
  const stopping = new AbortController();
  const publisher = createPublisher({ broker, name: "outbox", onReady: wake });
  // By outbox id, so that a row whose lease ran out while its message waits for a slow broker isn't sent
  // twice from here.
  const underWay = new RenewedSet<string>();
  const finished = { sent: new Array<OutboxKey>(), kept: new Array<OutboxKey>() };
  let settling = false;
  let enough = new AbortController();
  let progress = Promise.withResolvers<void>();
  let sleep = new AbortController();
  let measuredAtMs = Number.NEGATIVE_INFINITY;
  const polling = poll();

  function wake(): void {
    sleep.abort();
  }

  function publish(messages: readonly OutboxMessage[]): void {
    if (stopping.signal.aborted || !publisher.isReady()) return;
    if (messages.some(({ nudge }) => nudge)) wake();
    void sendInTurns(messages.filter(({ nudge }) => !nudge));
  }

  // What a shutdown leaves unsent is in the table.
  async function sendInTurns(events: readonly OutboxMessage[]): Promise<void> {
    for (let at = 0; at < events.length; at += SENT_A_TURN) {
      if (at > 0) await turnOfTheLoop();
      if (stopping.signal.aborted) return;
      for (const event of events.slice(at, at + SENT_A_TURN)) {
        if (underWay.size < MAX_UNDER_WAY) void send({ ...event, dueInMs: 0 });
      }
    }
  }

  // Never rejects: a message whose row could not be changed is sent again when its lease is over.
  async function send(message: ClaimedMessage): Promise<void> {
    if (underWay.has(message.outboxId)) return;
    underWay.add(message.outboxId);
    const outcome = await publisher.send(asOutgoing(message));
    metrics?.published.inc({ outcome });
    const { tenant, outboxId } = message;
    (outcome === "confirmed" ? finished.sent : finished.kept).push({ tenant, outboxId });
    if (countFinished() >= CLAIM_LIMIT) enough.abort();
    if (!settling) void settle();
  }

  function countFinished(): number {
    return finished.sent.length + finished.kept.length;
  }

  // Everything that finishes in a moment, or while one statement runs, shares the next one.
  async function settle(): Promise<void> {
    settling = true;
    while (countFinished() > 0) {
      enough = new AbortController();
      if (countFinished() < CLAIM_LIMIT && !stopping.signal.aborted) {
        await pauseUnlessStopped(SETTLE_AFTER_MS, enough.signal);
      }
      const sent = finished.sent.splice(0);
      const kept = finished.kept.splice(0);
      try {
        if (sent.length > 0) await deleteOutbox(sql, sent);
        if (kept.length > 0) await postponeOutbox(sql, kept);
      } catch (error) {
        log.warn({ err: error, messages: sent.length + kept.length }, "the outbox could not be tidied");
      }
      for (const { outboxId } of [...sent, ...kept]) underWay.delete(outboxId);
      progress.resolve();
      progress = Promise.withResolvers();
    }
    settling = false;
  }

  async function poll(): Promise<void> {
    while (!stopping.signal.aborted) {
      sleep = new AbortController();
      try {
        await sendWhatIsDue();
        await measure();
      } catch (error) {
        log.warn({ err: error }, "the outbox could not be read; trying on");
      }
      if (!stopping.signal.aborted) await pauseUnlessStopped(pollIntervalMs, sleep.signal);
    }
  }

  async function sendWhatIsDue(): Promise<void> {
    let found = CLAIM_LIMIT;
    while (found === CLAIM_LIMIT && publisher.isReady() && !stopping.signal.aborted) {
      const messages = await claimOutbox(sql, CLAIM_LIMIT, leaseMs);
      found = messages.length;
      for (const message of messages) void send(message);
      // The next claim runs while the broker works at this one.
      while (underWay.size > CLAIM_LIMIT && !stopping.signal.aborted) await progress.promise;
    }
  }

  async function measure(): Promise<void> {
    if (!metrics || performance.now() - measuredAtMs < MEASURE_INTERVAL_MS) return;
    measuredAtMs = performance.now();
    const { depth, oldestAgeSeconds } = await measureOutbox(sql, MEASURE_LIMIT);
    metrics.outboxDepth.set(depth);
    metrics.outboxOldestAge.set(oldestAgeSeconds);
  }

  async function drain(): Promise<void> {
    stopping.abort();
    sleep.abort();
    enough.abort();
    await endsWithin(untilIdle(), DRAIN_TIMEOUT_MS);
    await publisher.stop();
    progress.resolve();
    await polling;
  }

  async function untilIdle(): Promise<void> {
    while (underWay.size > 0) await progress.promise;
  }

  let stopped: Promise<void> | undefined;
  function stop(): Promise<void> {
    stopped ??= drain();
    return stopped;
  }

  return { publish, wake, stop };
}

function asOutgoing(message: ClaimedMessage): Outgoing {
  const common = {
    body: message.body,
    messageId: message.outboxId,
    type: message.type,
    timestamp: secondsOf(message.outboxId),
    correlationId: message.correlationId,
  };
  const headers = {
    [header.tenant]: message.tenant,
    ...(message.traceparent === undefined ? {} : { [header.traceparent]: message.traceparent }),
  };
  if (!message.nudge) {
    const { type, mandatory } = message;
    return { ...common, exchange: EVENTS_EXCHANGE, routingKey: type, mandatory, headers };
  }
  return {
    ...common,
    ...wayOf(message.nudge.queue, message.dueInMs),
    headers: { ...headers, [header.dueTime]: message.nudge.dueTime.getTime() },
  };
}

// A UUIDv7 begins with the milliseconds since 1970.
function secondsOf(outboxId: string): number {
  return Math.floor(Number.parseInt(outboxId.slice(0, 8) + outboxId.slice(9, 13), 16) / 1_000);
}
