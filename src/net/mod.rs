//! HTTP for package indexes and registries, as a blocking facade over one small async runtime.
//!
//! Everything that crosses the network passes here: TLS with the system's roots, proxies from the environment,
//! connect and idle timeouts, retries with backoff and Retry-After, size limits, and credentials that belong to
//! one origin (scheme, host, port) and are never carried to another.
