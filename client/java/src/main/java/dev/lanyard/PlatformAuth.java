package dev.lanyard;

import dev.lanyard.v1.PlatformAuthScheme;
import dev.lanyard.v1.PlatformSettings;
import java.time.Duration;

/**
 * The credential of a session on its platform, and what there is to know for calling it.
 *
 * @param platform the name of the platform
 * @param micetroUrl the base URL: scheme, host and, only if it is configured, the port
 * @param micetroAuth the whole value of the header {@code Authorization}, for calls to {@code micetroUrl} only; never to be stored,
 *     logged or passed on
 * @param scheme which kind of credential it is
 * @param validFor how long it may be used before it is asked for again
 * @param settings how the platform is to be called
 */
public record PlatformAuth(
        String platform,
        String micetroUrl,
        String micetroAuth,
        PlatformAuthScheme scheme,
        Duration validFor,
        PlatformSettings settings) {
    /** Shows nothing of the credential. */
    @Override
    public String toString() {
        return "PlatformAuth[platform=" + platform + ", micetroUrl=" + micetroUrl + ", micetroAuth=redacted]";
    }
}
