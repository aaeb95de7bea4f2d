import { Socket } from "node:net";
import { type ChannelModel, type ConfirmChannel, connect, type RecoveringChannelModel } from "amqplib";
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import { gatherWrites } from "./gather-writes.ts";
import { endsWithin } from "./loop.ts";

export type BrokerOptions = {
  readonly url: string;
  /** Shown in the broker's list of connections. */
  readonly name: string;
  readonly log: Logger;
};

export type BrokerState = "connected" | "disconnected";

/** One connection that comes back by itself for ever. */
export type Link = {
  /**
   * Opens a channel; waits for the connection if need be, and rejects only when the link is stopped or
   * breaks.
   */
  openChannel(): Promise<ConfirmChannel>;
  isConnected(): boolean;
  /** Whether the broker asked publishers to wait (its memory or disk is short). */
  isBlocked(): boolean;
};

/** A message broker whose absence is never an error, only a wait. */
export type Broker = Loop & {
  /** "connected" when both connections and every channel that is in use work. */
  state(): BrokerState;
  /**
   * Publishing and consuming have a connection each, so that a broker which throttles publishers still takes
   * acks.
   */
  readonly publishing: Link;
  readonly consuming: Link;
  readonly log: Logger;
  /**
   * Counts a part (a publisher, a consumer) into the state, until the function that is returned is called.
   */
  watch(isReady: () => boolean): () => void;
};

/** How long one attempt to connect may take. */
const CONNECT_TIMEOUT_MS = 5_000;
/** A connection that says nothing for twice this time is dead. */
const HEARTBEAT_S = 10;
/**
 * Tries go on for ever; no further apart than this, so that events flow within seconds once the broker is
 * back.
 */
const LONGEST_RECONNECT_PAUSE_MS = 5_000;
const FIRST_RECONNECT_PAUSE_MS = 200;
/** A broker that does not answer our goodbye in time is left without it. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Of a long absence one line a while is enough: at 5 s apart about one a minute. */
const LOG_EVERY_ATTEMPTS = 12;

/** Starts to connect and returns at once; whether and when the broker is there shows in `state()`. */
export function connectBroker({ url, name, log }: BrokerOptions): Broker {
  const publishing = startLink(url, `${name} publish`, log);
  const consuming = startLink(url, `${name} consume`, log);
  const parts = new Set<() => boolean>();
  let stopped: Promise<void> | undefined;

  function state(): BrokerState {
    const ready =
      publishing.isConnected() && consuming.isConnected() && [...parts].every((isReady) => isReady());
    return ready ? "connected" : "disconnected";
  }

  function watch(isReady: () => boolean): () => void {
    const part = () => isReady();
    parts.add(part);
    return () => parts.delete(part);
  }

  function stop(): Promise<void> {
    stopped ??= Promise.all([publishing.stop(), consuming.stop()]).then(() => {});
    return stopped;
  }

  return { state, watch, stop, publishing, consuming, log };
}

function startLink(url: string, name: string, log: Logger): Link & Loop {
  let connected = false;
  let blocked = false;
  let stopped: Promise<void> | undefined;
  const opening = open(url, name).then((connection) => {
    listen(connection);
    return connection;
  });

  function listen(connection: RecoveringChannelModel): void {
    connection.on("connect", () => {
      connected = true;
      blocked = false;
      log.info({ connection: name }, "connected to the broker");
    });
    connection.on("disconnect", (error) => {
      connected = false;
      log.warn({ connection: name, err: error }, "lost the broker; connecting again");
    });
    connection.on("reconnect-scheduled", ({ attempt, error }) => {
      if (attempt % LOG_EVERY_ATTEMPTS !== 1 || connected) return;
      log.warn({ connection: name, attempt, err: error }, "the broker does not answer; trying on");
    });
    connection.on("blocked", (reason) => {
      blocked = true;
      log.warn({ connection: name, reason }, "the broker asks publishers to wait");
    });
    connection.on("unblocked", () => {
      blocked = false;
      log.info({ connection: name }, "the broker takes messages again");
    });
    // What broke the connection is told again by "disconnect"; without a listener it would end the process.
    connection.on("error", () => {});
    connection.on("handler-error", (error) => {
      log.error({ connection: name, err: error }, "a listener of the broker's connection failed");
    });
  }

  async function close(): Promise<void> {
    const connection = await opening;
    connected = false;
    if (!(await endsWithin(connection.close(), CLOSE_TIMEOUT_MS))) {
      log.warn({ connection: name }, "the broker did not answer the goodbye");
    }
  }

  return {
    openChannel: async () => await (await opening).createConfirmChannel(),
    isConnected: () => connected,
    isBlocked: () => blocked,
    stop: () => {
      stopped ??= close();
      return stopped;
    },
  };
}

async function open(url: string, name: string): Promise<RecoveringChannelModel> {
  const address = new URL(url);
  if (!address.searchParams.has("heartbeat")) address.searchParams.set("heartbeat", String(HEARTBEAT_S));
  return await connect(address.href, {
    noDelay: true,
    timeout: CONNECT_TIMEOUT_MS,
    clientProperties: { connection_name: name },
    recovery: {
      initialDelay: FIRST_RECONNECT_PAUSE_MS,
      maxDelay: LONGEST_RECONNECT_PAUSE_MS,
      waitForConnect: false,
      setup: prepareConnection,
    },
  });
}

// Each time before the connection is used. Between the handshake and the recovery's own listeners an error of
// the connection would have none. Channels are not made here but by each part (see keepChannel): a set-up
// that fails makes the recovery wait for the broker's goodbye, which a broker that has just died never says.
function prepareConnection(model: ChannelModel): Promise<void> {
  model.on("error", () => {});
  // The driver writes each message by itself, and its types don't show where to.
  const socket: unknown = Reflect.get(model.connection, "stream");
  if (!(socket instanceof Socket)) throw new Error("the driver keeps its socket elsewhere now");
  gatherWrites(socket);
  // The broker's goodbye may have come in one piece with its welcome, and been heard by nobody: the driver
  // would take the connection for good.
  if (Reflect.get(model.connection, "expectSocketClose") === true) {
    return Promise.reject(new Error("the broker closed the connection as soon as it had opened it"));
  }
  return Promise.resolve();
}
