package dev.lanyard;

import dev.lanyard.v1.User;

/**
 * A user after a change that ends sessions.
 *
 * @param user the user
 * @param revokedCount how many live sessions ended
 */
public record UserChange(User user, long revokedCount) {}
