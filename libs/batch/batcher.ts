import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { DomainError } from "#libs/reasons";
import { watchCrowd } from "./crowd.ts";

/** What became of one call of a batch. */
export type Outcome<Result> =
  | { readonly ok: true; readonly value: Result }
  | { readonly ok: false; readonly error: unknown };

export type BatcherOptions<Call, Result> = {
  /** For errors and metrics. */
  readonly name: string;
  /** Carries out the calls of one key together and answers each, in their order. */
  readonly execute: (calls: readonly Call[], key: string) => Promise<readonly Outcome<Result>[]>;
  /** Most calls of one batch. */
  readonly maxBatch: number;
  /** Most calls that wait, over all keys; the next one is refused with OVERLOADED at once. */
  readonly maxWaiting: number;
  /** Most batches under way at once, over all keys. 1 unless measured otherwise. */
  readonly lanes?: number;
  /**
   * Most calls that are told their answer in one turn of the event loop; all of a batch if absent. Where each
   * is answered to a client at once that is some 50 µs of work, and other calls must not wait for a whole
   * batch of it; where the answers make up the next batch, they should come together.
   */
  readonly answersATurn?: number;
  /**
   * Calls of earlier batches that have gone on to the next stage of their way and are not at its end. Then
   * few large batches follow each other through the stages instead of many small ones: see watchCrowd.
   * Whoever ends a call owes a `reconsider`. A call that comes alone still waits for nothing.
   */
  readonly goingOn?: () => number;
  /** Whether a batch that failed with this error is halved and tried again, so that one bad call is found. */
  readonly splitsOn: (error: unknown) => boolean;
  /** Told the size of each batch and how long it took. */
  readonly observe?: (size: number, tookMs: number) => void;
};

export type SubmitOptions = {
  /** Calls of one key only share a batch: the tenant. */
  readonly key: string;
  /** Whether the caller has gone or its deadline has passed: such a call is not executed. */
  readonly isAbandoned?: () => boolean;
};

/** Gathers calls into batches; see createBatcher. */
export type Batcher<Call, Result> = {
  /** Resolves to the call's own result, or rejects with its own error. */
  submit(call: Call, options: SubmitOptions): Promise<Result>;
  /** Calls that wait. */
  waiting(): number;
  /** Looks again whether the next batch may start, because a call that went on is at its end. */
  reconsider(): void;
  /** Refuses new calls and resolves when all accepted ones are answered. */
  stop(): Promise<void>;
};

type Waiting<Call, Result> = {
  readonly call: Call;
  readonly isAbandoned: (() => boolean) | undefined;
  readonly resolve: (value: Result) => void;
  readonly reject: (error: unknown) => void;
};

type Answer<Call, Result> = {
  readonly entry: Waiting<Call, Result>;
  readonly outcome: Outcome<Result> | undefined;
};

/** When to come back after OVERLOADED: by then the queue that was full has been worked off. */
const OVERLOAD_RETRY_MS = 250;

/**
 * Gathers the calls that arrive while the batch before them is under way and hands them over together (group
 * commit: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984). A call
 * that finds nothing under way starts at once, alone or with those of its own turn of the event loop: no
 * timer gathers, but for a crowd (see watchCrowd). Keys take turns; within one key calls keep their order of
 * arrival.
 */
export function createBatcher<Call, Result>(options: BatcherOptions<Call, Result>): Batcher<Call, Result> {
  const { execute, maxBatch, maxWaiting, splitsOn } = options;
  const lanes = options.lanes ?? 1;
  const answersATurn = options.answersATurn ?? maxBatch;
  const crowd = options.goingOn && watchCrowd(options.goingOn, maxBatch);
  const queues = new Map<string, Waiting<Call, Result>[]>();
  let waiting = 0;
  let underWay = 0;
  /** Batches that are done and whose calls are being told. */
  let answering = 0;
  let scheduled = false;
  let patience: NodeJS.Timeout | undefined;
  /** When it ends, in milliseconds of performance.now(). */
  let patienceEnd = 0;
  /** Calls that have waited for too long for those before them, and go now. */
  let overdue = 0;
  let stopping: (() => void) | undefined;
  let stopped: Promise<void> | undefined;

  function submit(call: Call, { key, isAbandoned }: SubmitOptions): Promise<Result> {
    if (stopped) return Promise.reject(stoppingError(options.name));
    if (waiting >= maxWaiting) return Promise.reject(overloaded(options.name, maxWaiting));
    return new Promise<Result>((resolve, reject) => {
      const queue = queues.get(key);
      const entry = { call, isAbandoned, resolve, reject };
      if (queue) queue.push(entry);
      else queues.set(key, [entry]);
      waiting += 1;
      schedule();
    });
  }

  // Calls that one read of a socket brought arrive in one turn of the loop: starting at its end lets them
  // share a batch.
  function schedule(): void {
    if (scheduled || underWay >= lanes) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      startWhatMay();
    });
  }

  function startWhatMay(): void {
    while (underWay < lanes && waiting > 0) {
      const until = overdue > 0 ? undefined : crowd?.waitsUntil(waiting);
      if (until !== undefined) {
        waitUntil(until);
        return;
      }
      start();
    }
  }

  // Never longer than it was said before.
  function waitUntil(time: number): void {
    if (patience && patienceEnd <= time) return;
    clearTimeout(patience);
    patienceEnd = time;
    patience = setTimeout(endPatience, time - performance.now());
  }

  // With all that wait now, whatever their keys, and however many batches they make.
  function endPatience(): void {
    patience = undefined;
    overdue = waiting;
    startWhatMay();
  }

  function start(): void {
    clearTimeout(patience);
    patience = undefined;
    const [key, queue] = firstOf(queues);
    const batch = queue.splice(0, maxBatch);
    // The key goes to the back, so that a busy tenant does not starve the others.
    queues.delete(key);
    if (queue.length > 0) queues.set(key, queue);
    waiting -= batch.length;
    overdue = Math.max(0, overdue - batch.length);
    const live = batch.filter(dropAbandoned);
    if (live.length === 0) {
      finishIfDrained();
      return;
    }
    crowd?.started(live.length);
    underWay += 1;
    const startedAt = performance.now();
    void carryOut(live, key).then((answers) => {
      underWay -= 1;
      answering += 1;
      options.observe?.(live.length, performance.now() - startedAt);
      // Not through schedule(): the next batch has been gathering all the while.
      startWhatMay();
      return answer(answers);
    });
  }

  // Never rejects: what went wrong is somebody's answer. Of a batch that is halved, what is decided first is
  // told while the rest is tried.
  async function carryOut(
    batch: readonly Waiting<Call, Result>[],
    key: string,
  ): Promise<Answer<Call, Result>[]> {
    if (batch.length === 0) return [];
    try {
      const outcomes = await execute(
        batch.map((entry) => entry.call),
        key,
      );
      if (outcomes.length !== batch.length) {
        throw new Error(`batch ${options.name}: ${outcomes.length} answers to ${batch.length} calls`);
      }
      return batch.map((entry, index) => ({ entry, outcome: outcomes[index] }));
    } catch (error) {
      if (batch.length === 1 || !splitsOn(error)) {
        return batch.map((entry) => ({ entry, outcome: { ok: false, error } }));
      }
      const middle = batch.length >> 1;
      const decided = await carryOut(batch.slice(0, middle).filter(dropAbandoned), key);
      answering += 1;
      void answer(decided);
      return await carryOut(batch.slice(middle).filter(dropAbandoned), key);
    }
  }

  // The next batch leaves first, so that the database works at it while these are told.
  async function answer(answers: readonly Answer<Call, Result>[]): Promise<void> {
    for (let at = 0; at < answers.length; at += answersATurn) {
      if (underWay > 0 || at > 0) await turnOfTheLoop();
      for (const { entry, outcome } of answers.slice(at, at + answersATurn)) settle(entry, outcome);
    }
    answering -= 1;
    finishIfDrained();
  }

  function finishIfDrained(): void {
    if (underWay === 0 && waiting === 0 && answering === 0) stopping?.();
  }

  function stop(): Promise<void> {
    stopped ??= new Promise((resolve) => {
      stopping = resolve;
      finishIfDrained();
    });
    return stopped;
  }

  function reconsider(): void {
    crowd?.ended();
    schedule();
  }

  return { submit, stop, waiting: () => waiting, reconsider };
}

function settle<Call, Result>(entry: Waiting<Call, Result>, outcome: Outcome<Result> | undefined): void {
  if (outcome === undefined) entry.reject(new Error("a call of the batch was left without an answer"));
  else if (outcome.ok) entry.resolve(outcome.value);
  else entry.reject(outcome.error);
}

// Nobody waits for the answer any more, so what it says matters only to a log.
function dropAbandoned<Call, Result>(entry: Waiting<Call, Result>): boolean {
  if (!entry.isAbandoned?.()) return true;
  entry.reject(new DomainError("CALL_CANCELLED", "the caller had gone before the call was carried out"));
  return false;
}

function firstOf<Key, Value>(map: ReadonlyMap<Key, Value>): [Key, Value] {
  for (const entry of map) return entry;
  throw new Error("nothing is waiting");
}

function overloaded(name: string, maxWaiting: number): DomainError {
  return new DomainError("OVERLOADED", `${maxWaiting} calls are waiting already: come back in a moment`, {
    metadata: { queue: name },
    retryAfterMs: OVERLOAD_RETRY_MS,
  });
}

function stoppingError(name: string): DomainError {
  return new DomainError("DEPENDENCY_UNAVAILABLE", "this instance is stopping: send the same request again", {
    metadata: { queue: name },
    retryAfterMs: OVERLOAD_RETRY_MS,
  });
}
