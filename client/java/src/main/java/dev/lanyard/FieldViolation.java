package dev.lanyard;

import java.io.Serializable;

/**
 * A field that was refused.
 *
 * @param field its path in the request, as in the contract: {@code user.username}
 * @param description why, for people
 */
public record FieldViolation(String field, String description) implements Serializable {}
