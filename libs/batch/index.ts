export {
  type Batcher,
  type BatcherOptions,
  createBatcher,
  type Outcome,
  type SubmitOptions,
} from "./batcher.ts";
