import { randomUUID } from "node:crypto";

export type TestBroker = {
  readonly url: string;
  /** Deletes the virtual host and all in it, connections too. */
  drop(): Promise<void>;
};

/**
 * Makes a virtual host of its own for a test on the broker at TEST_AMQP_URL, through the management API at
 * TEST_RABBITMQ_API_URL; `make test` sets both.
 */
export async function createTestBroker(): Promise<TestBroker> {
  const server = process.env["TEST_AMQP_URL"];
  const api = process.env["TEST_RABBITMQ_API_URL"];
  if (!server || !api) {
    throw new Error(
      "TEST_AMQP_URL or TEST_RABBITMQ_API_URL is not set: run `make test`, or under `node stack/test.ts -- `",
    );
  }
  return await createVirtualHost(server, api);
}

/** The same on another broker. */
export async function createVirtualHost(server: string, api: string): Promise<TestBroker> {
  const name = `test-${randomUUID()}`;
  const url = new URL(server);
  url.pathname = `/${name}`;
  const user = url.username === "" ? "guest" : url.username;
  await call(api, "PUT", `/api/vhosts/${name}`, {});
  await call(api, "PUT", `/api/permissions/${name}/${user}`, { configure: ".*", write: ".*", read: ".*" });
  return {
    url: url.href,
    drop: () => call(api, "DELETE", `/api/vhosts/${name}`),
  };
}

const API_TIMEOUT_MS = 20_000;

async function call(api: string, method: string, path: string, body?: object): Promise<void> {
  const address = new URL(path, api);
  const user = `${decodeURIComponent(address.username)}:${decodeURIComponent(address.password)}`;
  // A fetch takes no credentials in its address.
  address.username = "";
  address.password = "";
  const response = await fetch(address, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(user).toString("base64")}`,
      "content-type": "application/json",
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(API_TIMEOUT_MS),
  });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`${method} ${path} on the broker's management API: ${response.status}`);
}
