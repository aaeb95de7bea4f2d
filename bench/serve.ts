/** The servers that the services are measured against: `node bench/serve.ts KIND`. */
import { createLogger } from "#libs/boot";
import { serveConnectNode } from "./servers/connect-node.ts";
import { serveGathering, serveUnbatched } from "./servers/inventory.ts";
import { servePipeline } from "./servers/pipeline.ts";
import { serveTransactions } from "./servers/transactions.ts";

const kind = process.argv[2];
const address = process.env["RPC_ADDRESS"] ?? "";
const databaseUrl = process.env["DATABASE_URL"] ?? "";
// They log a line a call, as the services do.
const log = createLogger({ instance: kind ?? "", level: "info" });

switch (kind) {
  case "transactions":
    await serveTransactions(address, databaseUrl, log);
    break;
  case "gathering":
    await serveGathering(address, databaseUrl, log);
    break;
  case "unbatched":
    await serveUnbatched(address, databaseUrl, log);
    break;
  case "pipeline":
    await servePipeline(address, log);
    break;
  case "connect-node": {
    const at = address.lastIndexOf(":");
    await serveConnectNode(address.slice(0, at), Number(address.slice(at + 1)), log);
    break;
  }
  default:
    throw new Error("usage: RPC_ADDRESS=host:port node bench/serve.ts KIND");
}
