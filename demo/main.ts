/**
 * `make demo`: shows what Holdfast does, and ends with status 0 only if every number is as computed
 * beforehand.
 */
import { describeFailure, Problem } from "../stack/problem.ts";
import { answersOk } from "../stack/service.ts";
import { audit } from "./audit.ts";
import { createNarrator, screenOf } from "./narrator.ts";
import { openTheDoors } from "./opening.ts";
import { endOrders, placeOrders } from "./orders.ts";
import { eventually } from "./patience.ts";
import { rushForTheLast } from "./rush.ts";
import { openShop, type Shop } from "./shop.ts";

/** A stack that was given may be starting still, or have lost a part for a moment. */
const GIVEN_STACK_TIMEOUT_MS = 30_000;

const narrator = createNarrator(screenOf(process.stdout));

async function onGivenStack(gatewayUrl: string): Promise<number> {
  await narrator.step(`The stack at ${gatewayUrl}`, async () => {
    const ask = () => answersOk(`${gatewayUrl}/healthz`);
    if (await eventually(ask, (isWell) => isWell, GIVEN_STACK_TIMEOUT_MS)) return "ready";
    throw new Problem(
      `${gatewayUrl}/healthz does not say that all is well.`,
      "Start the stack first, or leave GATEWAY_URL out and the demo starts its own.",
    );
  });
  return await tell(openShop(gatewayUrl, false));
}

/** Tells the whole story, and returns the status that it ends with. */
async function tell(shop: Shop): Promise<number> {
  await openTheDoors(shop, narrator);
  const purchases = await placeOrders(shop, narrator);
  await endOrders(shop, narrator, purchases);
  await rushForTheLast(shop, narrator);
  await audit(shop, narrator);
  const { retries } = shop.troubles;
  if (retries > 0)
    narrator.say(`${retries} calls were sent again under their request_id, as any client may.`);
  return narrator.verdict();
}

narrator.title("Holdfast", "Orders and stock reservations that are right, shown on real parts.");
narrator.chapter("The stack");
const { GATEWAY_URL: given } = process.env;
if (given) {
  try {
    process.exitCode = await onGivenStack(given.replace(/\/+$/, ""));
  } catch (error) {
    console.error(`\n${describeFailure(error)}`);
    process.exitCode = 1;
  }
} else {
  // Loaded only where it is wanted: the image of the demo brings no servers.
  const { runOnOwnStack } = await import("./own-stack.ts");
  await runOnOwnStack(narrator, (gatewayUrl) => tell(openShop(gatewayUrl, true)));
}
