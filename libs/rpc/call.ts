import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  isMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import type { Logger } from "pino";

/** Whose call it is: from the caller's credential, never from the request's body. */
export type Caller = {
  readonly tenant: string;
  /** Who in the tenant, for the history. */
  readonly subject: string;
};

/** All that a handler knows of the call around its request, whichever way it came in. */
export type Call = {
  /** `holdfast.order.v1.OrderService/CreateOrder`. */
  readonly rpc: string;
  /** Made at the gateway; ties together what all services log of one request. */
  readonly requestId: string;
  readonly caller: Caller;
  readonly log: Logger;
  /** When the caller stops waiting, in milliseconds of performance.now(). */
  readonly deadline: number;
  /** Aborted when the deadline passes or the caller goes away. */
  readonly signal: AbortSignal;
  /** A header of the request, by its lower-case name. */
  header(name: string): string | undefined;
  /** Whether nobody waits for the answer any more: cheaper than the signal. */
  isAbandoned(): boolean;
};

type UnaryMethods<Methods extends GenServiceMethods> = {
  [Name in keyof Methods as Methods[Name]["methodKind"] extends "unary" ? Name : never]: Methods[Name];
};

/** One function for each unary method of a service. */
export type Handlers<Methods extends GenServiceMethods> = {
  [Name in keyof UnaryMethods<Methods>]: (
    request: MessageShape<Methods[Name]["input"]>,
    call: Call,
  ) => Promise<MessageInitShape<Methods[Name]["output"]>>;
};

/** A unary method as the server sees it. */
export type RpcMethod = {
  readonly desc: DescMethodUnary;
  /** `/holdfast.order.v1.OrderService/CreateOrder`. */
  readonly path: string;
  readonly handle: (request: Message, call: Call) => Promise<Message>;
};

/** A service and its handlers, ready to be served. */
export type RpcService = {
  readonly desc: DescService;
  readonly methods: readonly RpcMethod[];
};

/** Binds handlers to the unary methods of a service of the contract. */
export function service<Methods extends GenServiceMethods>(
  desc: GenService<Methods>,
  handlers: Handlers<Methods>,
): RpcService {
  const byName = new Map<string, unknown>(Object.entries(handlers));
  const methods = desc.methods.filter(isUnary).map((method): RpcMethod => {
    const handler = byName.get(method.localName);
    if (!isHandler(handler)) throw new Error(`${desc.typeName}/${method.name} has no handler`);
    return {
      desc: method,
      path: `/${desc.typeName}/${method.name}`,
      handle: async (request, call) => asMessage(method.output, await handler(request, call)),
    };
  });
  return { desc, methods };
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

type ErasedHandler = (request: Message, call: Call) => Promise<Record<string, unknown> | Message>;

// The types of `service` tie each handler to its method; past it only the descriptor knows them.
function isHandler(value: unknown): value is ErasedHandler {
  return typeof value === "function";
}

function asMessage(desc: DescMessage, value: Record<string, unknown> | Message): Message {
  return isMessage(value, desc) ? value : create(desc, value);
}
