/**
 * `make dead-letters`: lists the messages that were put aside, and with ARGS="..." shows, replays or drops
 * them. Status 0: done; 1: there is no such message, or the command is not one; 2: the broker could not be
 * reached.
 */
import { join } from "node:path";
import { createRegistry } from "@bufbuild/protobuf";
import { openDeadLetters } from "#libs/events";
import { file_holdfast_inventory_v1_events } from "#proto/holdfast/inventory/v1/events_pb.ts";
import { file_holdfast_order_v1_events } from "#proto/holdfast/order/v1/events_pb.ts";
import { describeFailure } from "../stack/problem.ts";
import { DEV_FOLDER, findAmqpUrl } from "./addresses.ts";
import { runDeadLetters } from "./dead-letters/commands.ts";

const COULD_NOT_LOOK = 2;

const registry = createRegistry(file_holdfast_order_v1_events, file_holdfast_inventory_v1_events);
const { DROPPED_LOG: droppedLog = join(DEV_FOLDER, "log", "dropped-dead-letters.jsonl") } = process.env;
const [, , ...words] = process.argv;

try {
  const letters = await openDeadLetters({ url: findAmqpUrl(process.env), registry });
  try {
    process.exitCode = await runDeadLetters({ letters, droppedLog, say: console.log }, words);
  } finally {
    await letters.close();
  }
} catch (error) {
  console.error(describeFailure(error));
  process.exitCode = COULD_NOT_LOOK;
}
