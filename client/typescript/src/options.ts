// How a client comes to be.

import { X509Certificate } from "node:crypto";
import { format } from "node:util";
import type * as Grpc from "@grpc/grpc-js";
import { grpc, require } from "./grpc.js";
import { isRead, SERVICES } from "./rpc.js";
import { exposed, type Secret } from "./secret.js";

const DEFAULT_DEADLINE_MS = 2_000;
/** Later than any call. */
const LONGEST_DEADLINE_MS = 24 * 60 * 60 * 1000;
const KEEP_ALIVE_INTERVAL_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 10_000;

const { version } = require("../package.json") as { version: string };

/** How a client is made. */
export interface LanyardClientOptions {
  /** The key by which Lanyard knows the calling service (`lyk1_...`). */
  apiKey?: Secret | string;
  /** How the connection to an `https://` endpoint is secured. */
  tls?: TlsOptions;
  /** The app in which the users act, for all calls that do not say otherwise. */
  currentApp?: string;
  /** How long a call may take with all its attempts, at most a day. Default: 2,000 ms. */
  deadlineMs?: number;
  /** How reads that find the server unavailable are tried again. `false`: never. */
  retry?: RetryOptions | false;
  /** More of grpc-js's own options for the channel. */
  channelOptions?: Grpc.ChannelOptions;
}

/** How a connection is secured. All are PEM. */
export interface TlsOptions {
  /** The authority that signed the server's certificate. Without it those count that Node.js trusts. */
  ca?: string | Uint8Array;
  /** The certificate, with its chain, by which Lanyard knows the calling service. */
  certificate?: string | Uint8Array;
  /** Its private key. */
  privateKey?: string | Uint8Array;
  /** The name in the server's certificate, where it is not the host of the endpoint. */
  serverName?: string;
}

/**
 * How often, and how soon, a *read* that answered UNAVAILABLE is tried again. Writes never are: whether the server did it
 * before the connection broke, nobody knows.
 *
 * It becomes the service config of the channel: waits double, by chance between nothing and the whole, and all calls share
 * a budget of ten tokens. Each failure costs one, each success gives back a tenth; with half or less of them left nothing is
 * tried again, so that a server that is down is not met with a multiple of the load that brought it down.
 */
export interface RetryOptions {
  /** How many times a read is sent at most, the first one included: 1 to 5. Default: 4. */
  attempts?: number;
  /** The longest wait before the second attempt. Default: 50 ms. */
  initialBackoffMs?: number;
  /** The longest wait of all. Default: 1,000 ms. */
  maxBackoffMs?: number;
}

/** Why there is no client: an option is not good. Secrets are not repeated. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

/** The header by which Lanyard knows the calling service. */
export function authorizationOf({ apiKey }: LanyardClientOptions): string | undefined {
  if (apiKey === undefined) {
    return undefined;
  }
  const key = exposed(apiKey);
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new ConfigurationError("the API key is empty or holds characters that no key has");
  }
  return `Bearer ${key}`;
}

/** How long a call may take: more than nothing, at most a day. */
export function deadlineOf(deadlineMs: number = DEFAULT_DEADLINE_MS): number {
  if (!(deadlineMs > 0)) {
    throw new ConfigurationError(format("the deadline must be more than 0 ms, not %s", deadlineMs));
  }
  return Math.min(deadlineMs, LONGEST_DEADLINE_MS);
}

/** The connection; it is made with the first call. */
export function connectionOf(endpoint: string, options: LanyardClientOptions): Grpc.Client {
  const { isSecure, target } = parse(endpoint);
  if (!isSecure && options.tls) {
    // Never in the clear what was meant to be encrypted.
    throw new ConfigurationError("`tls` needs an https:// endpoint");
  }
  const credentials = isSecure ? tlsCredentials(options.tls ?? {}) : grpc.credentials.createInsecure();
  return new grpc.Client(target, credentials, channelOptions(options));
}

function parse(endpoint: string): { isSecure: boolean; target: string } {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isSecure = url?.protocol === "https:";
  const isBare = url?.pathname === "/" && !(url.search || url.hash || url.username || url.password);
  if (!isBare || !(isSecure || url.protocol === "http:")) {
    // Not repeated: it may hold a password.
    throw new ConfigurationError("the endpoint must be http://host:port or https://host:port");
  }
  return { isSecure, target: `${url.hostname}:${url.port || (isSecure ? 443 : 80)}` };
}

function tlsCredentials({ ca, certificate, privateKey }: TlsOptions): Grpc.ChannelCredentials {
  const [root, key, chain] = [ca, privateKey, certificate].map((pem) => (pem === undefined ? null : Buffer.from(pem)));
  try {
    if (root) {
      // A text that holds none would otherwise be an authority that nobody has.
      new X509Certificate(root);
    }
    return grpc.credentials.createSsl(root, key, chain);
  } catch (cause) {
    throw new ConfigurationError("the TLS settings cannot be used", { cause });
  }
}

function channelOptions({ tls, retry, channelOptions: own }: LanyardClientOptions): Grpc.ChannelOptions {
  return {
    "grpc.primary_user_agent": `lanyard-client-typescript/${version}`,
    "grpc.keepalive_time_ms": KEEP_ALIVE_INTERVAL_MS,
    "grpc.keepalive_timeout_ms": KEEP_ALIVE_TIMEOUT_MS,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.service_config": JSON.stringify(serviceConfig(retry)),
    // What is tried again is decided here, not by a record in the DNS.
    "grpc.service_config_disable_resolution": 1,
    ...(tls?.serverName && {
      "grpc.ssl_target_name_override": tls.serverName,
      "grpc.default_authority": tls.serverName,
    }),
    ...own,
  };
}

function serviceConfig(retry: RetryOptions | false = {}): Grpc.ServiceConfig {
  const retryPolicy = retry && retryPolicyOf(retry);
  if (!retryPolicy) {
    return { loadBalancingConfig: [], methodConfig: [] };
  }
  const reads = SERVICES.flatMap((service) => service.methods.filter(isRead));
  const name = reads.map((method) => ({ service: method.parent.typeName, method: method.name }));
  return {
    loadBalancingConfig: [],
    methodConfig: [{ name, retryPolicy }],
    retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
  };
}

function retryPolicyOf({ attempts = 4, initialBackoffMs = 50, maxBackoffMs = 1_000 }: RetryOptions) {
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 5) {
    throw new ConfigurationError(format("retry.attempts must be 1 to 5, not %s", attempts));
  }
  if (!(initialBackoffMs > 0 && maxBackoffMs > 0)) {
    throw new ConfigurationError("the waits of `retry` must be more than 0 ms");
  }
  // One attempt is none again; gRPC knows no policy for that.
  if (attempts === 1) {
    return undefined;
  }
  return {
    maxAttempts: attempts,
    initialBackoff: seconds(initialBackoffMs),
    maxBackoff: seconds(maxBackoffMs),
    backoffMultiplier: 2,
    retryableStatusCodes: ["UNAVAILABLE"],
  };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(9)}s`;
}
