import { makeThrowAwayFolder } from "../stack/folder.ts";
import { runSupervised } from "../stack/program.ts";
import { startSystem } from "../stack/stack.ts";
import type { Supervisor } from "../stack/supervisor.ts";
import type { Narrator } from "./narrator.ts";

/** Two of each service, so that they race each other. */
const INSTANCES = 2;

/**
 * Tells the story on a stack of its own, which is gone afterwards, and ends this process with the status
 * that it returns.
 */
export async function runOnOwnStack(
  narrator: Narrator,
  tell: (gatewayUrl: string) => Promise<number>,
): Promise<never> {
  /** Shows what a stack says of itself, but for what the story tells anyway. */
  function log(line: string): void {
    if (line.startsWith("stopping")) narrator.interrupt();
    if (!line.endsWith(" is ready")) narrator.note(line);
  }

  async function onOwnStack(supervisor: Supervisor): Promise<number> {
    let gatewayUrl = "";
    await narrator.step("Postgres, RabbitMQ, Envoy and two instances of each service", async () => {
      const options = { ports: "free", order: INSTANCES, inventory: INSTANCES, throwAway: true } as const;
      ({ gatewayUrl } = await startSystem(supervisor, { folder: supervisor.folder, ...options, log }));
      return "ready";
    });
    const status = await tell(gatewayUrl);
    // Its data is thrown away, so there is nothing that an end in good order would save.
    await supervisor.stop(true);
    return status;
  }

  return await runSupervised({ folder: makeThrowAwayFolder("demo"), throwAway: true, log }, onOwnStack);
}
