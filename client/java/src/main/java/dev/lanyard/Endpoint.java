package dev.lanyard;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where the server is.
 *
 * @param target the name to resolve, as gRPC writes it
 * @param isTls whether the connection is encrypted
 */
record Endpoint(String target, boolean isTls) {
    private static final Pattern ADDRESS =
            Pattern.compile("(?:(https?)://)?(\\[[0-9a-fA-F:.]+]|[A-Za-z0-9._-]+):(\\d{1,5})/?");
    private static final Pattern LOOPBACK = Pattern.compile("localhost|127\\.\\d+\\.\\d+\\.\\d+|\\[::1]");

    /** {@code wantsTls}: certificates were given, or encryption was asked for by name. */
    static Endpoint parse(String address, boolean wantsTls) {
        Matcher parts = ADDRESS.matcher(address);
        if (!parts.matches()) {
            throw new IllegalArgumentException(
                    "the endpoint must be host:port, http://host:port or https://host:port, not '" + address + "'");
        }
        String host = parts.group(2);
        return new Endpoint("dns:///" + host + ":" + parts.group(3), isTls(parts.group(1), host, wantsTls));
    }

    private static boolean isTls(String scheme, String host, boolean wantsTls) {
        if (scheme == null && !wantsTls && !LOOPBACK.matcher(host).matches()) {
            throw new IllegalArgumentException("'" + host + "' is another machine: say https://, or http:// to send"
                    + " key and tokens in the clear");
        }
        // Never in the clear what was meant to be encrypted.
        if ("http".equals(scheme) && wantsTls) {
            throw new IllegalArgumentException("TLS and certificates need an https:// endpoint");
        }
        return wantsTls || "https".equals(scheme);
    }
}
