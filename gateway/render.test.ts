import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { parse } from "yaml";
import { STANDARD_STOP } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { findEnvoy } from "../stack/envoy.ts";
import { buildDescriptor, renderGateway } from "./render.ts";

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-render-"));
});

after(() => rm(folder, { recursive: true }));

/** Fails with what Envoy says if it does not take the configuration. */
async function validate(config: string, cwd: string): Promise<void> {
  const envoy = await findEnvoy((line) => process.stderr.write(`${line}\n`));
  const args = ["--mode", "validate", "-c", config, "--disable-hot-restart", "--log-level", "critical"];
  const { stdout } = await promisify(execFile)(envoy, args, { cwd });
  assert.match(stdout, /OK/);
}

test("the configuration as deployed is one that Envoy takes", async () => {
  for (const name of ["envoy.yaml", "health.lua"])
    await copyFile(join(import.meta.dirname, name), join(folder, name));
  await buildDescriptor(join(folder, "holdfast.binpb"));
  await validate("envoy.yaml", folder);
});

test("the copy for one machine has its addresses and nothing of the deployed ones", async () => {
  const path = await renderGateway({
    listen: "127.0.0.1:19000",
    admin: "127.0.0.1:19001",
    clusters: { order: ["127.0.0.1:19002", "127.0.0.1:19003"], inventory: ["[::1]:19004"] },
    folder: join(folder, "new", "folder"),
  });
  const text = await readFile(path, "utf8");
  const ports = [...text.matchAll(/"port_value": (\d+)/g)].map(([, port]) => Number(port));
  assert.deepEqual(ports, [19001, 19000, 19002, 19003, 19004]);
  assert.match(text, /"address": "::1"/);
  await validate(path, "/");
});

test("an address without a port is refused", async () => {
  const addresses = {
    listen: "127.0.0.1",
    admin: "127.0.0.1:19001",
    clusters: { order: [], inventory: [] },
    folder,
  };
  await assert.rejects(renderGateway(addresses), /127\.0\.0\.1 is not host:port/);
});

test("a service tells that it stops until the gateway has seen it, however slow the answers", async () => {
  const { static_resources } = parse(await readFile(join(import.meta.dirname, "envoy.yaml"), "utf8"));
  const checks = [...static_resources.clusters].flatMap(({ health_checks }) => health_checks ?? []);
  assert.equal(checks.length, 2);
  for (const { interval, timeout, unhealthy_threshold } of checks) {
    const seenAfterSeconds = unhealthy_threshold * (Number.parseFloat(interval) + Number.parseFloat(timeout));
    assert.ok(seenAfterSeconds * 1_000 <= STANDARD_STOP.noticeMs, `seen after ${seenAfterSeconds} s`);
  }
});

describe("every method of the contract has one route", async () => {
  const text = await readFile(join(import.meta.dirname, "envoy.yaml"), "utf8");
  const routes = [
    ...text.matchAll(
      /regex: "\/holdfast\\\\\.(\w+)\S*\((\w+(?:\|\w+)*)\)"\s+route:([\s\S]*?)(?=- match|clusters:)/g,
    ),
  ];

  function routesOf(method: DescMethod): { isRead: boolean; cluster: string }[] {
    return routes
      .filter(
        ([, name, methods]) =>
          method.parent.typeName.includes(`.${name}.`) && methods?.split("|").includes(method.name),
      )
      .map(([, , , route = ""]) => ({
        isRead: route.includes("*read") || route.includes("&read"),
        cluster: /cluster: (\w+)/.exec(route)?.[1] ?? "",
      }));
  }

  for (const [service, cluster] of [
    [OrderService, "order"],
    [InventoryService, "inventory"],
  ] as const) {
    for (const method of service.methods) {
      const isRead = method.idempotency === Idempotency.NO_SIDE_EFFECTS;
      test(`${method.name} is retried as a ${isRead ? "read" : "write"} of ${cluster}`, () => {
        assert.deepEqual(routesOf(method), [{ isRead, cluster }]);
      });
    }
  }
});
