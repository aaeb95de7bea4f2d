/** Where a running service spends its processor time, asked of its own runtime without a restart. */
import { setTimeout as pause } from "node:timers/promises";

type CallFrame = { readonly functionName: string; readonly url: string; readonly lineNumber: number };
type ProfileNode = { readonly id: number; readonly callFrame: CallFrame };

/** V8's CPU profile, as far as it is read here. */
export type Profile = {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** A share of the time in which the process was not idle. */
export type Share = { readonly name: string; readonly percent: number };

const INSPECTOR = "http://127.0.0.1:9229/json/list";
const OPEN_TIMEOUT_MS = 5_000;
const POLL_MS = 50;
const SAMPLING_INTERVAL_US = 500;

/** Profiles a Node process while `load` runs. SIGUSR1 opens its inspector, which is closed again. */
export async function profileProcess(pid: number, load: () => Promise<void>): Promise<Profile> {
  process.kill(pid, "SIGUSR1");
  const session = await openSession();
  await session.send("Profiler.enable", {});
  await session.send("Profiler.setSamplingInterval", { interval: SAMPLING_INTERVAL_US });
  await session.send("Profiler.start", {});
  await load();
  const { profile } = await session.send("Profiler.stop", {});
  if (!isProfile(profile)) throw new Error("the inspector gave no profile");
  const close = "setTimeout(() => process.getBuiltinModule('node:inspector').close(), 50)";
  await session.send("Runtime.evaluate", { expression: close });
  session.close();
  await inspectorClosed();
  return profile;
}

/** Self time by package, library or part of the runtime, the largest first. */
export function sharesByLibrary(profile: Profile): Share[] {
  return sharesBy(profile, ({ callFrame }) => libraryOf(callFrame));
}

/** Self time by function, the largest first. */
export function sharesByFunction(profile: Profile): Share[] {
  return sharesBy(profile, ({ callFrame }) => {
    const file = callFrame.url.split("/").slice(-2).join("/");
    return `${callFrame.functionName || "(anonymous)"} ${file}${file ? `:${callFrame.lineNumber + 1}` : ""}`;
  });
}

function sharesBy(profile: Profile, nameOf: (node: ProfileNode) => string): Share[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const times = new Map<string, number>();
  let busy = 0;
  profile.samples.forEach((id, index) => {
    const node = nodes.get(id);
    const time = profile.timeDeltas[index] ?? 0;
    if (!node || node.callFrame.functionName === "(idle)") return;
    busy += time;
    const name = nameOf(node);
    times.set(name, (times.get(name) ?? 0) + time);
  });
  return [...times]
    .map(([name, time]) => ({ name, percent: (100 * time) / busy }))
    .sort((one, other) => other.percent - one.percent);
}

function libraryOf({ url, functionName }: CallFrame): string {
  const installed = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (installed) return installed;
  const own = /\/((?:libs|services|bench)\/[^/]+|proto)\//.exec(url)?.[1];
  if (own) return own;
  if (url.startsWith("node:"))
    return url.replace(/^node:internal\/(\w+).*/, "node: $1").replace(/^node:(\w)/, "node: $1");
  return functionName.startsWith("(") ? functionName : "native code";
}

type Session = {
  send(method: string, params: Record<string, unknown>): Promise<Record<string, unknown>>;
  close(): void;
};

async function openSession(): Promise<Session> {
  const socket = new WebSocket(await inspectorUrl());
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error("the inspector can't be reached")), {
      once: true,
    });
  });
  const waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  socket.addEventListener("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("the inspector closed the session"));
  });
  socket.addEventListener("message", ({ data }) => {
    const message: unknown = JSON.parse(String(data));
    if (!isAnswer(message)) return;
    waiting.get(message.id)?.resolve(message.result);
    waiting.delete(message.id);
  });
  let id = 0;
  return {
    send: (method, params) => {
      id += 1;
      socket.send(JSON.stringify({ id, method, params }));
      const answer = Promise.withResolvers<Record<string, unknown>>();
      waiting.set(id, answer);
      return answer.promise;
    },
    close: () => socket.close(),
  };
}

// The next process to be profiled opens its own at the same port.
async function inspectorClosed(): Promise<void> {
  const deadline = performance.now() + OPEN_TIMEOUT_MS;
  while (await answers()) {
    if (performance.now() > deadline) throw new Error("the inspector does not close");
    await pause(POLL_MS);
  }
}

async function answers(): Promise<boolean> {
  try {
    await (await fetch(INSPECTOR)).text();
    return true;
  } catch {
    return false;
  }
}

async function inspectorUrl(): Promise<string> {
  const deadline = performance.now() + OPEN_TIMEOUT_MS;
  for (;;) {
    try {
      const targets = await (await fetch(INSPECTOR)).text();
      const url = /"webSocketDebuggerUrl":\s*"([^"]+)"/.exec(targets)?.[1];
      if (url) return url;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await pause(POLL_MS);
  }
}

type Answer = { readonly id: number; readonly result: Record<string, unknown> };

function isAnswer(value: unknown): value is Answer {
  return typeof value === "object" && value !== null && "id" in value && "result" in value;
}

function isProfile(value: unknown): value is Profile {
  return typeof value === "object" && value !== null && "samples" in value && "timeDeltas" in value;
}
