package dev.lanyard;

import dev.lanyard.v1.LinkedAuth;

/**
 * A link after a change that may end sessions.
 *
 * @param link the link
 * @param revokedCount how many live sessions ended
 */
public record LinkChange(LinkedAuth link, long revokedCount) {}
