/**
 * The process of one instance: `node services/order/main.ts`, or `... main.ts migrate` to prepare its
 * database.
 */
import { join } from "node:path";
import { createLogger, createMetrics, runProcess, type Stoppable, startOpsServer } from "#libs/boot";
import { checkMigrations, migrate, pendingMigrations, readMigrations } from "#libs/db";
import { connectBroker, createEventMetrics, createOutboxReadiness, createOutboxRelay } from "#libs/events";
import { STANDARD_STOP, startRpcServer } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { createAnnouncer } from "./announcer.ts";
import { createChanges } from "./api/changes.ts";
import { createPlacement } from "./api/placement.ts";
import { createReserving } from "./api/reserving.ts";
import { createSettlement } from "./api/settlement.ts";
import { createOrderService } from "./api.ts";
import { type OrderConfig, readOrderConfig } from "./config.ts";
import { consumeMissedOutcomes, consumeOrderNudges } from "./events.ts";
import { createExpiry } from "./expiry.ts";
import { connectInventory } from "./inventory.ts";
import { createOrderMetrics } from "./metrics.ts";
import { connectStore, UPKEEP_TIMEOUT_MS } from "./store/connect.ts";
import { pingStore } from "./store/ping.ts";
import { startTimers } from "./timers.ts";

const MIGRATIONS = join(import.meta.dirname, "migrations");

const config = readOrderConfig(process.env);
const log = createLogger({ instance: config.instance, level: config.logLevel });

if (process.argv[2] === "migrate") await migrateDatabase(config);
else await runProcess(log, () => start(config));

async function migrateDatabase({ databaseUrl, instance }: OrderConfig): Promise<void> {
  const sql = connectStore(databaseUrl, `${instance} migrate`, UPKEEP_TIMEOUT_MS);
  try {
    log.info({ applied: await migrate(sql, MIGRATIONS) }, "the database is up to date");
  } finally {
    await sql.end();
  }
}

async function start({ instance, databaseUrl, ...rest }: OrderConfig): Promise<Stoppable> {
  const { registry, observeCall } = createMetrics();
  const metrics = createOrderMetrics(registry);
  const eventMetrics = createEventMetrics(registry);

  const sql = connectStore(databaseUrl, instance);
  const migrations = await readMigrations(MIGRATIONS);
  const pending = await pendingMigrations(sql, migrations);
  if (pending.length > 0)
    throw new Error(`the database lacks ${pending.join(", ")}: run main.ts migrate first`);
  const broker = connectBroker({ url: rest.amqpUrl, name: instance, log });
  const checkOutbox = createOutboxReadiness({ sql, broker });
  const relay = createOutboxRelay({ sql, broker, log, metrics: eventMetrics });
  const announcer = createAnnouncer(relay.publish, { nudges: rest.expiryNudges });
  const inventory = connectInventory({ urls: rest.inventoryUrls, log, metrics });

  const reserving = createReserving(inventory.reserveOrders, metrics);
  const placement = createPlacement({ sql, reserving, announcer, metrics });
  const changes = createChanges({ sql, announcer, metrics });
  const settlement = createSettlement({ changes, reserving });
  const expiry = createExpiry({ sql, announcer, metrics });
  const { expirySweeper: sweeper, recoveryAfterMs } = rest;
  const timers = startTimers({ sql, expiry, sweeper, recoveryAfterMs, log });
  const nudges = rest.expiryNudges
    ? consumeOrderNudges({ sql, broker, expiry, log, metrics: eventMetrics })
    : undefined;
  const missed = consumeMissedOutcomes({ sql, broker, announcer, log, metrics: eventMetrics });

  const rpc = await startRpcServer({
    address: rest.rpcAddress,
    services: [createOrderService({ sql, placement, settlement, changes })],
    reflected: [OrderService, InventoryService],
    log,
    observe: observeCall,
  });
  const ops = await startOpsServer({
    address: rest.opsAddress,
    registry,
    log,
    readiness: async () => ({
      database: await pingStore(sql),
      migrations: await checkMigrations(sql, migrations),
      outbox: await checkOutbox(),
    }),
    notes: () => ({ broker: broker.state(), inventory: `circuit ${inventory.circuit()}` }),
  });
  log.info({ rpc: rpc.address, ops: ops.address }, "the service is ready");

  return {
    stop: async () => {
      ops.setStopping();
      await rpc.stop(STANDARD_STOP);
      expiry.stop();
      await Promise.all([placement.stop(), settlement.stop(), timers.stop(), nudges?.stop(), missed.stop()]);
      await Promise.all([reserving.stop(), changes.stop()]);
      await relay.stop();
      await broker.stop();
      await sql.end({ timeout: 1 });
      await ops.stop();
    },
  };
}
