/**
 * A process of its own that commits three events and sends them when it is told to; relay.test.ts kills it.
 */
import { once } from "node:events";
import pino from "pino";
import { connect } from "#libs/db";
import { connectBroker } from "../broker.ts";
import { createOutboxRelay } from "../relay.ts";
import { commit, settledOrders, until } from "./scene.ts";

const [, , databaseUrl = "", brokerUrl = ""] = process.argv;
const log = pino({ level: "silent" });
const sql = connect({ url: databaseUrl, name: "killed" });
const broker = connectBroker({ url: brokerUrl, name: "killed", log });
const relay = createOutboxRelay({ sql, broker, log });
await until(() => broker.state() === "connected");
const messages = settledOrders(3);
await commit(sql, messages);
process.send?.("committed");
await once(process, "message");
relay.publish(messages);
