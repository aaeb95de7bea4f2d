import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import { asDomainError, uuidv7 } from "#libs/db";
import { DomainError, type Reason } from "#libs/reasons";
import { RenewedSet } from "#libs/renewed";
import { type Acknowledgements, gatherAcknowledgements } from "./acknowledgements.ts";
import type { Broker, Link } from "./broker.ts";
import { keepChannel } from "./channel.ts";
import { ImpossibleMessage } from "./impossible.ts";
import { outageRung, type Rung, retryRungFor } from "./ladder.ts";
import { endsWithin, pauseUnlessStopped } from "./loop.ts";
import { deadHeaders, header, type MessageMeta, metaOf, ownHeadersOf } from "./message.ts";
import type { EventMetrics } from "./metrics.ts";
import { createPublisher, type Outgoing } from "./publisher.ts";
import { DEAD_EXCHANGE, declareConsumerQueue, declareSharedTopology, delayExchangeOf } from "./topology.ts";

/** Where a delivery goes next. */
export type Way = Pick<Outgoing, "exchange" | "routingKey">;

/** What is to become of a delivery whose handling did not fail: it is done, or waits somewhere else. */
export type Verdict = "done" | Way;

export type DeliveryOptions = {
  readonly broker: Broker;
  readonly queue: string;
  /** Of events; a queue that takes nudges only has none. */
  readonly routingKeys: readonly string[];
  /** Most deliveries that are handled at once. */
  readonly prefetch: number;
  readonly process: (message: ConsumeMessage, meta: MessageMeta) => Promise<Verdict>;
  readonly log: Logger;
  readonly metrics?: EventMetrics | undefined;
  /** How long a stop waits for the handlers under way. */
  readonly drainTimeoutMs: number;
  /** Told when the queue was not there and was made: the first time of all, or because the broker lost it. */
  readonly onQueueMade?: (() => void) | undefined;
};

type Source = { readonly acknowledgements: Acknowledgements<ConsumeMessage>; readonly isOpen: () => boolean };

type Move = {
  readonly outcome: "moved" | "retried" | "postponed" | "dead";
  readonly way: Way;
  readonly headers: Readonly<Record<string, string | number>>;
};

const MOVE_PAUSE_MS = 1_000;
/**
 * While a dependency is away each delivery is held for a moment, so that a backlog does not race round the
 * ladder.
 */
const OUTAGE_PAUSE_MS = 1_000;
/** A failing dependency fails every message: one line a second says it. */
const LOG_INTERVAL_MS = 1_000;
const CANCEL_TIMEOUT_MS = 2_000;

/**
 * Consumes a queue: each delivery is processed at once, up to `prefetch` side by side, and leaves the queue
 * only when it is done or the broker has confirmed it at its next place. A failure is tried again along the
 * retry rungs, then put aside; an impossible message is put aside at once; while a dependency is away
 * messages wait without being counted.
 */
export function consumeDeliveries(options: DeliveryOptions): Loop {
  const { broker, queue, prefetch, log, metrics } = options;
  const stopping = new AbortController();
  const publisher = createPublisher({ broker, name: `${queue} (moves)` });
  const underWay = new RenewedSet<Promise<void>>();
  let cancel = () => Promise.resolve();
  let flush = () => {};
  /** Whether the queue was not there, and nobody has been told yet: a set-up may fail after it made it. */
  let isNews = false;
  let loggedAtMs = Number.NEGATIVE_INFINITY;
  const kept = keepChannel({ broker, link: broker.consuming, name: queue, setUp });

  async function setUp(channel: ConfirmChannel): Promise<void> {
    if (options.onQueueMade && !isNews) isNews = !(await isThere(broker.consuming, queue));
    await declareSharedTopology(channel);
    await declareConsumerQueue(channel, queue, options.routingKeys);
    await channel.prefetch(prefetch);
    if (stopping.signal.aborted) return;
    let open = true;
    channel.on("close", () => {
      open = false;
    });
    const acknowledgements = gatherAcknowledgements<ConsumeMessage>(channel, ignoreClosing);
    const source = { acknowledgements, isOpen: () => open };
    flush = () => {
      if (open) acknowledgements.flush();
    };
    const { consumerTag } = await channel.consume(queue, (message) => {
      // The broker has cancelled us: the queue was deleted, or its leader moved.
      if (message === null) kept.renew();
      else accept(source, message);
    });
    cancel = async () => {
      await channel.cancel(consumerTag);
    };
    if (!isNews) return;
    isNews = false;
    options.onQueueMade?.();
  }

  function accept(source: Source, message: ConsumeMessage): void {
    // What comes between the stop and the broker's hearing of it goes back when the channel closes.
    if (stopping.signal.aborted) return;
    source.acknowledgements.came(message);
    const work = handle(source, message);
    underWay.add(work);
    void work.finally(() => underWay.delete(work));
  }

  // Never rejects: a delivery that is neither done nor moved stays with the broker, which delivers it again.
  async function handle(source: Source, message: ConsumeMessage): Promise<void> {
    const meta = metaOf(message);
    const startedAtMs = performance.now();
    let move: Move | undefined;
    try {
      const verdict = await options.process(message, meta);
      if (verdict !== "done") move = { outcome: "moved", way: verdict, headers: ownHeadersOf(message) };
    } catch (error) {
      move = moveAfter(error, queue, message, meta);
      logFailure(error, meta, move.outcome);
      if (move.outcome === "postponed") await pauseUnlessStopped(OUTAGE_PAUSE_MS, stopping.signal);
    }
    metrics?.handling.observe({ queue }, (performance.now() - startedAtMs) / 1_000);
    if (move && !(await carryOut(source, message, meta, move))) return;
    metrics?.consumed.inc({ queue, outcome: move?.outcome ?? "done" });
    if (source.isOpen()) source.acknowledgements.done(message);
  }

  async function carryOut(
    source: Source,
    message: ConsumeMessage,
    meta: MessageMeta,
    move: Move,
  ): Promise<boolean> {
    const outgoing: Outgoing = {
      ...move.way,
      body: message.content,
      mandatory: true,
      messageId: meta.messageId === "" ? uuidv7() : meta.messageId,
      type: meta.type,
      timestamp: meta.time === undefined ? undefined : meta.time.getTime() / 1_000,
      correlationId: meta.correlationId,
      headers: move.headers,
    };
    while (source.isOpen()) {
      const outcome = await publisher.send(outgoing);
      if (outcome === "confirmed") return true;
      // Somebody has deleted a queue that our set-up declares.
      if (outcome === "returned") kept.renew();
      if (stopping.signal.aborted) return false;
      await pauseUnlessStopped(MOVE_PAUSE_MS, stopping.signal);
    }
    return false;
  }

  // The message will come again, and its handler knows it by then.
  function ignoreClosing(error: unknown): void {
    log.debug({ queue, err: error }, "messages could not be acknowledged: the channel is closing");
  }

  function logFailure(error: unknown, meta: MessageMeta, outcome: Move["outcome"]): void {
    const details = { queue, type: meta.type, messageId: meta.messageId, retries: meta.retries, err: error };
    if (outcome === "dead") log.error(details, "a message was put aside");
    else if (performance.now() - loggedAtMs >= LOG_INTERVAL_MS) {
      loggedAtMs = performance.now();
      log.warn({ ...details, outcome }, "a message could not be handled; it will be tried again");
    }
  }

  async function drain(): Promise<void> {
    stopping.abort();
    await endsWithin(cancel(), CANCEL_TIMEOUT_MS);
    if (!(await endsWithin(Promise.all(underWay), options.drainTimeoutMs))) {
      log.warn({ queue, messages: underWay.size }, "handlers did not end in time; their messages go back");
    }
    flush();
    await kept.stop();
    await publisher.stop();
  }

  let stopped: Promise<void> | undefined;
  function stop(): Promise<void> {
    stopped ??= drain();
    return stopped;
  }

  return { stop };
}

// On a channel of its own, which the broker closes if the queue is not there.
async function isThere(link: Link, queue: string): Promise<boolean> {
  const channel = await link.openChannel();
  channel.on("error", () => {});
  try {
    await channel.checkQueue(queue);
  } catch {
    return false;
  }
  // Its answer is not waited for: there is none when the connection ends before.
  channel.close().catch(() => {});
  return true;
}

function moveAfter(error: unknown, queue: string, message: ConsumeMessage, meta: MessageMeta): Move {
  const headers = ownHeadersOf(message);
  if (error instanceof ImpossibleMessage) return putAside(queue, headers, error.reason, error);
  if (isDependencyAway(error)) return { outcome: "postponed", way: onto(outageRung, queue), headers };
  const retries = meta.retries + 1;
  const rung = retryRungFor(retries);
  if (!rung) return putAside(queue, headers, "RETRIES_USED_UP", error);
  return { outcome: "retried", way: onto(rung, queue), headers: { ...headers, [header.retries]: retries } };
}

function putAside(queue: string, headers: Move["headers"], reason: string, error: unknown): Move {
  return {
    outcome: "dead",
    way: { exchange: DEAD_EXCHANGE, routingKey: queue },
    headers: { ...headers, ...deadHeaders(reason, error) },
  };
}

function onto(rung: Rung, queue: string): Way {
  return { exchange: delayExchangeOf(rung), routingKey: queue };
}

/** What is nobody's fault and passes: a part that is away or has too much to do, rows that others lock. */
const passing: ReadonlySet<Reason> = new Set(["DEPENDENCY_UNAVAILABLE", "OVERLOADED", "CONFLICT"]);

// Nothing is wrong with the message.
function isDependencyAway(error: unknown): boolean {
  const known = asDomainError(error);
  return known instanceof DomainError && passing.has(known.reason);
}
