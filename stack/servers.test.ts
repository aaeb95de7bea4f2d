import assert from "node:assert/strict";
import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import amqp from "amqplib";
import postgres from "postgres";
import { makeThrowAwayFolder } from "./folder.ts";
import { ensureOwnedDatabase } from "./postgres.ts";
import { type Servers, startServers } from "./servers.ts";
import { createSupervisor, type Supervisor } from "./supervisor.ts";
import { serverPortsOnFreePorts } from "./system.ts";
import { lives, until } from "./testing.ts";

const folder = makeThrowAwayFolder("servers");
let supervisor: Supervisor;
let servers: Servers;

before(async () => {
  supervisor = await createSupervisor({ folder, throwAway: true, log: () => {} });
  const ports = await serverPortsOnFreePorts();
  servers = await startServers(supervisor, { ports, throwAway: true, given: {}, log: () => {} });
});

after(() => supervisor.stop());

test("a broker that is killed comes back with its queues and persistent messages", async () => {
  await withChannel(async (channel) => {
    await channel.assertQueue("kept", { durable: true, arguments: { "x-queue-type": "quorum" } });
    channel.sendToQueue("kept", Buffer.from("still here"), { persistent: true });
    await channel.waitForConfirms();
  });
  // A new quorum queue stands in the broker's own register on disk about half a second later; until then
  // only its messages would survive, in a log that nobody knows.
  await until("the queue is registered on disk", () => registers().some((text) => text.includes("kept")));
  await killAndReturn("rabbitmq");
  await withChannel(async (channel) => {
    await until("the message is there", async () => {
      const message = await channel.get("kept", { noAck: true });
      return message !== false && message.content.toString() === "still here";
    });
  });
});

test("a Postgres that is killed comes back with what was committed", async () => {
  await withSql(servers.adminDatabaseUrl, (sql) => sql`create table kept as select 42 as answer`);
  await killAndReturn("postgres");
  const rows = await withSql(servers.adminDatabaseUrl, (sql) => sql`select answer from kept`);
  assert.deepEqual([...rows], [{ answer: 42 }]);
});

test("a service's user owns its database and can't enter another one", async () => {
  const mine = await ensureOwnedDatabase(servers.adminDatabaseUrl, "holdfast_mine");
  const yours = new URL(await ensureOwnedDatabase(servers.adminDatabaseUrl, "holdfast_yours"));
  assert.equal(await ensureOwnedDatabase(servers.adminDatabaseUrl, "holdfast_mine"), mine);
  await withSql(mine, (sql) => sql`create table things (id int primary key)`);
  yours.username = "holdfast_mine";
  await assert.rejects(
    withSql(yours.href, (sql) => sql`select 1`),
    /permission denied for database/,
  );
});

test("both listen on the loopback address only, and need the password", async () => {
  const url = new URL(servers.adminDatabaseUrl);
  url.password = "wrong";
  await assert.rejects(
    withSql(url.href, (sql) => sql`select 1`),
    /password authentication failed/,
  );
  const broker = new URL(servers.amqpUrl);
  broker.username = "guest";
  broker.password = "guest";
  await assert.rejects(amqp.connect(broker.href), /ACCESS_REFUSED/);
});

test("after the stop no process is left that had to do with the folder", async () => {
  const pids = supervisor.processes().map((one) => one.pid() ?? 0);
  assert.equal(pids.length, 3);
  await supervisor.stop();
  await until("all have ended", () => !pids.some(lives));
  if (process.platform === "linux") assert.deepEqual(commandLinesWith(folder), []);
});

function registers(): string[] {
  return globSync(join(folder, "rabbitmq", "data", "**", "names.dets")).map((path) =>
    readFileSync(path, "latin1"),
  );
}

async function killAndReturn(name: string): Promise<void> {
  const one = supervisor.process(name);
  const killed = one.pid();
  await one.kill("SIGKILL");
  await one.ready();
  assert.notEqual(one.pid(), killed);
}

async function withChannel(work: (channel: amqp.ConfirmChannel) => Promise<void>): Promise<void> {
  const connection = await amqp.connect(servers.amqpUrl);
  connection.on("error", () => {});
  try {
    await work(await connection.createConfirmChannel());
  } finally {
    await connection.close();
  }
}

async function withSql<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

function commandLinesWith(text: string): string[] {
  const own = String(process.pid);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && name !== own)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    })
    .filter((line) => line.includes(text));
}
