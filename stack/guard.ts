/**
 * Outlives a stack that dies. It waits for the end of its standard input, whose other end only the stack
 * has, and then ends what is still in the stack's record: nothing, when the stack stopped in good order.
 */
import { endLeftovers } from "./record.ts";

const folder = process.argv[2];
if (!folder) throw new Error("usage: node stack/guard.ts FOLDER");

// Ctrl-C and the closing of the terminal concern the stack; only the end of the pipe concerns the guard.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

for await (const _ of process.stdin);
const ended = await endLeftovers(folder);
if (ended.length > 0)
  console.log(`${new Date().toISOString()} the stack had died; ended ${ended.join(", ")}`);
