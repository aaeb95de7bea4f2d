import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { DeadLetter, DeadLetters } from "#libs/events";
import { QUEUES } from "../queues.ts";

export type Desk = {
  readonly letters: DeadLetters;
  /** Takes a line of JSON for each message that is dropped, before it is. */
  readonly droppedLog: string;
  say(line: string): void;
};

export const USAGE = [
  "list                 what was put aside, oldest first, at most 100 of each queue",
  "show ID              one of them in full",
  "replay ID            give it back to its queue, with all its retries before it",
  "replay all [QUEUE]   give all back that are there now",
  "drop ID REASON...    remove it for good; it is written to a file with the reason",
] as const;

/** Messages of a queue that are listed. */
const LISTED = 100;

/** Carries out one command and returns the status to end with. */
export async function runDeadLetters(desk: Desk, words: readonly string[]): Promise<number> {
  const [command = "list", target = "", ...rest] = words;
  switch (command) {
    case "list":
      return await list(desk);
    case "show":
      return await withLetter(desk, target, (letter) => sayWhole(desk, letter));
    case "replay":
      if (target === "all") return await replayAll(desk, rest);
      return await withLetter(desk, target, (letter, destination) => replay(desk, letter, destination));
    case "drop":
      if (rest.length === 0) return usage(desk, "A message is dropped with a reason.");
      return await withLetter(desk, target, (letter) => drop(desk, letter, rest.join(" ")));
    default:
      return usage(desk, `"${command}" is no command.`);
  }
}

function usage({ say }: Desk, what: string): number {
  say(what);
  for (const line of USAGE) say(`  ${line}`);
  return 1;
}

async function list({ letters, say }: Desk): Promise<number> {
  let total = 0;
  for (const queue of QUEUES) {
    const count = await letters.count(queue);
    total += count;
    if (count === 0) continue;
    say(`${queue}: ${count}`);
    for (const letter of await letters.list(queue, LISTED)) {
      const { messageId, type, reason, detail, deadTime } = letter;
      say(`  ${deadTime?.toISOString() ?? "at a time unknown"}  ${messageId}  ${type}  ${reason}  ${detail}`);
    }
    if (count > LISTED) say(`  and ${count - LISTED} more`);
  }
  say(total === 0 ? "There are no dead letters." : `${total} dead letters.`);
  return 0;
}

async function withLetter(
  desk: Desk,
  messageId: string,
  act: (letter: DeadLetter, destination: string) => Promise<void> | void,
): Promise<number> {
  for (const queue of QUEUES) {
    const letter = messageId === "" ? undefined : await desk.letters.show(queue, messageId);
    if (!letter) continue;
    // What was lost was for another queue than the one that it is listed under.
    await act({ ...letter, queue }, letter.queue);
    return 0;
  }
  return usage(desk, messageId === "" ? "Which one?" : `There is no dead letter ${messageId}.`);
}

function sayWhole({ say }: Desk, letter: DeadLetter): void {
  say(JSON.stringify(jsonOf(letter), null, 2));
}

async function replay({ letters, say }: Desk, letter: DeadLetter, destination: string): Promise<void> {
  const { queue, messageId, type } = letter;
  const isDone = await letters.replay(queue, messageId);
  say(isDone ? `${type} ${messageId} is back in ${destination}.` : `${messageId} was gone already.`);
}

async function replayAll(desk: Desk, [only]: readonly string[]): Promise<number> {
  const queues = only === undefined ? QUEUES : QUEUES.filter((queue) => queue === only);
  if (queues.length === 0) return usage(desk, `"${only}" is none of ${QUEUES.join(", ")}.`);
  let [replayed, kept] = [0, 0];
  for (const queue of queues) {
    const done = await desk.letters.replayAll(queue);
    replayed += done.replayed;
    kept += done.kept;
  }
  desk.say(`${replayed} messages are back in their queues.`);
  if (kept > 0) desk.say(`${kept} stay dead letters: the queues that they were for do not exist.`);
  return 0;
}

async function drop({ letters, droppedLog, say }: Desk, letter: DeadLetter, reason: string): Promise<void> {
  // Written first: a message that is gone and in no file would be lost.
  mkdirSync(dirname(droppedLog), { recursive: true });
  const record = { dropTime: new Date().toISOString(), dropReason: reason, ...jsonOf(letter) };
  appendFileSync(droppedLog, `${JSON.stringify(record)}\n`);
  const dropped = await letters.drop(letter.queue, letter.messageId);
  say(dropped ? `${letter.messageId} is dropped, and written to ${droppedLog}.` : "It was gone already.");
}

function jsonOf({ bytes, ...letter }: DeadLetter) {
  return {
    ...letter,
    deadTime: letter.deadTime?.toISOString(),
    base64: Buffer.from(bytes).toString("base64"),
  };
}
