/** Asks for as many ports as its argument says, prints them, and lives until its input ends. */
import { findFreePorts } from "./ports.ts";

console.log(JSON.stringify(await findFreePorts(Number(process.argv[2]))));
process.stdin.resume();
