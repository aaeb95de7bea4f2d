/**
 * The process of one instance: `node services/inventory/main.ts`. `... main.ts migrate` prepares its
 * database, and `... main.ts archive MONTHS` takes out of use what ended more than that many months ago.
 */
import { join } from "node:path";
import { createLogger, createMetrics, runProcess, type Stoppable, startOpsServer } from "#libs/boot";
import { checkMigrations, migrate, pendingMigrations, readMigrations, type Sql } from "#libs/db";
import { connectBroker, createEventMetrics, createOutboxReadiness, createOutboxRelay } from "#libs/events";
import { STANDARD_STOP, startRpcServer } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { createInventoryServices } from "./api.ts";
import { createChanges } from "./changes.ts";
import { type InventoryConfig, readInventoryConfig } from "./config.ts";
import { consumeOrders, consumeReservationNudges } from "./events.ts";
import { createExpiry } from "./expiry.ts";
import { createStockMetrics } from "./metrics.ts";
import { createOutcomes } from "./outcomes.ts";
import { archive } from "./store/archive.ts";
import { connectStore, UPKEEP_TIMEOUT_MS, VERIFICATION_TIMEOUT_MS } from "./store/connect.ts";
import { ensurePartitions } from "./store/partitions.ts";
import { pingStore } from "./store/ping.ts";
import { startTimers } from "./timers.ts";

const MIGRATIONS = join(import.meta.dirname, "migrations");
/** A year can be listed and audited in place. */
const ARCHIVE_AFTER_MONTHS = 13;

const config = readInventoryConfig(process.env);
const log = createLogger({ instance: config.instance, level: config.logLevel });
const [command, argument] = process.argv.slice(2);

if (command === "migrate") {
  await withStore(config, async (sql) => {
    const applied = await migrate(sql, MIGRATIONS);
    log.info({ applied, partitions: await ensurePartitions(sql) }, "the database is up to date");
  });
} else if (command === "archive") {
  const months = Number(argument ?? ARCHIVE_AFTER_MONTHS);
  if (!Number.isInteger(months) || months < 1) throw new Error("archive takes a number of months, 1 or more");
  await withStore(config, async (sql) => {
    log.info(await archive(sql, months), "what is old was taken out of use");
  });
} else {
  await runProcess(log, () => start(config));
}

async function withStore(
  { databaseUrl, instance }: InventoryConfig,
  work: (sql: Sql) => Promise<void>,
): Promise<void> {
  const sql = connectStore(databaseUrl, `${instance} ${command}`, UPKEEP_TIMEOUT_MS);
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}

async function start({ instance, databaseUrl, ...rest }: InventoryConfig): Promise<Stoppable> {
  const { registry, observeCall } = createMetrics();
  const metrics = createStockMetrics(registry);
  const eventMetrics = createEventMetrics(registry);

  const sql = connectStore(databaseUrl, instance);
  const ledgerSql = connectStore(databaseUrl, `${instance} verify`, VERIFICATION_TIMEOUT_MS);
  const migrations = await readMigrations(MIGRATIONS);
  const pending = await pendingMigrations(sql, migrations);
  if (pending.length > 0) {
    throw new Error(`the database lacks ${pending.join(", ")}: run main.ts migrate first`);
  }
  await ensurePartitions(sql);
  const broker = connectBroker({ url: rest.amqpUrl, name: instance, log });
  const checkOutbox = createOutboxReadiness({ sql, broker });
  const relay = createOutboxRelay({ sql, broker, log, metrics: eventMetrics });
  const changes = createChanges({ sql, publish: relay.publish, metrics, nudges: rest.expiryNudges });
  const expiry = createExpiry({ sql, changes, log });
  const outcomes = createOutcomes({ sql, publish: relay.publish });

  const timers = startTimers({ sql, expiry, outcomes, sweeper: rest.expirySweeper, log });
  const orders = consumeOrders({ sql, broker, changes, outcomes, log, metrics: eventMetrics });
  const nudges = rest.expiryNudges
    ? consumeReservationNudges({ sql, broker, expiry, log, metrics: eventMetrics })
    : undefined;
  const rpc = await startRpcServer({
    address: rest.rpcAddress,
    services: createInventoryServices({ sql, ledgerSql, changes }),
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
    notes: () => ({ broker: broker.state() }),
  });
  log.info({ rpc: rpc.address, ops: ops.address }, "the service is ready");

  return {
    stop: async () => {
      ops.setStopping();
      await rpc.stop(STANDARD_STOP);
      expiry.stop();
      outcomes.stop();
      await Promise.all([timers.stop(), orders.stop(), nudges?.stop()]);
      await changes.stop();
      await relay.stop();
      await broker.stop();
      await Promise.all([sql.end({ timeout: 1 }), ledgerSql.end({ timeout: 1 })]);
      await ops.stop();
    },
  };
}
