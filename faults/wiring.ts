import { type Gate, startGate } from "./gate.ts";
import { type FaultProxy, type ProxyCounts, startProxy, type Weather } from "./proxy.ts";

/** What a service talks to. */
export type Target = "postgres" | "rabbitmq" | "inventory";

/** The proxies between the services and what they talk to, one for each service and each server. */
export type Wiring = {
  /** Gives an instance the addresses of proxies instead of the servers'. */
  rewire(instance: string, env: Readonly<Record<string, string>>): Promise<Readonly<Record<string, string>>>;
  setWeather(target: Target, weather: Weather): void;
  reset(target: Target): void;
  halfOpen(target: Target): void;
  /** What has happened on the way to a target. */
  counts(target: Target): ProxyCounts;
  /** Those before Inventory's instances, if the wiring has them. */
  readonly gates: readonly Gate[];
  stop(): Promise<void>;
};

const variables: Readonly<Record<Target, string>> = {
  postgres: "DATABASE_URL",
  rabbitmq: "AMQP_URL",
  inventory: "INVENTORY_URL",
};
const targets: readonly Target[] = ["postgres", "rabbitmq", "inventory"];

export type WiringOptions = {
  /** Further variables of an instance. */
  readonly change?: (instance: string) => Readonly<Record<string, string>>;
  /** Whether gates stand before Inventory's instances, behind the proxies. */
  readonly hasGates?: boolean;
};

/** Makes the wiring of one stack. */
export function createWiring({ change = () => ({}), hasGates = false }: WiringOptions = {}): Wiring {
  const gates: Gate[] = [];
  const proxies = new Map<string, { readonly target: Target; readonly proxy: Promise<FaultProxy> }>();
  const ready: Record<Target, FaultProxy[]> = { postgres: [], rabbitmq: [], inventory: [] };

  async function through(target: Target, service: string, url: string): Promise<string> {
    const address = new URL(url);
    const key = `${service} ${target} ${address.host}`;
    let known = proxies.get(key);
    if (!known) {
      known = { target, proxy: startBefore(target, address.host) };
      proxies.set(key, known);
      ready[target].push(await known.proxy);
    }
    address.host = (await known.proxy).address;
    return address.href.replace(/\/$/, "");
  }

  async function startBefore(target: Target, host: string): Promise<FaultProxy> {
    if (target !== "inventory" || !hasGates) return await startProxy(host);
    const gate = await startGate(host);
    gates.push(gate);
    return await startProxy(gate.address);
  }

  async function rewire(instance: string, env: Readonly<Record<string, string>>) {
    const service = instance.replace(/-\d+$/, "");
    const rewired: Record<string, string> = { ...env };
    for (const target of targets) {
      const name = variables[target];
      const urls = env[name]?.split(",") ?? [];
      if (urls.length === 0) continue;
      rewired[name] = (await Promise.all(urls.map((url) => through(target, service, url)))).join(",");
    }
    return { ...rewired, ...change(instance) };
  }

  return {
    rewire,
    setWeather: (target, weather) => {
      for (const proxy of ready[target]) proxy.setWeather(weather);
    },
    reset: (target) => {
      for (const proxy of ready[target]) proxy.reset();
    },
    halfOpen: (target) => {
      for (const proxy of ready[target]) proxy.halfOpen();
    },
    counts: (target) => {
      const sum = { connections: 0, keptBack: 0, delayed: 0, resets: 0, halfOpened: 0 };
      for (const proxy of ready[target]) {
        const counts = proxy.counts();
        sum.connections += counts.connections;
        sum.keptBack += counts.keptBack;
        sum.delayed += counts.delayed;
        sum.resets += counts.resets;
        sum.halfOpened += counts.halfOpened;
      }
      return sum;
    },
    gates,
    stop: async () => {
      await Promise.all([...proxies.values()].map(async ({ proxy }) => (await proxy).stop()));
      await Promise.all(gates.map((gate) => gate.stop()));
    },
  };
}
