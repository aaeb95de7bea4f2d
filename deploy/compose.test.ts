import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { type ConfigSpec, readConfig } from "#libs/boot";
import { configSpec as inventorySpec } from "../services/inventory/config.ts";
import { configSpec as orderSpec } from "../services/order/config.ts";
import { ENVOY_VERSION } from "../stack/envoy.ts";
import {
  containerPorts,
  databases,
  GATEWAY_PORT,
  NODE_ENVIRONMENT,
  postgresSettings,
  rabbitmqSettings,
  SERVICES,
  type ServiceName,
  serviceVariables,
  YOUNG_GENERATION_FLAGS,
} from "../stack/system.ts";
import { brokerUserOf } from "./rabbitmq-definitions.ts";
import {
  type ComposeService,
  environmentIn,
  environmentOfStage,
  readComposition,
  readText,
  settingsIn,
  variablesIn,
} from "./testing.ts";

const text = readText("compose.yaml");
const dockerfile = readText("deploy/Dockerfile");
const { services } = readComposition(text, "at standards");
const specs: Readonly<Record<ServiceName, ConfigSpec>> = { order: orderSpec, inventory: inventorySpec };
const imageEnvironment = environmentOfStage(dockerfile, "service");

function part(name: string): ComposeService {
  const found = services[name];
  assert(found, `compose.yaml has no ${name}`);
  return found;
}

/** The whole environment of a service's process in its container. */
function environmentOf(service: string): Record<string, string> {
  // NODE_ENV is for the packages; the name of the instance comes from run-service.
  const { NODE_ENV: _, ...ofImage } = imageEnvironment;
  return { INSTANCE: `${service}-1`, ...ofImage, ...part(service).environment };
}

for (const service of SERVICES) {
  describe(`the container of ${service}`, () => {
    test("sets every variable that the service reads, and no other", () => {
      assert.deepEqual(Object.keys(environmentOf(service)).sort(), Object.keys(specs[service]).sort());
    });

    test("sets them so that the service takes them", () => {
      readConfig(specs[service], environmentOf(service));
    });

    test("has the variables of the one definition, with the same standards", () => {
      const defined = serviceVariables.filter((variable) => variable.services.includes(service));
      const environment = environmentOf(service);
      assert.deepEqual(defined.map(({ name }) => name).sort(), Object.keys(environment).sort());
      for (const { name, standard } of defined) {
        if (standard === undefined) continue;
        assert.equal(environment[name], standard, name);
        assert.equal(specs[service][name]?.default, standard, `the service's own standard of ${name}`);
      }
    });

    test("reaches its own database and its own user at the broker", () => {
      const { DATABASE_URL = "", AMQP_URL = "" } = environmentOf(service);
      const database = new URL(DATABASE_URL);
      assert.equal(database.pathname, `/${databases[service]}`);
      assert.equal(database.username, databases[service]);
      assert.equal(database.host, `postgres:${containerPorts.postgres}`);
      const broker = new URL(AMQP_URL);
      assert.equal(broker.username, brokerUserOf(service));
      assert.equal(broker.host, `rabbitmq:${containerPorts.amqp}`);
    });

    test("listens where the others and its check look for it", () => {
      const { RPC_ADDRESS, OPS_ADDRESS } = environmentOf(service);
      assert.equal(RPC_ADDRESS, `0.0.0.0:${containerPorts.rpc}`);
      assert.equal(OPS_ADDRESS, `0.0.0.0:${containerPorts.ops}`);
      assert.match(dockerfile, new RegExp(`^EXPOSE ${containerPorts.rpc} ${containerPorts.ops}$`, "m"));
    });

    test("is migrated by a container that is told the same", () => {
      const { command, environment } = part(`${service}-migrate`);
      assert.deepEqual(command, [service, "migrate"]);
      assert.deepEqual(environment, part(service).environment);
      assert.deepEqual(part(service).command, [service]);
    });

    test("finds its user made, with the password that it uses", () => {
      const variable = `${service.toUpperCase()}_DATABASE_PASSWORD`;
      const { databases: maker, [service]: own } = readComposition(text, "as they stand").services;
      assert.match(maker?.environment?.[variable] ?? "", new RegExp(`^\\$\\{${variable}:\\?`));
      const { DATABASE_URL = "", AMQP_URL = "" } = own?.environment ?? {};
      assert(DATABASE_URL.includes(`:\${${variable}:?`));
      const ofBroker = `${service.toUpperCase()}_BROKER_PASSWORD`;
      assert(part("definitions").environment?.[ofBroker]);
      assert(AMQP_URL.includes(`:\${${ofBroker}:?`));
    });
  });
}

test("order calls inventory by its name in the network", () => {
  assert.equal(environmentOf("order")["INVENTORY_URL"], `http://inventory:${containerPorts.rpc}`);
});

describe("the gateway", () => {
  const configuration: unknown = parse(readText("gateway/envoy.yaml"), { maxAliasCount: -1 });
  const addresses = [
    ...JSON.stringify(configuration).matchAll(/"address":"([^"]+)","port_value":(\d+)/g),
  ].map(([, host, port]) => `${host}:${port}`);

  test("calls the services by their names and ports in the network", () => {
    for (const service of SERVICES) assert(addresses.includes(`${service}:${containerPorts.rpc}`), service);
  });

  test("listens on the port that is published, on loopback unless told otherwise", () => {
    assert(addresses.includes(`0.0.0.0:${containerPorts.gateway}`));
    assert.deepEqual(part("envoy").ports, [`127.0.0.1:${GATEWAY_PORT}:${containerPorts.gateway}`]);
  });

  test("is the only part that a port is published of, and reaches no store", () => {
    const published = Object.keys(services).filter((name) => services[name]?.ports);
    assert.deepEqual(published, ["envoy"]);
    assert.deepEqual(part("envoy").networks, ["services"]);
    assert.deepEqual(part("postgres").networks, ["stores"]);
    assert.deepEqual(part("rabbitmq").networks, ["stores"]);
  });
});

describe("settings", () => {
  const documented = environmentIn(readText(".env.example"));

  test("of compose.yaml stand in .env.example with the same standards", () => {
    for (const [name, standard] of variablesIn(text)) {
      // Those are made, by make_passwords and build in compose.sh.
      if (name.endsWith("_PASSWORD") || name === "HOLDFAST_REVISION") continue;
      assert.equal(documented.get(name), standard, name);
    }
  });

  test("of Node's memory are the same as wherever else the project runs a service", () => {
    const script = readText("deploy/run-service");
    assert.match(script, new RegExp(`exec node ${YOUNG_GENERATION_FLAGS.join(" ")} "services/`));
    const { NODE_ENV: _, ...ofMalloc } = NODE_ENVIRONMENT;
    for (const [name, value] of Object.entries(ofMalloc))
      assert.match(script, new RegExp(`^export ${name}=${value}$`, "m"));
  });

  test("of Postgres are the same as wherever else the project runs it", () => {
    const settings = settingsIn(readText("deploy/postgres.conf"));
    for (const [name, value] of Object.entries(postgresSettings))
      assert.equal(settings.get(name), value, name);
  });

  test("of RabbitMQ are the same as wherever else the project runs it", () => {
    const settings = settingsIn(readText("deploy/rabbitmq.conf"));
    for (const [name, value] of Object.entries(rabbitmqSettings))
      assert.equal(settings.get(name), value, name);
  });
});

describe("images", () => {
  const bases = [...dockerfile.matchAll(/^FROM (\S+) AS (\S+)$/gm)];
  const stages = new Set(bases.map(([, , stage]) => stage));
  const foreign = [
    ...bases.map(([, image = ""]) => image),
    ...Object.values(services).map(({ image }) => image),
  ].filter((image) => !stages.has(image));

  test("all name a version", () => {
    for (const image of foreign) assert.match(image, /^[a-z/-]+:v?\d[\w.-]*$/);
  });

  test("of the project have the version of the project", () => {
    const { version }: { version: string } = JSON.parse(readText("package.json"));
    const own = Object.values(services).filter(({ build }) => build);
    assert(own.length > 0);
    for (const { image } of own) assert.match(image, new RegExp(`^holdfast(-\\w+)?:${version}$`));
    const labels = [...dockerfile.matchAll(/image\.version="([^"]+)"/g)].map(([, found]) => found);
    assert.deepEqual(new Set(labels), new Set([version]));
  });

  test("are based on the Envoy and the Node that the project is tried with", () => {
    assert(foreign.includes(`envoyproxy/envoy:v${ENVOY_VERSION}`));
    const { engines }: { engines: { node: string } } = JSON.parse(readText("package.json"));
    const node = foreign.filter((image) => image.startsWith("node:"));
    assert.deepEqual(new Set(node), new Set([`node:${/\d+/.exec(engines.node)?.[0]}-slim`]));
  });

  test("name as their base what they are built on", () => {
    for (const [, base = ""] of dockerfile.matchAll(/base\.name="docker\.io\/(?:library\/)?([^"]+)"/g))
      assert(foreign.includes(base), base);
  });

  test("get nothing into their build that .dockerignore does not let in by name", () => {
    const lines = readText(".dockerignore").split("\n");
    const rules = lines.filter((line) => line !== "" && !line.startsWith("#"));
    assert.equal(rules[0], "*");
    const admitted = rules.filter((rule) => rule.startsWith("!")).map((rule) => rule.slice(1));
    assert.deepEqual(
      admitted.filter((path) => /^\.|env|secret/.test(path)),
      [],
    );
    for (const tests of ["**/*.test.ts", "**/testing", "**/testing.ts", "**/*.fixture.ts"])
      assert(rules.includes(tests), tests);
  });
});

for (const [name, one] of Object.entries(services)) {
  test(`the container of ${name} has no right that it does not need, and limits to what it takes`, () => {
    assert.deepEqual(one.cap_drop, ["ALL"]);
    assert.deepEqual(one.security_opt, ["no-new-privileges:true"]);
    // RabbitMQ writes beside its own configuration.
    assert.equal(one.read_only ?? false, name !== "rabbitmq");
    assert(one.mem_limit);
    assert(one.logging?.options?.["max-size"] && one.logging.options["max-file"]);
  });
}

test("no password stands in compose.yaml", () => {
  for (const [, value = ""] of text.matchAll(/PASSWORD: (.*)$/gm)) assert.match(value, /^\$\{\w+:\?[^}]+\}$/);
  for (const [, password = ""] of text.matchAll(/:\/\/\w+:([^@\n]*)@/g))
    assert.match(password, /^\$\{\w+:\?[^}]+\}$/);
});
