/** How Postgres is set up wherever the project runs it. */
export const postgresSettings: Readonly<Record<string, string>> = {
  // 8 connections a service process, so that 30 of them fit, and room for tests and people beside them.
  max_connections: "300",
  // The hot rows of a busy shop fit many times over, and a laptop does not notice.
  shared_buffers: "256MB",
  // A batch is one transaction: fewer and larger checkpoints cost less than the disk they take.
  max_wal_size: "2GB",
  TimeZone: "UTC",
  log_timezone: "UTC",
};

/** How RabbitMQ is set up wherever the project runs it. */
export const rabbitmqSettings: Readonly<Record<string, string>> = {
  // Publishers are blocked above it; quorum queues keep only their newest messages in memory.
  "vm_memory_high_watermark.absolute": "1GB",
  // Publishers are blocked below it, before the disk is full and Postgres is hit too.
  "disk_free_limit.absolute": "500MB",
};
