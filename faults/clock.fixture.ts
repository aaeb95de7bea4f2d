/** Preloaded into a service: sets its clock CLOCK_SKEW_MS ahead or back; timers go on as they are. */
const skewMs = Number(process.env["CLOCK_SKEW_MS"]);
const RealDate = Date;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: ConstructorParameters<typeof Date> | []): Date =>
    args.length === 0 ? new target(target.now() + skewMs) : Reflect.construct(target, args),
  get: (target, name): unknown =>
    name === "now" ? () => target.now() + skewMs : Reflect.get(target, name, target),
});
