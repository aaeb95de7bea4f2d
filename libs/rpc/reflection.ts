import {
  create,
  createRegistry,
  type DescFile,
  type DescService,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import {
  ErrorResponseSchema,
  ExtensionNumberResponseSchema,
  FileDescriptorResponseSchema,
  ListServiceResponseSchema,
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "#proto/grpc/reflection/v1/reflection_pb.ts";

type Answer = ServerReflectionResponse["messageResponse"];

/** What can be asked about: services by name, files by name, and every type in them. */
type Contract = {
  readonly services: readonly DescService[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly types: Registry;
};

/**
 * Serves grpc.reflection.v1 for the given services: grpcurl and buf curl can then call them without the
 * protos.
 */
export function addReflection(router: ConnectRouter, services: readonly DescService[]): void {
  const files = new Map<string, DescFile>();
  for (const service of services) addWithImports(files, service.file);
  const contract = { services, files, types: createRegistry(...files.values()) };
  router.service(ServerReflection, {
    serverReflectionInfo: async function* reflect(requests) {
      for await (const request of requests) {
        const messageResponse = answer(contract, request);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  });
}

function addWithImports(files: Map<string, DescFile>, file: DescFile): void {
  if (files.has(file.proto.name)) return;
  files.set(file.proto.name, file);
  for (const dependency of file.dependencies) addWithImports(files, dependency);
}

function answer({ services, files, types }: Contract, { messageRequest }: ServerReflectionRequest): Answer {
  switch (messageRequest.case) {
    case "listServices":
      return {
        case: "listServicesResponse",
        value: create(ListServiceResponseSchema, {
          service: services.map(({ typeName }) => ({ name: typeName })),
        }),
      };
    case "fileByFilename":
      return filesAnswer(files.get(messageRequest.value), messageRequest.value);
    case "fileContainingSymbol":
      return filesAnswer(fileOfSymbol(types, messageRequest.value), messageRequest.value);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = messageRequest.value;
      const message = types.getMessage(containingType);
      const extension = message && types.getExtensionFor(message, extensionNumber);
      return filesAnswer(extension?.file, `${containingType} extension ${extensionNumber}`);
    }
    case "allExtensionNumbersOfType":
      return extensionNumbersAnswer(types, messageRequest.value);
    case undefined:
      return errorAnswer(Code.InvalidArgument, "the request asks nothing");
  }
}

// A method is asked for by its own name, but the registry knows the service only.
function fileOfSymbol(types: Registry, symbol: string): DescFile | undefined {
  return (types.get(symbol) ?? types.get(symbol.slice(0, symbol.lastIndexOf("."))))?.file;
}

function filesAnswer(file: DescFile | undefined, asked: string): Answer {
  if (!file) return errorAnswer(Code.NotFound, `there is no ${asked} here`);
  const files = new Map<string, DescFile>();
  addWithImports(files, file);
  const fileDescriptorProto = [...files.values()].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return {
    case: "fileDescriptorResponse",
    value: create(FileDescriptorResponseSchema, { fileDescriptorProto }),
  };
}

function extensionNumbersAnswer(types: Registry, baseTypeName: string): Answer {
  if (!types.getMessage(baseTypeName)) return errorAnswer(Code.NotFound, `there is no ${baseTypeName} here`);
  const extensionNumber: number[] = [];
  for (const type of types) {
    if (type.kind === "extension" && type.extendee.typeName === baseTypeName)
      extensionNumber.push(type.number);
  }
  return {
    case: "allExtensionNumbersResponse",
    value: create(ExtensionNumberResponseSchema, { baseTypeName, extensionNumber }),
  };
}

function errorAnswer(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: create(ErrorResponseSchema, { errorCode, errorMessage }) };
}
